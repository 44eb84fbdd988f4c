"""`load`: the default weights, a name of the table, a folder, a hub id or upstream's file to a tokenizer."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from vtok.errors import UnknownModelError, UnsupportedError, WeightsError
from vtok.weights.table import DEFAULT, TABLE, Bundled, Hub, Upstream, Weights, name_of, weights

if TYPE_CHECKING:
    from vtok.tokenizers.base import Tokenizer
    from vtok.tokenizers.latents import LatentTokenizer
    from vtok.tokenizers.pretrained import Pretrained

_HERE = Path(__file__).resolve().parent


def load(name_or_dir: str | Path | None = None, *, device: str = "cpu", revision: str | None = None) -> "Tokenizer | LatentTokenizer":
    """Load a tokenizer, or a generator, in eval mode and without gradients.

    Args:
        name_or_dir: a name of the table (`photo64`), a model folder, `organisation/name` on the hub, or a file or folder of upstream's
            weights, which is converted in memory; None for the default, which is inside the package. A name of the table wins over a
            folder: write `./NAME` for the folder.
        device: as torch names it.
        revision: branch, tag or commit of a hub id; the table has its own.

    Raises:
        UnknownModelError: none of these; the message says what was possible.
        WeightsError: files that are missing or damaged, or a hub that cannot be reached.
        ConfigError: a wrong key in the model's configuration.
    """
    name = DEFAULT if name_or_dir is None else name_or_dir
    model = _published(TABLE[name]) if isinstance(name, str) and name in TABLE else _from_place(_place(name, revision))
    return cast("Tokenizer | LatentTokenizer", model).to(device)


def load_tokenizer(name_or_dir: str | Path | None = None, *, device: str = "cpu", revision: str | None = None) -> "Tokenizer":
    """`load`, for those who need tokens.

    Raises:
        UnsupportedError: the model is continuous.
    """
    return discrete(load(name_or_dir, device=device, revision=revision), DEFAULT if name_or_dir is None else str(name_or_dir))


def discrete(model: "Tokenizer | LatentTokenizer", name: str = "the model") -> "Tokenizer":
    """The model, which makes tokens.

    Raises:
        UnsupportedError: it is continuous, or a generator; the message has the name.
    """
    from vtok.tokenizers.base import Tokenizer
    from vtok.tokenizers.latents import LatentTokenizer

    if isinstance(model, LatentTokenizer):
        raise UnsupportedError(
            f"{name} is continuous (family {model.family}): it has no tokens to store; `vtok compare` shows what it keeps of a picture, "
            "`vtok models` lists others"
        )
    if not isinstance(model, Tokenizer):
        raise UnsupportedError(f"{name} is a generator (family {model.family}), no tokenizer; `vtok generate` takes it")
    return model


def load_by_digest(digest: bytes) -> "Tokenizer | None":
    """The weights inside the package whose code digest starts with these bytes, None where there are none.

    Raises:
        ValueError: no bytes.
    """
    if not digest:
        raise ValueError("an empty digest is that of every model")
    found = name_of(digest)
    return None if found is None or not isinstance(TABLE[found].source, Bundled) else load_tokenizer(found)


def _published(row: Weights) -> "Pretrained":
    from vtok.tokenizers.pretrained import Pretrained

    match row.source:
        case Bundled(folder):
            return Pretrained.from_pretrained(_HERE / folder)
        case Hub():
            return Pretrained.from_pretrained(_download(row, row.source))
        case Upstream():
            return _convert(row, row.source)


def _download(row: Weights, source: Hub) -> Path:
    from vtok.tokenizers.folder import TENSOR_FILE
    from vtok.tokenizers.hub import check_sha256, fetch

    folder = fetch(source.repo, revision=source.revision, cache_dir=None, local_files_only=False, token=None)
    path = folder / TENSOR_FILE
    if not path.is_file():
        raise WeightsError(f"{source.repo}: has no {TENSOR_FILE} at {source.revision}")
    check_sha256(path, row.sha256)
    return folder


def _convert(row: Weights, source: Upstream) -> "Pretrained":
    from vtok.tokenizers.hub import check_sha256, fetch, fetch_file
    from vtok.weights.convert.files import load_upstream

    instead = f"fetch {source.file} by other means: a copy works by its path (`vtok convert FILE -o DIR`, then `--model DIR`)"
    file = fetch_file(source.repo, source.file, revision=source.revision, instead=instead)
    if source.configured:  # the configuration of the same commit, where it has one; the cache puts it beside the file
        fetch(source.repo, revision=file.parent.name, cache_dir=None, local_files_only=False, token=None)
    check_sha256(file, row.sha256)
    converted = load_upstream(file.parent if source.configured else file, tokenizer=row.tokenizer)
    if converted.found.official != row.official:
        raise WeightsError(f"{file}: is {converted.found.name}, {row.name} should be {row.official}; {source.repo} has changed")
    return converted.model


def _from_place(place: Path) -> "Pretrained":
    from vtok.tokenizers.pretrained import Pretrained
    from vtok.weights.convert.files import is_upstream, load_upstream

    return load_upstream(place).model if is_upstream(place) else Pretrained.from_pretrained(place)


def _place(name: str | Path, revision: str | None) -> Path:
    """The file or folder that a name stands for, in the hub's cache if it is a hub id."""
    from vtok.data.files import expand_home
    from vtok.tokenizers.hub import fetch, is_hub_id

    place = expand_home(name)
    if place.exists():
        return place
    if isinstance(name, str) and is_hub_id(name):
        return fetch(name, revision=revision, cache_dir=None, local_files_only=False, token=None)
    if isinstance(name, str) and not {"/", "\\"} & set(name):
        weights(name)
    raise UnknownModelError(f"{name}: no such file or folder; a name of `vtok models`, or organisation/name on the hub, will do too")
