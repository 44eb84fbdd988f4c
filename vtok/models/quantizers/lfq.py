"""Lookup-free quantization (arXiv 2310.05737, section 3.1): the signs of a latent's components are the bits of its id."""

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from vtok.errors import ConfigError
from vtok.models.quantizers.base import Quantized, Quantizer
from vtok.models.quantizers.bits import MAX_BITS, FirstBit, bit_entropy, mean_joint, strides
from vtok.models.quantizers.entropy import SMOOTHING, EntropyConfig, entropy
from vtok.models.quantizers.estimators import straight_through

MAX_JOINT_BITS = 24  # the mean distribution of 24 bits is 64 MB
PUBLISHED_ENTROPY = EntropyConfig()


class LookupFreeQuantizer(Quantizer):
    """Codes of +1 where a component is above 0, else -1.

    Losses, unweighted: "commitment" mean((z - sg code)^2) and, in training mode, "entropy" over all 2**dim codes at squared distances,
    exact: of one latent the bits are independent, so that their entropies add up; see `bits.mean_joint` for all latents together.

    Args:
        dim: components D, bits of a position.
        sub_bits: of each sub-token, in the order of the components; one sub-token of all bits when empty. A generator takes two small
            vocabularies, such as (6, 12), where it could not take one of 2**18.
        first_bit: whether the first component of a sub-token is its least significant bit, as published, or its most significant.
        entropy: of the loss "entropy", with scores of minus the squared distance; None: no such loss.
        joint_bits: how many bits after another the second term of "entropy" takes together, whose entropies it adds up: an upper bound,
            where it is not all of them (None).

    Raises:
        ConfigError: sub-tokens that are not all the bits, or of more than 62; joint bits that do not divide them, or more than 24.
    """

    loss_weights: ClassVar = {"commitment": 0.25, "entropy": 0.1}
    smoothing: ClassVar = SMOOTHING  # as `entropy` takes it
    strides: Tensor  # (D,) int64: what each bit adds to the id of its sub-token

    def __init__(
        self,
        dim: int,
        *,
        sub_bits: Sequence[int] = (),
        first_bit: FirstBit = "least",
        entropy: EntropyConfig | None = PUBLISHED_ENTROPY,
        joint_bits: int | None = None,
    ):
        super().__init__()
        self.dim = dim
        self.sub_bits = tuple(sub_bits) or (dim,)
        self.entropy = entropy
        self.joint_bits = joint_bits or dim
        self.codebook_sizes = tuple(2**count for count in self.sub_bits)
        self.size = 1.0  # of the numbers of a code
        if sum(self.sub_bits) != dim or not all(1 <= count <= MAX_BITS for count in self.sub_bits):
            raise ConfigError(f"sub-tokens of {self.sub_bits} bits: give numbers of 1 to {MAX_BITS} that add up to the {dim} of a latent")
        if entropy is not None and (dim % self.joint_bits or self.joint_bits > MAX_JOINT_BITS):
            raise ConfigError(
                f"the entropy of {self.joint_bits} bits together: give joint_bits that divide {dim}, at most {MAX_JOINT_BITS}"
            )
        self.register_buffer("strides", strides(self.sub_bits, first_bit))

    @classmethod
    def tiny(cls) -> Self:
        """Eight bits in sub-tokens of three and five."""
        return cls(8, sub_bits=(3, 5))

    def place(self, z: Tensor) -> Tensor:
        """Where latents (B, N, D) and codes are compared."""
        return z

    def forward(self, z: Tensor) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            bits = z > 0
            z = self.place(z)
            codes = self._codes(bits)
            losses = {"commitment": mse_loss(z, codes)}
            if self.entropy is not None and self.training:
                losses["entropy"] = self._penalty(z.flatten(0, 1), self.entropy)
            ids = torch.stack([part.sum(-1) for part in (bits * self.strides).split(self.sub_bits, -1)], -1)
            return Quantized(straight_through(z * self.size, codes), ids, losses)

    def lookup(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        parts = [part.expand(*part.shape[:-1], count) for part, count in zip(ids.split(1, -1), self.sub_bits, strict=True)]
        vectors = self._codes(torch.cat(parts, -1) & self.strides > 0)
        if lengths is not None:
            vectors = vectors * (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])[..., None]
        return vectors

    def _codes(self, bits: Tensor) -> Tensor:
        return (2 * bits.float() - 1) * self.size

    def _penalty(self, rows: Tensor, config: EntropyConfig) -> Tensor:
        """The loss "entropy" of rows (N, D) in their place."""
        odds = 4 * self.size / config.temperature * rows  # the squared distances to +size and -size differ by 4 size z
        joint = mean_joint(odds.unflatten(1, (-1, self.joint_bits)))
        together = torch.stack([entropy(group, self.smoothing) for group in joint]).sum()
        return config.penalty(bit_entropy(odds).sum(1).mean(), together)
