"""The first codes of a learned table: k-means over what the untrained encoder says of some pictures."""

import math

import torch
from torch import Tensor

from vtok.data.eight_bit import from_eight_bit
from vtok.errors import DataError
from vtok.models.quantizers.vq import VectorQuantizer
from vtok.tokenizers.nested import NestedTokenizer
from vtok.train.closed_form.kmeans import kmeans
from vtok.train.samples.pictures import Pictures

POINTS_PER_CODE = 8
ROUNDS = 4


@torch.no_grad()
def fill_with_latents(model: NestedTokenizer, quantizer: VectorQuantizer, pictures: Pictures, generator: torch.Generator) -> None:
    """Put the codes of the quantizer where the model's latents are.

    Raises:
        DataError: fewer latents than codes.
    """
    size, shared = quantizer.codebook_sizes[0], quantizer.num_tables == 1
    latents = latents_of_tiles(model, pictures, math.ceil(POINTS_PER_CODE * size / (model.spec.max_tokens if shared else 1)))
    if shared:
        latents = latents.flatten(0, 1)[:, None]
    if len(latents) < size:
        raise DataError(f"{len(latents)} latents found, {size} codes need at least as many")
    points = quantizer.place(latents).unbind(1)
    quantizer.fill(torch.stack([kmeans(own, size, rounds=ROUNDS, generator=generator) for own in points]))


@torch.no_grad()
def latents_of_tiles(model: NestedTokenizer, pictures: Pictures, num_tiles: int) -> Tensor:
    """(n, N, D) latents of at least so many tiles, or of all pictures.

    Raises:
        DataError: no picture has a tile.
    """
    height, width = model.spec.input_size
    found: list[Tensor] = []
    for pixels in pictures:
        if sum(map(len, found)) >= num_tiles:
            break
        rows, cols = pixels.shape[0] // height, pixels.shape[1] // width
        if rows and cols:
            found.append(model.latents(from_eight_bit(pixels)[:, :, : rows * height, : cols * width]))
    if not found:
        raise DataError(f"no picture has {height} x {width} pixels, one tile")
    return torch.cat(found)
