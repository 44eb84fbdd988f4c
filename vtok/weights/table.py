"""The table of published weights, named `architecture.tag`. No torch here, so that `vtok models` is quick."""

import difflib
from dataclasses import dataclass
from fnmatch import fnmatchcase

from vtok.errors import UnknownModelError

DEFAULT = "linear64.photos"


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
        name: `architecture.tag`.
        family: name of the tokenizer family.
        source: where the model folder is.
        licence: SPDX identifier.
        digest: code digest, 64 hex digits: equal digests read each other's ids.
        sha256: of the tensor file, 64 hex digits; checked after a download.
        paper: where the method is described.
        note: what the weights are for, one line.

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

    def __post_init__(self) -> None:
        if not all(len(bytes.fromhex(h)) == 32 for h in (self.digest, self.sha256)):
            raise ValueError(f"{self.name}: digests are 64 hex digits")


TABLE: dict[str, Weights] = {
    w.name: w
    for w in (
        Weights(
            DEFAULT,
            family="linear",
            source=Bundled("default"),
            licence="MIT",
            digest="112b3d1009814ee428eb8dc0b06a2b6b7bf6ef3081795142ae5a9bf69e71541f",
            sha256="292196364c94128192cef23fa8fab3817e36daea02903978acba50d1f53724fc",
            note="the default: tiles of 64 pixels, up to 128 tokens of 12 bits, on the latents of taef2",
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
