"""From `.vtok` files to pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vtok.codec.container import TokenFile
from vtok.codec.header import covered_size
from vtok.codec.truncate import truncate
from vtok.errors import ModelMismatchError, UnsupportedError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from vtok.tokenizers.base import DecodeOptions, Tokenizer

Pixels = npt.NDArray[np.uint8]

_STRIP_ROWS = 256


def decompress(
    data: bytes, *, tokens: int | None = None, model: Tokenizer | str | Path | None = None, options: DecodeOptions | None = None
) -> Image.Image:
    """Decode the bytes of a `.vtok` file to an RGB picture of the source's size.

    Args:
        data: as `compress` gives it; it may end early.
        tokens: decode a prefix of this many tokens of each tile; all when None.
        model: a tokenizer, or what `vtok.load` takes; None finds the file's own among the weights in the package.
        options: of the decoder.

    Raises:
        FormatError: the data are not a `.vtok` file, or damaged.
        ModelMismatchError: the model is not the one that made the file.
        LengthError: a number of tokens that does not decode, or that no tile has.
        UnsupportedError: an option that the model does not have, or a continuous model.
    """
    from PIL import Image

    file = TokenFile.from_bytes(data)
    return Image.fromarray(decode_file(file, _tokenizer_for(file, model), tokens=tokens, options=options))


def decode_file(file: TokenFile, tokenizer: Tokenizer, *, tokens: int | None = None, options: DecodeOptions | None = None) -> Pixels:
    """Decode a file to pixels (H, W, 3) uint8 of the source's size.

    A caption in the file goes to a decoder that takes text, unless the options have one.

    Args:
        tokens: decode a prefix of this many tokens of each tile; all when None.

    Raises:
        As `decompress`.
    """
    import torch

    from vtok.tokenizers.base import DecodeOptions, Tokens

    check_model(file, tokenizer)
    if tokens is not None:
        file = truncate(file, tokens=tokens)
    options = options or DecodeOptions()
    if file.caption is not None and options.text is None and "text" in tokenizer.decode_options:
        options = replace(options, text=[file.caption])
    strings = Tokens(torch.from_numpy(np.ascontiguousarray(file.ids)), torch.from_numpy(file.lengths), tokenizer.spec)
    images = tokenizer.decode_grid(strings.to(device_of(tokenizer)), *file.grid, options, overlap=file.overlap)
    return uncover(images, file.size, None if file.whole else covered_size(file.spec, file.grid, file.overlap))


def check_model(file: TokenFile, tokenizer: Tokenizer) -> None:
    """Raise `ModelMismatchError` unless the tokenizer's codes are those of the file."""
    digest = bytes.fromhex(tokenizer.code_digest)[: len(file.digest)]
    if digest != file.digest:
        found = f"the file was made with other weights (code digest {file.digest.hex()}) than those at hand ({digest.hex()})"
        raise ModelMismatchError(f"{found}: give the model that made it (--model)")
    if replace(tokenizer.spec, grid=None, scales=None) != file.spec:
        raise ModelMismatchError("the file names these weights, but its strings are of another kind: it is damaged, or forged")
    try:
        tokenizer.decoded_overlap(file.overlap)
    except UnsupportedError as error:
        raise ModelMismatchError(
            f"the file names these weights, but its tiles are cut otherwise ({error}): it is damaged, or forged"
        ) from None


def device_of(tokenizer: nn.Module) -> str:
    """Where the tokenizer's tensors are."""
    tensor = next(iter([*tokenizer.parameters(), *tokenizer.buffers()]), None)
    return "cpu" if tensor is None else str(tensor.device)


def uncover(images: Tensor, size: tuple[int, int], covered: tuple[int, int] | None) -> Pixels:
    """A decoded picture (1, 3, H, W) in [0, 1] to pixels (height, width, 3) uint8 of the source's size.

    Args:
        covered: height, width of the source's tiles together; None where the whole source was resized to one.
    """
    from vtok.data.crops import resize

    height, width = size
    pixels = _to_pixels(images)
    if pixels.shape[:2] != (covered or size):
        pixels = resize(pixels, *(covered or size))
    return np.ascontiguousarray(pixels[:height, :width])


def _tokenizer_for(file: TokenFile, model: Tokenizer | str | Path | None) -> Tokenizer:
    from vtok.weights import discrete, load_by_digest, load_tokenizer

    if model is None:
        return load_by_digest(file.digest) or load_tokenizer()
    return load_tokenizer(model) if isinstance(model, str | Path) else discrete(model)


def _to_pixels(images: Tensor) -> Pixels:
    """(1, 3, H, W) in [0, 1] to (H, W, 3), a strip at a time: no second float copy of a large picture."""
    from vtok.data.eight_bit import to_eight_bit

    pixels = np.empty((*images.shape[2:], 3), np.uint8)
    for top in range(0, len(pixels), _STRIP_ROWS):
        strip = to_eight_bit(images[0, :, top : top + _STRIP_ROWS])  # (3, rows, W)
        pixels[top : top + _STRIP_ROWS] = strip.permute(1, 2, 0).cpu().numpy()
    return pixels
