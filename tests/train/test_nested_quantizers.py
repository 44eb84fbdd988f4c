"""`nested` learns with every kind of quantizer, from random weights and on principal components."""

from typing import Any

import pytest
import torch

from tests.quantizer_kinds import KINDS
from tests.train.test_nested_objective import SYNTHETIC, a_batch, begun, figures, trained
from vtok.errors import ConfigError
from vtok.models.quantizers import Quantizer
from vtok.models.quantizers.config import FsqConfig
from vtok.train.closed_form.first_codes import latents_of_tiles
from vtok.train.samples.pictures import open_pictures

every_kind = pytest.mark.parametrize("kind", KINDS)


def settings(kind: str, **changes: Any) -> dict[str, Any]:
    if kind == "library":
        pytest.importorskip("vector_quantize_pytorch", reason="needs the extra `train`")
    return {"quantizer": KINDS[kind], **changes}


@every_kind
@pytest.mark.parametrize("start", ["random", "linear"])
def test_it_learns(kind: str, start: str) -> None:
    objective = begun(**settings(kind, start=start))
    before, after = trained(objective, 12, lambda _: a_batch(1000, num=8))
    assert after < before


@every_kind
def test_losses_have_the_quantizers_names_and_all_are_finite(kind: str) -> None:
    objective = begun(**settings(kind, start="linear"))
    quantizer: Quantizer = objective.tokenizer.quantizer
    found = {name.removeprefix("network/"): value for name, value in figures(objective, a_batch()).items()}
    assert set(found) - {"l2", "alignment"} <= set(quantizer.loss_weights)
    assert all(torch.tensor(value).isfinite() for value in found.values())


@torch.no_grad()
def test_a_linear_start_gives_the_quantizer_the_components_in_their_order_and_each_about_1() -> None:
    objective = begun(**settings("fsq", start="linear"))
    model = objective.tokenizer
    assert bool((model.component_scales.diff() <= 0).all())
    assert isinstance(objective.config.quantizer, FsqConfig)
    latents = latents_of_tiles(model, open_pictures(SYNTHETIC, 0), 300)
    assert 0.5 < float(model.in_units(latents).square().mean().sqrt()) < 2
    torch.testing.assert_close(model.from_units(model.in_units(latents)), latents)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["vq", "a table each", "residual", "factorized, mixed"])
def test_a_linear_start_with_first_codes_can_already_tell_pictures_apart(kind: str) -> None:
    model = begun(**settings(kind, start="linear")).tokenizer.eval()
    latents = model.in_units(latents_of_tiles(model, open_pictures(SYNTHETIC, 0), 1))  # of the picture that the codes were found on
    left = latents - model.quantizer(latents).vectors
    assert float(left.square().sum()) < 0.75 * float((latents - latents.mean(0)).square().sum())


def test_more_numbers_than_there_are_components_are_refused() -> None:
    many = {"kind": "vq", "num_tokens": 4, "dim": 4000, "codebook_size": 16}
    with pytest.raises(ConfigError, match=r"raise linear\.max_components"):
        begun(start="linear", quantizer=many)
