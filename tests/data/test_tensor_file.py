"""Files of tensors that somebody else made: no code in them is run, and damage is one line."""

import argparse
import io
import pickle
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from vtok.data.tensor_file import read_tensors
from vtok.errors import WeightsError


def table() -> dict[str, Tensor]:
    return {name: torch.randn(3, 4, generator=torch.Generator().manual_seed(i)) for i, name in enumerate("abc")}


def saved(value: Any, *, old: bool = False) -> bytes:
    data = io.BytesIO()
    torch.save(value, data, _use_new_zipfile_serialization=not old)
    return data.getvalue()


def refusal(file: Path) -> str:
    with pytest.raises(WeightsError) as error:
        read_tensors(file)
    text = str(error.value)
    assert str(file) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ["t.safetensors", "t.bin", "t.pt", "t.pth"])
def test_tensors_come_back(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name.endswith(".safetensors"):
        save_file(table(), file)
    else:
        file.write_bytes(saved(table(), old=name == "t.pt"))
    found = read_tensors(file)
    assert all(torch.equal(found[key], value) for key, value in table().items())


@pytest.mark.parametrize("place", ["ema", "model", "module", "state_dict"])
def test_the_weights_of_a_checkpoint_are_found(tmp_path: Path, place: str) -> None:
    beside = {"optimizer": {"state": {0: {"step": torch.ones(())}}, "param_groups": [{"lr": 1e-4}]}, "steps": 7}
    (tmp_path / "t.pt").write_bytes(saved({place: table(), "args": argparse.Namespace(vq_model="VQ-16"), **beside}))
    found = read_tensors(tmp_path / "t.pt")
    assert found.keys() == table().keys()
    assert all(torch.equal(found[key], value) for key, value in table().items())


def test_averaged_weights_of_a_checkpoint_are_taken_before_the_last_ones(tmp_path: Path) -> None:
    (tmp_path / "t.pt").write_bytes(saved({"model": {"a": torch.zeros(2)}, "ema": {"a": torch.ones(2)}}))
    assert torch.equal(read_tensors(tmp_path / "t.pt")["a"], torch.ones(2))


class Harmful:
    """What a pickle with code in it holds: a call that leaves a trace."""

    def __init__(self, trace: Path):
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._trace,)


@pytest.mark.parametrize("how", ["pickle", "torch", "torch, old"])
def test_code_in_a_file_is_not_run(tmp_path: Path, how: str) -> None:
    trace = tmp_path / "trace"
    value = {"a": Harmful(trace)}
    (tmp_path / "t.bin").write_bytes(pickle.dumps(value) if how == "pickle" else saved(value, old="old" in how))
    assert "neither safetensors nor a table of tensors" in refusal(tmp_path / "t.bin")
    assert not trace.exists()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("old", [False, True])
def test_damage_of_any_kind_is_an_error_of_ours(tmp_path: Path, old: bool) -> None:
    data, draw, file = saved(table(), old=old), random.Random(0), tmp_path / "t.bin"
    for turn in range(300):
        broken = bytearray(data)
        for _ in range(3):
            broken[draw.randrange(len(broken))] = draw.randrange(256)
        file.write_bytes(broken if turn % 2 else data[: draw.randrange(len(data))])
        with suppress(WeightsError):
            assert all(isinstance(value, Tensor) for value in read_tensors(file).values())


@pytest.mark.parametrize("size", [0, 4, 20, -1])
def test_a_cut_safetensors_file_is_one_line(tmp_path: Path, size: int) -> None:
    file = tmp_path / "t.safetensors"
    save_file(table(), file)
    file.write_bytes(file.read_bytes()[:size])
    refusal(file)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    refusal(tmp_path / "none.bin")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([torch.zeros(1)], id="a list"),
        pytest.param({"networks": {"a": torch.zeros(1)}}, id="a table in a table"),
        pytest.param({0: torch.zeros(1)}, id="numbers for names"),
        pytest.param({"a": torch.zeros(1, device="meta")}, id="no values"),
        pytest.param({"a": torch.eye(3).to_sparse()}, id="sparse"),
    ],
)
def test_what_is_no_table_of_plain_tensors_is_refused(tmp_path: Path, value: Any) -> None:
    (tmp_path / "t.bin").write_bytes(saved(value))
    refusal(tmp_path / "t.bin")
