"""The table of published weights, named `architecture.tag`, ours by their recipe. No torch here, so that `vtok models` is quick."""

import difflib
from dataclasses import dataclass
from fnmatch import fnmatchcase

from vtok.errors import UnknownModelError

DEFAULT = "photo64"


@dataclass(frozen=True)
class Bundled:
    """Weights inside the package: a folder beside this file."""

    folder: str


@dataclass(frozen=True)
class Hub:
    """Weights on the hub: `organisation/name`, and the commit in 40 hex digits."""

    repo: str
    revision: str


@dataclass(frozen=True)
class Weights:
    """One row: where the weights are and what they are.

    Args:
        name: `architecture.tag`; weights of ours have the name of their recipe.
        family: name of the tokenizer family.
        source: where the model folder is.
        licence: SPDX identifier of the weights' licence; `LicenseRef-...` where none of the list fits.
        digest: code digest, 64 hex digits: equal digests read each other's ids.
        sha256: of the tensor file, 64 hex digits; checked after a download.
        paper: where the method is described.
        note: what the weights are for, one line.
        terms: what else their user should know of their terms, one line.

    Raises:
        ValueError: digests that are none.
    """

    name: str
    family: str
    source: Bundled | Hub
    licence: str
    digest: str
    sha256: str
    paper: str | None = None
    note: str = ""
    terms: str = ""

    def __post_init__(self) -> None:
        if not all(len(bytes.fromhex(h)) == 32 for h in (self.digest, self.sha256)):
            raise ValueError(f"{self.name}: digests are 64 hex digits")


TABLE: dict[str, Weights] = {
    w.name: w
    for w in (
        Weights(
            DEFAULT,
            family="nested",
            source=Bundled("photo64"),
            licence="CC-BY-NC-4.0",
            digest="26a90e0c81214ce32aa2d5bd1cc43a895dc8a37d67f9c414cd26e49b05ba201c",
            sha256="e7504605f13785458573f74e71ce3c4a5b06378b52b70e0b2dedc5cc79522c66",
            note="the default: photographs in tiles of 64 pixels, up to 128 tokens of 12 bits each, on the latents of taef2",
            terms="trained on photographs of research sets, some without a stated licence; see docs/models/photo64.md",
        ),
    )
}


def weights(name: str) -> Weights:
    """Look up published weights.

    Raises:
        UnknownModelError: no such name; the message has the nearest.
    """
    if name in TABLE:
        return TABLE[name]
    near = difflib.get_close_matches(name, TABLE, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`vtok models` lists the names."
    raise UnknownModelError(f"no weights named {name!r}; {hint} A model folder, or organisation/name on the hub, will do too")


def names(pattern: str = "*") -> list[str]:
    """Names of published weights that match a glob, sorted."""
    return sorted(name for name in TABLE if fnmatchcase(name, pattern))
