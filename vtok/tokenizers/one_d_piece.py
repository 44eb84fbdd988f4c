"""One-D-Piece (arXiv 2501.10064): TiTok's two-stage layout, trained with the tails of strings cut off, so that any prefix decodes."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vtok.models.decoders.proxy_codes import HardProxyDecoder
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.tiles import cut_tiles, runs
from vtok.tokenizers.titok import Titok


class OneDPiece(Titok):
    """Nested strings; a prefix is decoded from a shorter sequence."""

    family = "one_d_piece"
    errors_in_pixels = True

    def _prefix_lengths(self, num_tokens: int) -> tuple[int, ...]:
        return tuple(range(1, num_tokens + 1))

    @torch.no_grad()
    def encode_grid_with_errors(self, images: Tensor, *, overlap: int = 0) -> tuple[Tokens, Tensor]:
        """`encode_grid`, and the squared error in the pixels of each prefix.

        A token's latents say nothing of what it is worth to the picture, so pictures of 1, 2, 4, ... and all tokens are decoded; between
        these lengths the error falls along a line in the logarithm of the length. No token counts as the mean colour, or as one token
        where that is worse.
        """
        tokens = self.encode_grid(images, overlap=overlap)
        tiles = cut_tiles(images, self.spec.input_size, overlap)
        wanted = interpolate(tiles.float(), self.spec.output_size, mode="area")
        measured = doubling(self.spec.max_tokens)
        parts = runs(len(tokens), self.spec.output_size)
        nothing = torch.cat([_squared(wanted[part] - wanted[part].mean((2, 3), keepdim=True)) for part in parts])
        of_length = [torch.cat([_squared(wanted[part] - self.decode(tokens[part].prefix(n))) for part in parts]) for n in measured]
        all_lengths = _between(torch.cat(of_length, 1), measured)
        return tokens, torch.cat([torch.maximum(nothing, all_lengths[:, :1]), all_lengths], 1)


def doubling(num_tokens: int) -> list[int]:
    """1, 2, 4, ... and `num_tokens`."""
    return sorted({2**i for i in range(num_tokens.bit_length())} | {num_tokens})


def _squared(differences: Tensor) -> Tensor:
    return differences.square().flatten(1).sum(1, keepdim=True)


def _between(errors: Tensor, measured: Sequence[int]) -> Tensor:
    """Errors (B, len(measured)) at these lengths to those at all lengths (B, N), never rising."""
    octaves = torch.tensor(measured, dtype=torch.float64, device=errors.device).log2()
    lengths = torch.arange(1, measured[-1] + 1, dtype=torch.float64, device=errors.device).log2()
    right = torch.searchsorted(octaves, lengths).clamp(1, max(1, len(measured) - 1))
    if len(measured) == 1:
        return errors
    part = ((lengths - octaves[right - 1]) / (octaves[right] - octaves[right - 1])).float()
    return torch.lerp(errors[:, right - 1], errors[:, right], part).cummin(1).values


class ProxyOneDPiece(OneDPiece):
    """One-D-Piece in its first stage, beside the MaskGIT-VQGAN that it learns to predict."""

    family = "one_d_piece_proxy"
    Decoder = HardProxyDecoder
