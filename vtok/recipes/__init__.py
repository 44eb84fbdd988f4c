"""Training files, shipped as data: `vtok recipes` lists them, `vtok train NAME` runs one."""

import difflib
from contextlib import suppress
from pathlib import Path

from vtok.errors import ConfigError

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Names of all shipped recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def recipe_file(name: str | Path) -> Path:
    """The file of a shipped recipe, or the file given.

    Raises:
        ConfigError: neither; the message names the nearest recipes.
    """
    path = Path(name)
    with suppress(RuntimeError):  # there is no such user
        path = path.expanduser()
    if path.suffix == ".toml":
        if path.is_file():
            return path
        raise ConfigError(f"{path}: no such recipe file")
    if str(name) in names():
        return FOLDER / f"{name}.toml"
    near = difflib.get_close_matches(str(name), names(), n=3)
    raise ConfigError(f"no recipe named {str(name)!r}; " + (f"did you mean {' or '.join(near)}?" if near else "see `vtok recipes`"))


def head_comment(path: Path) -> list[str]:
    """Lines of the comment at the head of a recipe, without their signs: what it trains, on what, how long, which score, the command."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    return lines
