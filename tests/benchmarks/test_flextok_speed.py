"""The straightforward FlexTok, which speed is measured against, computes what ours does; and so does each way of attention."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import flextok_speed, register_attention
from benchmarks.flextok_speed import Bench, Fast, operations
from benchmarks.plain_flextok import PlainFlextok
from vtok.tokenizers.flextok import FlextokTokenizer

PEAKS = {"fp32": 1.0, "bf16": 1.0}
HALF = ("plain", "vtok", "plain bf16", "vtok bf16")


@pytest.fixture(scope="module")
def model() -> FlextokTokenizer:
    return FlextokTokenizer.tiny().requires_grad_(False)


@pytest.fixture
def same_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(script: Any, monkeypatch: pytest.MonkeyPatch, file: Path, options: Sequence[str]) -> dict[str, Any]:
    """What a script writes; it takes as many threads as there are."""
    name = script.__name__.rpartition(".")[2]
    monkeypatch.setattr("sys.argv", [name, *options, "--threads", str(torch.get_num_threads()), "-o", str(file)])
    script.main()
    result: dict[str, Any] = json.loads(file.read_text())
    assert result["benchmark"] == name
    return result


@pytest.mark.parametrize("length", [1, 4, 6])
def test_ids_and_maps_are_the_same(model: FlextokTokenizer, length: int) -> None:
    plain, fast = PlainFlextok(model), Fast(model)
    maps = torch.randn(3, 3, *model.spec.input_size, generator=torch.Generator().manual_seed(0))
    ids = fast.encode(maps)
    assert len(ids.unique()) > 5
    assert torch.equal(plain.encode(maps), ids)
    noise = model.noise(range(3), [(0, 0)] * 3)
    torch.testing.assert_close(plain.decode(ids[:, :length], noise, 3), fast.decode(ids[:, :length], noise, 3), rtol=0, atol=1e-5)


def test_a_measurement_has_ratios_and_shares_of_the_peak(model: FlextokTokenizer) -> None:
    found = Bench(model, HALF, 1, 2, PEAKS).run(2, [1, 6])
    assert found["encode"]["same_ids"]["vtok"] == 1
    assert [part["tokens"] for part in found["decode"]] == [1, 6]
    for part in (found["encode"], *found["decode"]):
        assert part["ratio"].keys() == {"vtok", "vtok bf16"}
        assert part["ways"].keys() == set(HALF)
        assert all(row["seconds"] > 0 and row["share_of_peak"] > 0 for row in part["ways"].values())
    few, all_tokens = (part["gflop_per_picture"] for part in found["decode"])
    assert few["plain"] == all_tokens["plain"]


def test_operations_of_attention_are_counted_on_a_processor() -> None:
    q, k = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 7, 8)
    with torch.no_grad():
        counted = operations(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, k))
    assert counted * 1e9 == pytest.approx(2 * 2 * 2 * 5 * 7 * 8)


def test_sides_that_differ_are_not_timed(model: FlextokTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = PlainFlextok.decode
    monkeypatch.setattr(PlainFlextok, "decode", lambda *arguments: decode(*arguments) + 0.01)
    with pytest.raises(RuntimeError, match="the same maps"):
        Bench(model, ("plain", "vtok"), 1, 2, PEAKS).run(1, [1])


@pytest.mark.usefixtures("same_threads", "capsys")
def test_the_script_measures_the_published_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("diffusers")
    options = ("--depth", "1", "--batch", "2", "--tokens", "1", "16", "--rounds", "1", "--steps", "1")
    result = run(flextok_speed, monkeypatch, tmp_path / "result.json", options)
    assert result["model"] == "d1-d1, 256 px"
    assert result["peak_gflops"].keys() == PEAKS.keys()
    few, more = result["runs"][0]["decode"]
    assert few["gflop_per_picture"]["vtok"] < more["gflop_per_picture"]["vtok"] < more["gflop_per_picture"]["plain"]


@pytest.mark.usefixtures("same_threads", "capsys")
@pytest.mark.parametrize("script", [flextok_speed, register_attention])
def test_without_a_gpu_its_part_is_left_out(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = run(script, monkeypatch, tmp_path / "result.json", ("--device", "cuda"))
    assert result["left_out"] == "there is no GPU here"
    assert "runs" not in result


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.usefixtures("same_threads", "capsys")
def test_ways_of_attention_are_compared_and_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # flex_attention is the same, slower
    options = ("--heads", "2", "--patches", "6", "--registers", "4", "--batch", "2", "--rounds", "1")
    result = run(register_attention, monkeypatch, tmp_path / "result.json", options)
    for task in ("layer", "registers"):
        found = result["runs"][0][task]
        assert found["largest_difference"].keys() == found["flex_ratio"].keys() - {"mask"} | {"flex"}
        assert all(found[way]["runs"] == 1 for way in ("mask", "vtok", "flex"))


def test_what_cannot_be_compiled_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Tensor) -> Callable[[], Tensor]:
        raise RuntimeError("no compiler\nmore of it")

    monkeypatch.setattr(register_attention, "compiled", refuse)
    q, k, v = torch.randn(3, 1, 2, 10, 8, generator=torch.Generator().manual_seed(0))
    found = register_attention.measure(q, k, v, 6, 0, 1)
    assert found["left_out"] == {"flex": "no compiler"}
    assert found["vtok"]["runs"] == 1
    assert "flex" not in found
