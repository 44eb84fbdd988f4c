"""One-D-Piece (arXiv 2501.10064): TiTok's two-stage layout, trained with the tails of strings cut off, so that any prefix decodes."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vtok.models.decoders.proxy_codes import HardProxyDecoder
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.prefix_errors import errors_of_prefixes, mean_colour_errors, squared_errors
from vtok.tokenizers.tiles import cut_tiles, runs
from vtok.tokenizers.titok import Titok


class OneDPiece(Titok):
    """Nested strings; a prefix is decoded from a shorter sequence."""

    family = "one_d_piece"
    errors_of_decodes = True

    def _prefix_lengths(self, num_tokens: int) -> tuple[int, ...]:
        return tuple(range(1, num_tokens + 1))

    @torch.no_grad()
    def encode_grid_with_errors(self, images: Tensor, *, overlap: int = 0) -> tuple[Tokens, Tensor]:
        """`encode_grid`, and the squared error in the pixels of each prefix.

        A token's latents say nothing of what it is worth to the picture, so pictures of 1, 2, 4, ... and all tokens are decoded. No token
        counts as the mean colour.
        """
        tokens = self.encode_grid(images, overlap=overlap)
        tiles = cut_tiles(images, self.spec.input_size, overlap)
        wanted = interpolate(tiles.float(), self.spec.output_size, mode="area")
        parts = runs(len(tokens), self.spec.output_size)

        def error_of(num_tokens: int) -> Tensor:
            return torch.cat([squared_errors(wanted[part], self.decode(tokens[part].prefix(num_tokens))) for part in parts])

        return tokens, errors_of_prefixes(error_of, mean_colour_errors(wanted), self.spec.max_tokens)


class ProxyOneDPiece(OneDPiece):
    """One-D-Piece in its first stage, beside the MaskGIT-VQGAN that it learns to predict."""

    family = "one_d_piece_proxy"
    Decoder = HardProxyDecoder
