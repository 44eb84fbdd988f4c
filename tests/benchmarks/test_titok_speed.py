"""The straightforward TiTok, which speed is measured against, computes what ours does."""

import torch

from benchmarks.plain_titok import PlainTitok
from benchmarks.titok_speed import Sides, measure
from vtok.tokenizers.titok import Titok


def both() -> tuple[Titok, PlainTitok]:
    model = Titok.tiny().requires_grad_(False)
    model.after_load()
    return model, PlainTitok(model.config, model)


def test_ids_and_pictures_are_the_same() -> None:
    model, plain = both()
    images = torch.rand(3, 3, *model.spec.input_size, generator=torch.Generator().manual_seed(0))
    tokens = model.encode(images)
    assert torch.equal(plain.encode(images)[..., None], tokens.ids)
    torch.testing.assert_close(plain.decode(tokens.ids[..., 0]), model.decode(tokens), rtol=0, atol=1e-4)


def test_a_measurement_has_a_ratio_and_a_share_of_the_peak() -> None:
    model, plain = both()
    found = measure(Sides(model, plain, 2, torch.device("cpu")), 1, {"fp32": 1.0, "bf16": 1.0}, compiled=False)
    assert found["same_ids"]["plain"] == 1
    for task in ("encode", "decode"):
        assert found["gflop_per_picture"][task] > 0
        assert found[f"{task}_ratio"].keys() == {"fp32", "bf16"}
        assert all(row["seconds"] >= 0 and row["share_of_peak"] > 0 for row in found[task].values())
