"""Binary spherical quantization (arXiv 2406.07548): latents of length 1 and the corners of a cube inside their sphere."""

from collections.abc import Sequence
from typing import ClassVar, Self

from torch import Tensor
from torch.nn.functional import normalize

from vtok.models.quantizers.bits import FirstBit
from vtok.models.quantizers.entropy import EntropyConfig
from vtok.models.quantizers.lfq import LookupFreeQuantizer

PUBLISHED_ENTROPY = EntropyConfig(temperature=1.0)


class BinarySphericalQuantizer(LookupFreeQuantizer):
    """Codes of +-1 / sqrt(dim), by the signs of the latent.

    Losses as of `LookupFreeQuantizer`, at the latent's place on the sphere. Published trainings sum "commitment" over the components where
    it is a mean here, and give it no weight; they start with three times the weight of "entropy", for 2,000 steps.

    Args:
        dim: components D, bits of a position; published with 18 and 36.
        sub_bits: of each sub-token; one sub-token of all bits when empty. A group of published models is a sub-token: (9, 9).
        first_bit: whether the first component of a sub-token is its most significant bit, as published, or its least significant.
        entropy: of the loss "entropy"; its temperature is the inverse of the published one's. None: no such loss.
        joint_bits: as of `LookupFreeQuantizer`; 1, the published approximation: every bit is to be even by itself.

    Raises:
        ConfigError: as `LookupFreeQuantizer`.
    """

    loss_weights: ClassVar = {"commitment": 0.0, "entropy": 0.1}
    smoothing: ClassVar = 1e-8

    def __init__(
        self,
        dim: int,
        *,
        sub_bits: Sequence[int] = (),
        first_bit: FirstBit = "most",
        entropy: EntropyConfig | None = PUBLISHED_ENTROPY,
        joint_bits: int = 1,
    ):
        super().__init__(dim, sub_bits=sub_bits, first_bit=first_bit, entropy=entropy, joint_bits=joint_bits)
        self.size = dim**-0.5

    @classmethod
    def tiny(cls) -> Self:
        """Eight bits in one id."""
        return cls(8)

    def place(self, z: Tensor) -> Tensor:
        return normalize(z, dim=-1)
