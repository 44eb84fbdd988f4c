"""Records of evaluations as files."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from vtok.errors import DataError

_LINE = 200
_INFINITE = "inf"


def to_bytes(record: Mapping[str, Any]) -> bytes:
    """JSON, indented, innermost lists and objects on a line of their own where they fit; an infinite PSNR becomes the text "inf"."""

    def joined(part: re.Match[str]) -> str:
        line = re.sub(r"\n\s*", " ", part[0])
        return line if len(line) <= _LINE else part[0]

    text = json.dumps(_plain(record), indent=1, allow_nan=False)
    return (re.sub(r"[\[{][^\[\]{}]*[\]}]", joined, text) + "\n").encode()


def read_records(file: Path) -> list[dict[str, Any]]:
    """The records in a file: the one of `vtok eval`, or those of `vtok bench-codecs`.

    Raises:
        DataError: missing, or not such a file.
    """
    try:
        found = _numbers(json.loads(file.read_bytes()))
        records = found.get("records", [found])
        for record in records:
            _Record.model_validate(record)
        if records:
            return list(records)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    raise DataError(f"{file}: no record of vtok eval or vtok bench-codecs")


class _Figure(BaseModel):
    value: float | None


class _Row(BaseModel):
    tokens: int | None = None
    wanted_bpp: float | None = None
    bytes: float | None
    bpp: float | None
    metrics: dict[str, _Figure]


class _Subject(BaseModel):
    kind: str
    name: str
    title: str = ""


class _Pictures(BaseModel):
    keys: list[str]
    bytes: dict[str, list[int]]


class _Record(BaseModel):
    """What readers of records rely on; there is more in them."""

    vtok_eval: Literal[1]
    subject: _Subject
    rows: list[_Row] = Field(min_length=1)
    pictures: _Pictures | None = None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _INFINITE if isinstance(value, float) and math.isinf(value) else value


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return math.inf if value == _INFINITE else value
