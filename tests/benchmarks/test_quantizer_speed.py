"""The measurement of the search: same ids as the library, its memory is told, what differs is not timed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import quantizer_speed
from benchmarks.quantizer_speed import Bench, costs, ratios

pytest.importorskip("vector_quantize_pytorch")
HALF = ("library", "vtok", "library bf16", "vtok bf16")


@pytest.fixture
def same_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def a_bench(metric: str = "euclidean") -> Bench:
    return Bench(metric, torch.randn(64, 4, generator=torch.Generator().manual_seed(0)), HALF)


@pytest.mark.parametrize("metric", quantizer_speed.METRICS)
def test_the_nearest_codes_are_found(metric: str) -> None:
    found = a_bench(metric).run(400, 1e9, 1)
    assert {way: row["exact"] for way, row in found["ways"].items() if way != "library bf16"} == {"library": 1, "vtok": 1, "vtok bf16": 1}
    assert found["ways"].keys() == set(HALF)
    assert found["ratio"].keys() == {"vtok", "vtok bf16"}


def test_the_library_gets_what_fits() -> None:
    ways = a_bench().run(400, 16 * 64 * 100, 1)["ways"]
    assert {way: row["vectors"] for way, row in ways.items()} == {"library": 100, "vtok": 400, "library bf16": 100, "vtok bf16": 400}


def test_other_ids_are_not_timed() -> None:
    bench = a_bench()
    bench.coders["vtok"] = lambda z: torch.zeros(z.shape[:2], dtype=torch.int64)
    with pytest.raises(RuntimeError, match="nearest codes should be found"):
        bench.run(400, 1e9, 1)


def test_ratios_are_of_one_precision() -> None:
    rows: dict[str, dict[str, float]] = {
        "library": {"vectors_per_s": 100, "bytes_per_pair": 16.0},
        "vtok": {"vectors_per_s": 300, "bytes_per_pair": 0.16},
        "library bf16": {"vectors_per_s": 50},
        "vtok bf16 compiled": {"vectors_per_s": 200},
    }
    assert ratios(rows) == {"vtok": {"speed": 3.0, "memory": 0.01}, "vtok bf16 compiled": {"speed": 4.0}}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").is_file(), reason="only Linux tells the peak of a while")
def test_the_peak_is_that_of_the_call_alone() -> None:
    device, size = torch.device("cpu"), 200 * 2**20
    large = costs(lambda: torch.ones(size, dtype=torch.uint8), device)[1]
    small = costs(lambda: torch.ones(1), device)[1]
    assert large is not None
    assert small is not None
    assert large == pytest.approx(size, rel=0.1)
    assert small < 0.1 * size


@pytest.mark.usefixtures("same_threads", "capsys")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_script_writes_what_it_measured(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    file = tmp_path / "result.json"
    sizes = ("--codes", "32", "64", "--dims", "4", "--vectors", "300", "--rounds", "1", "--threads", str(torch.get_num_threads()))
    monkeypatch.setattr("sys.argv", ["quantizer_speed", *sizes, "--device", device, "-o", str(file)])
    quantizer_speed.main()
    result = json.loads(file.read_text())
    assert result["benchmark"] == "quantizer_speed"
    if device == "cuda":
        assert result["left_out"] == "there is no GPU here"
    else:
        assert [(run["metric"], run["codes"]) for run in result["runs"]] == [(m, k) for m in quantizer_speed.METRICS for k in (32, 64)]
