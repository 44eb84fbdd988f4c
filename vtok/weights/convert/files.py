"""Files of upstream's weights: a table of tensors, or a folder with one and the configuration."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vtok.data.files import shown_name
from vtok.data.tensor_file import read_tensors
from vtok.errors import WeightsError
from vtok.tokenizers.folder import CONFIG_FILE, TENSOR_FILE
from vtok.tokenizers.pretrained import Pretrained
from vtok.weights.convert.flextok import is_flextok
from vtok.weights.convert.flextok_tree import FlextokTree, read_config, read_header
from vtok.weights.convert.header import tensor_names
from vtok.weights.convert.names import listed
from vtok.weights.convert.tree import Tree, read_tree, whose
from vtok.weights.convert.upstream import Recognised, build, recognise

log = logging.getLogger(__name__)

TORCH_FILE = "pytorch_model.bin"
EXTENSIONS = (".safetensors", ".bin", ".pt", ".pth")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights as upstream stores them.

    Args:
        file: with the tensors.
        state: those by name.
        tree: what the configuration says that came with them; None where there is none.
        told_by: the file that it is in.
    """

    file: Path
    state: dict[str, Tensor]
    tree: Tree | FlextokTree | None
    told_by: Path


@dataclass(frozen=True, eq=False)
class Converted:
    """A model, what its tensors were recognised as, the file that they are from, and names of those in it that the model does not need."""

    model: Pretrained
    found: Recognised
    file: Path
    extra: tuple[str, ...]


def is_upstream(path: Path) -> bool:
    """Whether a path is a file, or a folder that upstream's weights are in."""
    if path.is_file():
        return True
    owner = whose(path / CONFIG_FILE)
    if owner != "nobody":
        return owner == "upstream"
    return (not (path / CONFIG_FILE).exists() and (path / TORCH_FILE).is_file()) or is_flextok(tensor_names(path / TENSOR_FILE))


def read_upstream(path: Path) -> Checkpoint:
    """Read a file, or a folder with `model.safetensors` or `pytorch_model.bin`, and `config.json` where there is one.

    Of a FlexTok the configuration is read from a `config.json` beside the file too, and otherwise from the header of the file.

    Raises:
        WeightsError: there is none, it cannot be read, or it is a vtok model already; the message names the file.
    """
    if path.is_dir():
        return _read(_tensor_file(path), in_folder=True)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file or folder")
    if path.suffix not in EXTENSIONS:
        raise WeightsError(f"{path}: no file of weights; their names end in {', '.join(EXTENSIONS)}")
    if path.name == TENSOR_FILE:
        _refuse_ours(path.parent)
    return _read(path, in_folder=False)


def load_upstream(path: Path, *, proxy: Path | None = None, tokenizer: str | None = None) -> Converted:
    """Read upstream's weights and make a model of them, in eval mode and without gradients.

    Args:
        path: as of `read_upstream`.
        proxy: likewise, a MaskGIT-VQGAN, for a TiTok or One-D-Piece in its first stage.
        tokenizer: name or folder, of a generator, whose strings it makes; None for the one that it was published with.

    Raises:
        WeightsError: as of `read_upstream` and `from_upstream`, or a configuration that contradicts the tensors.
    """
    read = read_upstream(path)
    pixels = None if proxy is None else _read_proxy(proxy)
    with _naming(read.file):
        hints = None if read.tree is None else read.tree.hints
        found = recognise(read.state, proxy=pixels, hints=hints, tokenizer=tokenizer, file=path.name)
    if read.tree is not None:
        with _naming(read.told_by):
            read.tree.check(found)
    with _naming(read.file):
        model, extra = build(read.state, found, proxy=pixels)
    if extra:
        log.info("%s: left out what %s does not need: %s", read.file, found.name, shown_name(listed(extra)))
    return Converted(model, found, read.file, extra)


def _read(file: Path, *, in_folder: bool) -> Checkpoint:
    """A file, and what is told of it: by the `config.json` of its folder, of a FlexTok also by one that lies there, or by the header."""
    state, config = read_tensors(file), file.parent / CONFIG_FILE
    if is_flextok(state):
        told = read_config(config) if in_folder or whose(config) == "upstream" else None
        return Checkpoint(file, state, read_header(file), file) if told is None else Checkpoint(file, state, told, config)
    return Checkpoint(file, state, read_tree(config) if in_folder and config.exists() else None, config)


def _read_proxy(path: Path) -> dict[str, Tensor]:
    read = read_upstream(path)
    with _naming(read.file):
        found = recognise(read.state)
        if found.family != "maskgit_vqgan":
            raise WeightsError(f"is {found.name}, a first stage goes with a MaskGIT-VQGAN")
        build(read.state, found)  # what is wrong with it is said of its own file
    return read.state


def _tensor_file(folder: Path) -> Path:
    _refuse_ours(folder)
    there = [file for name in (TENSOR_FILE, TORCH_FILE) if (file := folder / name).is_file()]
    if not there:
        raise WeightsError(f"{folder}: has neither {TENSOR_FILE} nor {TORCH_FILE}")
    return there[0]


def _refuse_ours(folder: Path) -> None:
    if whose(folder / CONFIG_FILE) == "vtok":
        raise WeightsError(f"{folder}: is a vtok model already; give that folder as the model")


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from None
