"""`load`: the default weights, a name of the table, a folder or a hub id to a tokenizer."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from vtok.errors import UnknownModelError, WeightsError
from vtok.weights.table import DEFAULT, TABLE, Bundled, Hub, Weights, weights

if TYPE_CHECKING:
    from vtok.tokenizers.base import Tokenizer

_HERE = Path(__file__).resolve().parent


def load(name_or_dir: str | Path | None = None, *, device: str = "cpu", revision: str | None = None) -> "Tokenizer":
    """Load a tokenizer, in eval mode and without gradients.

    Args:
        name_or_dir: a name of the table (`photo64`), a model folder, or `organisation/name` on the hub; None for the default,
            which is inside the package. A name of the table wins over a folder: write `./NAME` for the folder.
        device: as torch names it.
        revision: branch, tag or commit of a hub id; the table has its own.

    Raises:
        UnknownModelError: none of these; the message says what was possible.
        WeightsError: files that are missing or damaged, or a hub that cannot be reached.
        ConfigError: a wrong key in the model's configuration.
    """
    from vtok.tokenizers.base import Tokenizer

    name = DEFAULT if name_or_dir is None else name_or_dir
    if isinstance(name, str) and name in TABLE:
        return Tokenizer.from_pretrained(_folder(TABLE[name])).to(device)
    _check_place(name)
    return Tokenizer.from_pretrained(name, revision=revision).to(device)


def load_by_digest(digest: bytes) -> "Tokenizer | None":
    """The weights inside the package whose code digest starts with these bytes, None where there are none.

    Raises:
        ValueError: no bytes.
    """
    if not digest:
        raise ValueError("an empty digest is that of every model")
    rows = (row for row in TABLE.values() if isinstance(row.source, Bundled) and bytes.fromhex(row.digest).startswith(digest))
    found = next(rows, None)
    return None if found is None else load(found.name)


def _folder(row: Weights) -> Path:
    if isinstance(row.source, Bundled):
        return _HERE / row.source.folder
    return _download(row, row.source)


def _download(row: Weights, source: Hub) -> Path:
    from vtok.tokenizers.folder import TENSOR_FILE
    from vtok.tokenizers.hub import fetch

    folder = fetch(source.repo, revision=source.revision, cache_dir=None, local_files_only=False, token=None)
    path = folder / TENSOR_FILE
    if not path.is_file():
        raise WeightsError(f"{source.repo}: has no {TENSOR_FILE} at {source.revision}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != row.sha256:
        raise WeightsError(f"{path}: SHA-256 is {found[:12]}..., {row.name} has {row.sha256[:12]}...; delete the file and load again")
    return folder


def _check_place(name: str | Path) -> None:
    from vtok.data.files import expand_home
    from vtok.tokenizers.hub import is_hub_id

    folder = expand_home(name)
    if folder.is_dir() or (isinstance(name, str) and is_hub_id(name) and not folder.exists()):
        return
    if folder.exists():
        raise UnknownModelError(f"{name}: is a file; give the folder that has config.json and model.safetensors")
    if isinstance(name, str) and not {"/", "\\"} & set(name):
        weights(name)
    raise UnknownModelError(f"{name}: no such folder; a name of `vtok models`, or organisation/name on the hub, will do too")
