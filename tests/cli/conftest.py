"""Running commands in this process, on a tiny model and small generated pictures."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.cli.samples import pixels
from vtok.cli import main


@dataclass(frozen=True)
class Outcome:
    """Exit code and what was written."""

    code: int
    out: bytes
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.decode().splitlines()]

    @property
    def line(self) -> str:
        """The only line of standard error, without its end."""
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        return self.err[:-1]


Command = Callable[..., Outcome]


@pytest.fixture
def vtok(monkeypatch, capsysbinary) -> Command:
    """Run `vtok ARGUMENTS` with these bytes on standard input."""

    def run(*arguments: object, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "argv", ["vtok", *(str(argument) for argument in arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        code: int | str | None = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        assert code is None or isinstance(code, int), code
        captured = capsysbinary.readouterr()
        return Outcome(code or 0, captured.out, captured.err.decode())

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """The folder of a tiny tokenizer: tiles of 16 pixels, 8 tokens of 4 bits."""
    from vtok.tokenizers.linear import LinearTokenizer

    folder = tmp_path_factory.mktemp("model")
    LinearTokenizer.tiny().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def other_model(tmp_path_factory) -> Path:
    """A tiny tokenizer whose ids mean something else."""
    from vtok.tokenizers.linear import LinearTokenizer

    tokenizer = LinearTokenizer.tiny()
    tokenizer.mean.add_(1)
    folder = tmp_path_factory.mktemp("other")
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def flow_model(tmp_path_factory) -> Path:
    """A tiny tokenizer whose decoder takes steps from noise: tiles of 16 pixels, 6 tokens."""
    from vtok.tokenizers.flextok import FlextokTokenizer

    folder = tmp_path_factory.mktemp("flow")
    FlextokTokenizer.tiny().save_pretrained(folder)
    return folder


@pytest.fixture
def photo(tmp_path) -> Path:
    """A PNG of 50 x 35 pixels: 4 columns, 3 rows of tiles."""
    path = tmp_path / "photo.png"
    Image.fromarray(pixels(35, 50)).save(path)
    return path


@pytest.fixture
def album(tmp_path) -> Path:
    """A folder of three pictures of two sizes, one in a folder of its own."""
    folder = tmp_path / "album"
    (folder / "deeper").mkdir(parents=True)
    for i, (name, size) in enumerate({"a.png": (20, 20), "b.webp": (20, 20), "deeper/c.jpg": (33, 17)}.items()):
        Image.fromarray(pixels(*size, seed=i)).save(folder / name)
    return folder


@pytest.fixture
def encoded(photo, model, vtok) -> Path:
    """`photo` at all tokens."""
    path = photo.with_suffix(".vtok")
    assert vtok("encode", photo, "-o", path, "--model", model).code == 0
    return path
