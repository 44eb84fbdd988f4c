"""Files of upstream's weights: a table of tensors, or a folder with one and the configuration."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vtok.data.tensor_file import read_tensors
from vtok.errors import WeightsError
from vtok.tokenizers.folder import CONFIG_FILE, TENSOR_FILE
from vtok.tokenizers.pretrained import Pretrained
from vtok.weights.convert.titok import Hints
from vtok.weights.convert.tree import Tree, read_tree, whose
from vtok.weights.convert.upstream import Recognised, build, recognise

TORCH_FILE = "pytorch_model.bin"
EXTENSIONS = (".safetensors", ".bin", ".pt", ".pth")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights as upstream stores them.

    Args:
        file: with the tensors.
        state: those by name.
        tree: what the configuration beside them says; None where there is none.
    """

    file: Path
    state: dict[str, Tensor]
    tree: Tree | None

    @property
    def hints(self) -> Hints:
        """What the tensors do not say."""
        return Hints() if self.tree is None else self.tree.hints


@dataclass(frozen=True, eq=False)
class Converted:
    """A model, what its tensors were recognised as, and the file that they are from."""

    model: Pretrained
    found: Recognised
    file: Path


def is_upstream(path: Path) -> bool:
    """Whether a path is a file, or a folder that upstream's weights are in."""
    if path.is_file():
        return True
    owner = whose(path / CONFIG_FILE)
    return owner == "upstream" or (owner == "nobody" and not (path / CONFIG_FILE).exists() and (path / TORCH_FILE).is_file())


def read_upstream(path: Path) -> Checkpoint:
    """Read a file, or a folder with `model.safetensors` or `pytorch_model.bin`, and `config.json` where there is one.

    Raises:
        WeightsError: there is none, it cannot be read, or it is a vtok model already; the message names the file.
    """
    if path.is_dir():
        file, config = _tensor_file(path), path / CONFIG_FILE
        return Checkpoint(file, read_tensors(file), read_tree(config) if config.exists() else None)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file or folder")
    if path.suffix not in EXTENSIONS:
        raise WeightsError(f"{path}: no file of weights; their names end in {', '.join(EXTENSIONS)}")
    if path.name == TENSOR_FILE:
        _refuse_ours(path.parent)
    return Checkpoint(path, read_tensors(path), None)


def load_upstream(path: Path, *, proxy: Path | None = None) -> Converted:
    """Read upstream's weights and make a model of them, in eval mode and without gradients.

    Args:
        path: as of `read_upstream`.
        proxy: likewise, a MaskGIT-VQGAN, for a TiTok or One-D-Piece in its first stage.

    Raises:
        WeightsError: as of `read_upstream` and `from_upstream`, or a configuration that contradicts the tensors.
    """
    read = read_upstream(path)
    pixels = None if proxy is None else _read_proxy(proxy)
    with _naming(read.file):
        found = recognise(read.state, proxy=pixels, hints=read.hints)
    if read.tree is not None:
        with _naming(path / CONFIG_FILE):
            read.tree.check(found)
    with _naming(read.file):
        return Converted(build(read.state, found, proxy=pixels), found, read.file)


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
