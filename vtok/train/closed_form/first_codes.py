"""What a training learns of pictures before its first step: first codes of tables, by k-means over what the untrained encoder says."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vtok.data.eight_bit import from_eight_bit
from vtok.errors import DataError
from vtok.models.quantizers.vq import VectorQuantizer
from vtok.tokenizers.nested import NestedTokenizer
from vtok.tokenizers.tiles import cut_tiles
from vtok.train.closed_form.kmeans import kmeans
from vtok.train.losses.semantics import SemanticLoss
from vtok.train.samples.pictures import Pictures

POINTS_PER_CODE = 8
ROUNDS = 4


@torch.no_grad()
def fill_with_latents(model: NestedTokenizer, pictures: Pictures, generator: torch.Generator) -> None:
    """Put the codes of the quantizer's tables where the latents are that they code, one table after another.

    Raises:
        DataError: fewer latents than codes.
    """
    quantizer = model.quantizer
    tables = quantizer.learned_tables()
    if not tables:
        return
    per_string = model.spec.max_tokens // max(table.num_tables for table in tables)  # latents of a string that a table codes, at least
    wanted = math.ceil(POINTS_PER_CODE * max(_size(table) for table in tables) / per_string)
    latents = model.in_units(latents_of_tiles(model, pictures, wanted))
    for number, table in enumerate(tables):
        own, _ = quantizer.coded(latents, quantizer(latents).ids)[number]  # what earlier tables leave is known by now
        points = table.place(table.dealt(own))  # (T, n, d)
        if points.shape[1] < _size(table):
            raise DataError(f"{points.shape[1]} latents found, {_size(table)} codes need at least as many")
        table.fill(torch.stack([kmeans(part, _size(table), rounds=ROUNDS, generator=generator) for part in points]))


@torch.no_grad()
def features_of_tiles(teacher: SemanticLoss, side: int, pictures: Pictures, num_tiles: int) -> Tensor:
    """(n, F) of at least so many tiles of `side` pixels, or of all pictures.

    Raises:
        DataError: no picture has a tile.
    """
    return _found(pictures, side, num_tiles, lambda images: teacher.teacher(cut_tiles(images, (side, side))))


@torch.no_grad()
def latents_of_tiles(model: NestedTokenizer, pictures: Pictures, num_tiles: int) -> Tensor:
    """(n, N, D) latents of at least so many tiles, or of all pictures.

    Raises:
        DataError: no picture has a tile.
    """
    return _found(pictures, model.spec.input_size[0], num_tiles, model.latents)


def _found(pictures: Pictures, side: int, num_tiles: int, of_images: Callable[[Tensor], Tensor]) -> Tensor:
    """What is found of pictures of whole tiles, row by row of their tiles, until there is enough."""
    found: list[Tensor] = []
    for pixels in pictures:
        if sum(map(len, found)) >= num_tiles:
            break
        rows, cols = pixels.shape[0] // side, pixels.shape[1] // side
        if rows and cols:
            found.append(of_images(from_eight_bit(pixels)[:, :, : rows * side, : cols * side]))
    if not found:
        raise DataError(f"no picture has {side} x {side} pixels, one tile")
    return torch.cat(found)


def _size(table: VectorQuantizer) -> int:
    return table.codebook_sizes[0]
