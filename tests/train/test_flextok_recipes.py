"""The recipes of FlexTok, with small networks and synthetic pictures, a few steps long."""

from pathlib import Path

import pytest

from tests.train.toy import entries
from vtok.tokenizers.flextok import FlextokTokenizer
from vtok.train import TABLE, load_config, run

SMALL = [
    "data.kind=synthetic",
    "data.num_synthetic=8",
    "data.split=all",
    "train.steps=3",
    "train.batch_size=2",
    "train.precision=fp32",
    "train.image_every=0",
    "train.validation.every=3",
    "train.validation.num_pictures=1",
    "train.validation.lengths=[1, 0]",
    "train.trackers=[]",
    "flextok.model.encoder={dim=16, depth=1, heads=2}",
    "flextok.model.decoder={dim=16, depth=2, heads=2}",
    "flextok.model.sampling.steps=2",
    "threads=1",
]
TEACHER = '{backbone="vit_tiny_patch16_224", pretrained=false}'
FOR_IMAGENET = [
    "data.crop_size=32",
    "flextok.model.image_size=32",
    "flextok.model.quantizer.num_tokens=4",
    "flextok.autoencoder=taef2",
    f"flextok.representation.teacher={TEACHER}",
]


@pytest.mark.parametrize(
    ("name", "settings"),
    [("flextok64-pixels", []), ("flextok64-taef2", []), *((f"flextok-{size}", FOR_IMAGENET) for size in ("d12-d12", "d18-d18", "d18-d28"))],
)
def test_a_recipe_trains_and_its_model_decodes(name: str, settings: list[str], tmp_path: Path) -> None:
    if settings:
        pytest.importorskip("timm", reason="needs the extra `models`")
    config = load_config(name, [*SMALL, *settings])
    found = entries(run(config, TABLE, tmp_path / "run"))
    losses = [entry["loss"]["network/flow"] for entry in found if "loss" in entry]
    assert losses
    assert all(0.1 < loss < 10 for loss in losses)
    model = FlextokTokenizer.from_pretrained(tmp_path / "run")
    assert model.config.patch_size == config.settings()["model"]["patch_size"]
    assert found[-1]["validation"]["psnr"].keys() == {"1", str(model.spec.max_tokens)}
