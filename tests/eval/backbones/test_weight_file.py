"""Where files of weights are looked for."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from vtok.errors import WeightsError
from vtok.eval.backbones.weight_file import WeightFile, digest

CONTENT = b"weights"
WANTED = WeightFile(
    title="the network",
    file_names=("net-1.pth", "net-2.pth"),
    size_bytes=7_340_000,
    sha256_prefix=hashlib.sha256(CONTENT).hexdigest()[:8],
    variable="VTOK_TEST_WEIGHTS",
    source="somewhere",
)


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WANTED.variable, raising=False)


def put(file: Path, content: bytes = CONTENT) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_the_file_given_wins_over_the_variable_and_that_over_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = put(tmp_path / "torch" / "hub" / "checkpoints" / "net-2.pth")
    assert WANTED.find() == cached
    monkeypatch.setenv(WANTED.variable, str(put(tmp_path / "named.pth")))
    assert WANTED.find() == tmp_path / "named.pth"
    assert WANTED.find(put(tmp_path / "given.pth")) == tmp_path / "given.pth"


def test_what_the_hubs_cache_has_serves(empty_caches: Path) -> None:
    folder = empty_caches / "hub" / "models--org--net"
    put(folder / "refs" / "main", b"abc")
    file = put(folder / "snapshots" / "abc" / "model.safetensors")
    assert replace(WANTED, hub_repo="org/net").find() == file


def test_nothing_anywhere_says_all_there_is_to_know_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        replace(WANTED, hub_repo="org/net").find()
    assert str(caught.value) == (
        f"the network needs its weights, net-1.pth (about 7.34 MB, SHA-256 begins {WANTED.sha256_prefix}, from somewhere): put it at "
        f"{tmp_path}/torch/hub/checkpoints/net-1.pth, or fetch org/net into the Hugging Face cache, or name a file in VTOK_TEST_WEIGHTS"
    )


@pytest.mark.parametrize("way", ["given", "variable"])
def test_a_file_that_is_named_and_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    put(tmp_path / "torch" / "hub" / "checkpoints" / "net-1.pth")
    monkeypatch.setenv(WANTED.variable, str(tmp_path / "gone.pth"))
    with pytest.raises(WeightsError, match=r"no file .*gone\.pth: the network needs its weights, net-1\.pth \(about 7\.34 MB, SHA-256"):
        WANTED.find(tmp_path / "gone.pth" if way == "given" else None)


def test_a_file_of_another_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=rf"net\.pth is another file: its SHA-256 begins [0-9a-f]{{8}}, not {WANTED.sha256_prefix}\. the network"
    ):
        WANTED.find(put(tmp_path / "net.pth", b"other"))


def test_a_file_of_which_no_digest_is_known_is_taken(tmp_path: Path) -> None:
    assert replace(WANTED, sha256_prefix="").find(put(tmp_path / "net.pth", b"other")) == tmp_path / "net.pth"


def test_the_digest_of_a_file_that_changed_is_taken_anew(tmp_path: Path) -> None:
    file = put(tmp_path / "net.pth")
    before = digest(file)
    file.write_bytes(b"changed")
    os.utime(file, ns=(0, 0))
    assert before == hashlib.sha256(CONTENT).hexdigest()
    assert digest(file) == hashlib.sha256(b"changed").hexdigest()


def test_the_digest_of_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.pth: cannot be read"):
        digest(tmp_path / "gone.pth")
