"""Index backpropagation (arXiv 2412.02692): the code of the largest dot product is taken, and every code learns from every latent."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import mse_loss

from vtok.models.quantizers.base import Quantized
from vtok.models.quantizers.choices import probability_blocks, through_softmax
from vtok.models.quantizers.entropy import EntropyConfig, entropy_penalty
from vtok.models.quantizers.nearest import best
from vtok.models.quantizers.vq import VectorQuantizer

PUBLISHED_ENTROPY = EntropyConfig()


class IndexBackpropagationQuantizer(VectorQuantizer):
    """One id a latent, of one table; dot products with the codes are the logits of the choice.

    Gradients pass as if vectors were the codes times one-hot choices with the softmax's gradients: to latents and to all codes.

    Losses, unweighted: "commitment" mean((vectors - z)^2) + mean((sg e - z)^2), with e the code taken; "codebook" mean((e - sg z)^2); in
    training mode "entropy" at dot products.

    Args:
        dim: width D of a latent.
        codebook_size: codes S of the table.
        entropy: of the loss "entropy"; None: no such loss.
    """

    vectors_reach_codes = True
    loss_weights: ClassVar = {"commitment": 1.0, "codebook": 0.25, "entropy": 0.05}

    def __init__(self, dim: int, codebook_size: int, *, entropy: EntropyConfig | None = PUBLISHED_ENTROPY):
        super().__init__(dim, codebook_size, entropy=entropy)

    def choose(self, points: Tensor, codes: Tensor) -> Tensor:
        return best(points, codes)

    def forward(self, z: Tensor) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            ids = self._chosen(z)[..., None]
            taken = self.lookup(ids)
            vectors = _Taken.apply(z.flatten(0, 1), self.codes[0].float(), ids.flatten()).view_as(z)
            losses = {"commitment": mse_loss(vectors, z) + mse_loss(taken.detach(), z), "codebook": mse_loss(taken, z.detach())}
            if self.entropy is not None and self.training:
                losses["entropy"] = self._penalty(z, self.entropy)
            return Quantized(vectors, ids, losses)

    def learned_tables(self) -> Sequence[VectorQuantizer]:
        return ()  # running means know of the one code that a latent took; and no code is without gradients, so that none is dead

    def coded(self, z: Tensor, ids: Tensor) -> Sequence[tuple[Tensor, Tensor]]:  # noqa: ARG002 - there are no such tables
        return ()

    def _penalty(self, z: Tensor, config: EntropyConfig) -> Tensor:
        return entropy_penalty(z.flatten(0, 1), self.codes[0].float(), config)


class _Taken(Function):
    """Latents (N, D), codes (K, D) and ids (N,) to the codes taken (N, D), with gradients of the softmax to latents and codes."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, codes: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(z, codes, ids)
        return codes[ids]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_vectors: Tensor) -> tuple[Tensor, Tensor, None]:
        z, codes, ids = ctx.saved_tensors
        to_z, to_codes = torch.empty_like(z), torch.zeros_like(codes).index_add_(0, ids, to_vectors)
        for part, probabilities, spare in probability_blocks(z, codes, codes.new_zeros(len(codes))):
            to_scores = through_softmax(torch.mm(to_vectors[part], codes.T, out=spare), probabilities)
            torch.mm(to_scores, codes, out=to_z[part])
            to_codes.addmm_(to_scores.T, z[part])
        return to_z, to_codes, None
