"""What the README shows works as written."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import CHECKOUT
from vtok.cli import main

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The first code block under a heading."""
    return re.split(r"```\w*\n", README.split(f"## {title}\n")[1])[1].split("```")[0]


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small photograph in the current folder, which is otherwise empty."""
    with Image.open(CHECKOUT / "examples" / "raccoon.jpg") as picture:
        picture.crop((300, 100, 492, 228)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photo.jpg"


@pytest.mark.usefixtures("photo")
def test_the_commands_work_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = [shlex.split(line, comments=True) for line in section("On the command line").splitlines()]
    for command in commands:
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code, command
    assert {command[1] for command in commands} == {"encode", "decode", "info", "truncate", "compare"}
    assert Path("small.vtok").stat().st_size <= 900


@pytest.mark.usefixtures("photo")
def test_a_model_is_measured_as_it_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `eval`")
    pytest.importorskip("scipy", reason="needs the extra `eval`")
    monkeypatch.setenv("VTOK_CACHE", str(tmp_path / "cache"))
    Path("Pictures").mkdir()
    Path("photo.jpg").rename("Pictures/photo.jpg")
    for line in section("Measure a model").splitlines():
        command = shlex.split(line, comments=True)
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code, command
    assert {"record.json", "codecs.json", "curve.png", "gallery.png"} <= {file.name for file in tmp_path.iterdir()}


def test_the_python_code_works(photo: Path) -> None:
    names = {"images": torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))}
    exec(section("In Python"), names)
    with Image.open(photo) as original:
        assert np.shape(names["image"]) == (original.height, original.width, 3)
    assert names["pictures"].shape == (2, 3, 64, 64)


def test_the_pictures_and_pages_it_links_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (CHECKOUT / link).exists()] == []
