"""Strings that `vtok generate` makes, in columns of a sheet, and their files."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vtok.codec.decompress import uncover
from vtok.codec.strings import files_of
from vtok.data.atomic import atomic_folder
from vtok.data.eight_bit import from_eight_bit
from vtok.data.pictures import read_picture
from vtok.data.views import middle, seen
from vtok.errors import LengthError, UnsupportedError
from vtok.generate.base import Generator
from vtok.tokenizers.base import Tokenizer, Tokens
from vtok.train.engine.picture_grid import sheet

_AT_ONCE = 64  # strings decoded
_SQUARE = 8  # pictures in a row of a sheet of one column


@dataclass(frozen=True, eq=False)
class Column:
    """Strings that are shown under one head.

    Args:
        head: what they have in common; also in the names of their files.
        tokens: the strings.
        classes: (B,) of the strings, or None.
    """

    head: str
    tokens: Tokens
    classes: Tensor | None


@dataclass(frozen=True, eq=False)
class Drawing:
    """Draws strings, some at a time.

    Args:
        generator, tokenizer: on one device.
        options: of the generator.
        seed: of the first string.
        batch_size: strings drawn at once.
    """

    generator: Generator[Any]
    tokenizer: Tokenizer
    options: Any
    seed: int
    batch_size: int

    def prefixes(self, num: int, classes: Tensor | None, lengths: Sequence[int]) -> list[Column]:
        """Strings of the greatest length, and what they are at the others."""
        for length in lengths:
            self.generator.spec.check_length(length)
        whole = self._draw(num, classes, max(lengths), None)
        return [Column(_tokens(length), whole.prefix(length), classes) for length in sorted(set(lengths))]

    def completions(self, num: int, classes: Tensor | None, photo: Path, keep: Sequence[int], length: int | None) -> list[Column]:
        """Strings that begin with some tokens of a photograph, in a column for each number of these; the photograph itself first."""
        own = self._encode(photo)
        columns = [Column("all its tokens", _repeated(own, num), classes)]
        for kept in sorted(set(keep)):
            self._check_kept(kept)
            prefix = own.ids[:, :kept].expand(num, -1, -1)
            columns.append(Column(f"first {kept}, rest drawn", self._draw(num, classes, length, prefix), classes))
        return columns

    def mixtures(self, first: Path, rest: Path, keep: Sequence[int]) -> list[Column]:
        """Strings that begin with some tokens of one photograph and go on with those of another."""
        begin, end = self._encode(first), self._encode(rest)
        columns = [Column(rest.stem, end, None)]
        for kept in sorted(set(keep)):
            self._check_kept(kept)
            ids = torch.cat([begin.ids[:, :kept], end.ids[:, kept:]], 1)
            columns.append(Column(f"first {kept}", Tokens.full(ids, end.spec), None))
        return [*columns, Column(first.stem, begin, None)]

    def _encode(self, photo: Path) -> Tokens:
        size = self.tokenizer.spec.input_size
        pixels = read_picture(photo)
        image = from_eight_bit(seen(pixels, middle((pixels.shape[0], pixels.shape[1]), size), size))
        return self.tokenizer.encode(image.to(next(iter(self.tokenizer.state_dict().values())).device))

    def _check_kept(self, kept: int) -> None:
        spec = self.generator.spec
        if not spec.nested:
            raise UnsupportedError("the strings of this generator are not ordered: its first tokens are no coarser picture to begin with")
        if not 1 <= kept < spec.max_tokens:
            raise LengthError(f"--keep {kept}: a string has {spec.max_tokens} tokens; keep 1 to {spec.max_tokens - 1}")

    def _draw(self, num: int, classes: Tensor | None, length: int | None, prefix: Tensor | None) -> Tokens:
        parts = []
        for first in range(0, num, self.batch_size):
            rows = slice(first, min(first + self.batch_size, num))
            own = None if classes is None else classes[rows]
            begun = None if prefix is None else prefix[rows]
            count = rows.stop - first
            parts.append(self.generator.sample(count, own, length, self.seed + first, self.options, prefix=begun))
        return Tokens.cat(parts)


def write_pictures(folder: Path, columns: Sequence[Column], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Write `grid.png`, and a picture and a `.vtok` file of each string; returns a record for each.

    Strings of another size than the tokenizer's own tiles have, as those of pictures of 384 pixels, are written as pictures alone.

    Raises:
        OutputError: the folder cannot be written.
    """
    records: list[dict[str, Any]] = []
    shown: list[np.ndarray] = []
    with atomic_folder(folder) as part:
        for number, column in enumerate(columns):
            pictures, lengths = _decoded(column.tokens, tokenizer), column.tokens.lengths.tolist()
            files = files_of(column.tokens, tokenizer) if _is_of_tiles(column.tokens, tokenizer) else []
            for row, pixels in enumerate(pictures):
                name = f"{row:05d}" if len(columns) == 1 else f"{row:05d}-{number:02d}"
                (part / f"{name}.png").write_bytes(_png(pixels))
                label = None if column.classes is None else int(column.classes[row])
                told = {"picture": str(folder / f"{name}.png"), "tokens": lengths[row], "class": label, "column": column.head}
                if files:
                    (part / f"{name}.vtok").write_bytes(files[row].to_bytes())
                    told |= {"file": str(folder / f"{name}.vtok"), "bytes": files[row].num_bytes}
                records.append(told)
            shown.append(pictures)
        (part / "grid.png").write_bytes(_png(_grid(shown, [column.head for column in columns])))
    return records


def _is_of_tiles(tokens: Tokens, tokenizer: Tokenizer) -> bool:
    return (tokens.spec.codebook_sizes, tokens.spec.max_tokens) == (tokenizer.spec.codebook_sizes, tokenizer.spec.max_tokens)


def _decoded(tokens: Tokens, tokenizer: Tokenizer) -> np.ndarray:
    """Pictures (B, h, w, 3) uint8; those of tiles as `vtok decode` makes them of their files."""
    of_tiles, pictures = _is_of_tiles(tokens, tokenizer), []
    for first in range(0, len(tokens), _AT_ONCE):
        part = tokens[first : first + _AT_ONCE]
        images = tokenizer.decode_grid(part, 1, 1) if of_tiles else tokenizer.decode(part)
        pictures += [uncover(image[None], tokens.spec.input_size, None) for image in images]
    return np.stack(pictures)


def _grid(columns: Sequence[np.ndarray], heads: Sequence[str]) -> np.ndarray:
    if len(columns) > 1:
        return sheet(columns, heads)
    pictures = columns[0]
    across = min(_SQUARE, len(pictures))
    rows = -(-len(pictures) // across)
    paper = np.full((rows * across - len(pictures), *pictures.shape[1:]), 255, np.uint8)
    filled = np.concatenate([pictures, paper])
    return sheet([filled[place::across] for place in range(across)], [heads[0], *[""] * (across - 1)])


def _png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def _repeated(tokens: Tokens, num: int) -> Tokens:
    return Tokens(tokens.ids.expand(num, -1, -1).contiguous(), tokens.lengths.expand(num).contiguous(), tokens.spec)


def _tokens(length: int) -> str:
    return f"{length} token{'s' * (length > 1)}"
