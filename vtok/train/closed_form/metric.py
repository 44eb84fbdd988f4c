"""How much a change of the latents changes the picture: the decoder's metric, as one kernel for all places.

A small change dz of the latents changes what is seen of the picture by about dz' G dz with G = J' J, J the Jacobian of the decoder (and of
a perceptual network behind it). G is never formed: for white noise u on the output, g = J' u has E[g g'] = G, and one backward pass
gives g of a whole picture. Since decoders are nearly alike at every place, G of a tile is taken to depend on the two channels and
on the offset between two cells only; so all cells of a picture are samples of the same small kernel.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

View = Callable[[Tensor], Sequence[Tensor]]  # pictures (1, 3, H, W) to maps whose squared differences add up to what is seen


class MetricKernel:
    """Running mean of g(cell) g(cell + offset)' over the cells of many pictures.

    Args:
        channels: of the latents.
        cells: side of a tile in latents; offsets run to cells - 1 each way.
    """

    def __init__(self, channels: int, cells: int):
        self.reach = cells - 1
        side = 2 * self.reach + 1
        self.sums = torch.zeros(channels, channels, side, side, dtype=torch.float64)
        self.num_cells = 0

    def add(self, gradient: Tensor) -> None:
        """Take in g (channels, h, w) of one picture."""
        height, width = gradient.shape[1:]
        padded = (height + self.reach, width + self.reach)
        waves = torch.fft.rfft2(gradient, s=padded)
        for channel, wave in enumerate(waves):
            products = torch.fft.irfft2(wave.conj() * waves, s=padded)  # (channels, h, w) cyclic correlations
            near = products.roll((self.reach, self.reach), (1, 2))[:, : 2 * self.reach + 1, : 2 * self.reach + 1]
            self.sums[channel] += near
        self.num_cells += height * width

    def matrix(self) -> Tensor:
        """G of a tile (D, D) float64 symmetric, D = channels * cells * cells in the order of a flattened (channels, cells, cells)."""
        kernel = self.sums / self.num_cells
        places = torch.arange(self.reach + 1)
        offset = places[None] - places[:, None] + self.reach  # (cells, cells) from the first to the second
        matrix = kernel[:, :, offset[:, None, :, None], offset[None, :, None, :]]  # (C, C, y, x, y', x')
        dim = len(kernel) * len(places) ** 2
        return symmetric(matrix.permute(0, 2, 3, 1, 4, 5).reshape(dim, dim))


def pull_back(decode: Callable[[Tensor], Tensor], view: View, latents: Tensor, generator: torch.Generator) -> Tensor:
    """One sample of g = J' u for latents (1, C, h, w), scaled so that the metric adds up over tiles; float32 (C, h, w)."""
    latents = latents.detach().requires_grad_(True)
    seen = torch.stack([(x * torch.randn(x.shape, generator=generator)).sum() for x in view(decode(latents))]).sum()
    (gradient,) = torch.autograd.grad(seen, latents)
    return gradient[0] * (latents.shape[2] * latents.shape[3]) ** 0.5


def roots(metric: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """S and its inverse, S = (G + floor * mean eigenvalue)^(1/2), both (D, D) float64 symmetric.

    The floor keeps directions that the picture hardly shows from being blown up when the metric is undone.
    """
    values, vectors = torch.linalg.eigh(metric)
    raised = (values + floor * values.mean()).clamp(min=1e-3 * floor * float(values.mean()))
    return symmetric((vectors * raised.sqrt()) @ vectors.T), symmetric((vectors * raised.rsqrt()) @ vectors.T)


def symmetric(matrix: Tensor) -> Tensor:
    """Rounding errors of a matrix that should equal its transpose, taken out."""
    return (matrix + matrix.T) / 2
