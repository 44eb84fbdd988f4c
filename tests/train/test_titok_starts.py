"""What trainings of the TiTok line begin with: the first stage, other folders, the seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.titok_settings import SETTINGS, SYNTHETIC, an_objective, begun, made, stage2
from vtok.errors import ConfigError, VtokError, WeightsError
from vtok.tokenizers.one_d_piece import OneDPiece, ProxyOneDPiece
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.titok import PixelTitok, ProxyTitok, Titok
from vtok.train import TABLE, run
from vtok.train.config import RunConfig, check

every_case = pytest.mark.parametrize("case", SETTINGS)


@pytest.fixture(scope="module")
def stage1_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of runs of the first stage, a step long."""
    found = {}
    for case in ("stage 1 of titok", "stage 1 of one_d_piece"):
        name, settings = SETTINGS[case]
        train = {"steps": 1, "batch_size": 2, "trackers": ()}
        values = {"objective": name, "threads": 1, "data": SYNTHETIC.model_dump(), "train": train, name: settings}
        found[case] = run(check(RunConfig, values, case), TABLE, tmp_path_factory.mktemp("runs") / "stage1")
    return found


@pytest.mark.parametrize(
    ("case", "first", "second"),
    [("stage 1 of titok", ProxyTitok, Titok), ("stage 1 of one_d_piece", ProxyOneDPiece, OneDPiece)],
)
def test_the_second_stage_begins_with_the_weights_of_the_first(
    case: str, first: type[Titok], second: type[Titok], stage1_runs: dict[str, Path], tmp_path: Path
) -> None:
    start = Pretrained.from_pretrained(stage1_runs[case])
    assert type(start) is first
    settings = {name: value for name, value in stage2("titok").items() if name != "random_start"} | {"start": str(stage1_runs[case])}
    objective = made("titok_stage2", settings)
    objective.check(SYNTHETIC)
    model = objective.prepare(None, torch.Generator().manual_seed(0))
    assert type(model) is second
    assert all(torch.equal(value, start.state_dict()[name]) for name, value in model.state_dict().items())
    model.save_pretrained(tmp_path / "second")
    assert type(made("titok_stage2", settings | {"start": str(tmp_path / "second")}).make()) is second  # which may be trained on


def test_a_first_stage_that_was_trained_has_the_decoder_and_codes_of_its_proxy(stage1_runs: dict[str, Path]) -> None:
    stage1: Any = Pretrained.from_pretrained(stage1_runs["stage 1 of titok"])
    proxy = an_objective("stage 1 of titok").proxy.network
    for own, other in ((stage1.decoder.pixel_decoder, proxy.decoder), (stage1.decoder.pixel_quantizer, proxy.quantizer)):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in own.state_dict().items())


def test_a_start_is_no_part_of_what_is_kept_in_checkpoints(stage1_runs: dict[str, Path]) -> None:
    settings = {name: value for name, value in stage2("titok").items() if name != "random_start"}
    objective = made("titok_stage2", settings | {"start": str(stage1_runs["stage 1 of titok"])})
    objective.begin(objective.prepare(None, torch.Generator().manual_seed(0)), seed=0)
    assert {name.split(".")[0] for name in objective.state_dict()} == {"model"}


@every_case
def test_a_start_is_the_same_for_the_same_seed(case: str) -> None:
    first, again, other = (begun(case, seed=seed).model.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["encoder.latent_tokens"], other["encoder.latent_tokens"])


def nothing(folder: Path) -> None:
    assert not folder.exists()


def other_family(folder: Path) -> None:
    PixelTitok.tiny().save_pretrained(folder)


def damaged(folder: Path) -> None:
    Titok.tiny().save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"nothing")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (nothing, "no such f"),
        (damaged, "model.safetensors"),
        (other_family, "a titok_pixel model, expected titok"),
    ],
)
@pytest.mark.parametrize(("name", "key"), [("titok_stage2", "start"), ("titok_stage1", "proxy")])
def test_a_start_that_is_none_is_one_line(name: str, key: str, spoil: Callable[[Path], object], words: str, tmp_path: Path) -> None:
    spoil(tmp_path / "start")
    settings = {"pictures": {"l2": 1, "lpips": 0}} if name == "titok_stage2" else SETTINGS["stage 1 of titok"][1]
    expected = words.replace("expected titok", "expected maskgit_vqgan") if name == "titok_stage1" else words
    with pytest.raises(VtokError, match=expected) as error:
        made(name, settings | {key: str(tmp_path / "start")})
    assert isinstance(error.value, ConfigError | WeightsError)
    assert str(error.value).startswith(f"{name}.{key}")
    assert "\n" not in str(error.value)
