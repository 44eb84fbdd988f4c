"""Several measures at once: each as it is alone, and what is refused."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.eval.pairs.test_lpips import filled_trunk
from vtok.errors import ConfigError, UnsupportedError, WeightsError
from vtok.eval.pairs import dists, measures
from vtok.eval.pairs.lpips import Lpips
from vtok.eval.pairs.measures import TABLE, Measures
from vtok.eval.pairs.ms_ssim import ms_ssim_of_batch
from vtok.eval.pairs.psnr import psnr
from vtok.eval.pairs.ssim import ssim

pytest.importorskip("lpips", reason="needs the extra `eval`")


@pytest.fixture(scope="module", autouse=True)
def weights(tmp_path_factory):
    """Trunks and channel weights that need no download."""
    folder = tmp_path_factory.mktemp("weights")
    channels = {name: torch.rand(1, 1475, 1, 1, generator=torch.Generator().manual_seed(i)) for i, name in enumerate(("alpha", "beta"))}
    torch.save(channels, folder / "dists.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTOK_LPIPS_WEIGHTS", str(filled_trunk("alex", folder)))
        patch.setenv("VTOK_LPIPS_VGG_WEIGHTS", str(filled_trunk("vgg", folder)))
        patch.setenv("VTOK_DISTS_WEIGHTS", str(folder / "dists.pt"))
        patch.setattr(dists, "WEIGHTS", dists.WeightFile("DISTS", ("dists-weights.pt",), 0, "", "VTOK_DISTS_WEIGHTS", ""))
        yield folder


def pictures(count=3, side=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, side, side + 8), dtype=torch.uint8, generator=generator)
    noise = torch.randint(-20, 21, images.shape, generator=generator)
    return images, (images.int() + noise).clamp(0, 255).byte()


NAMES = ("psnr", "ssim", "lpips", "lpips_vgg", "dists")


def test_each_is_what_it_is_alone():
    images, others = pictures()
    found = Measures(NAMES).of(images).compare(others)
    arrays = [[np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in part] for part in (images, others)]
    assert found["psnr"].tolist() == [psnr(*pair) for pair in zip(*arrays, strict=True)]
    assert found["ssim"].tolist() == pytest.approx([ssim(*pair) for pair in zip(*arrays, strict=True)], rel=1e-12)
    for name, network in (("lpips", Lpips()), ("lpips_vgg", Lpips(trunk="vgg")), ("dists", dists.Dists())):
        with torch.no_grad():
            expected = network(images / 255, others / 255)
        torch.testing.assert_close(found[name].float(), expected, rtol=1e-4, atol=1e-6)
    assert all(values.shape == (3,) and values.dtype == torch.float64 for values in found.values())


def test_a_batch_is_its_pictures():
    images, others = pictures()
    measures = Measures(NAMES)
    whole = measures.of(images).compare(others)
    for i in range(len(images)):
        for name, value in measures.of(images[i : i + 1]).compare(others[i : i + 1]).items():
            assert float(value) == pytest.approx(float(whole[name][i]), rel=1e-5, abs=1e-6)


def test_a_large_batch_in_bands_is_the_same(monkeypatch):
    images, others = pictures(2, 70)
    measured = Measures(("psnr", "ssim", "lpips", "dists"))
    kept = measured.of(images).compare(others)
    monkeypatch.setattr(measures, "_KEPT_PIXELS", 0)
    monkeypatch.setattr(measures, "_ROWS", 1000)
    monkeypatch.setattr("vtok.eval.pairs.ssim._PIXELS", 1000)
    for name, values in measured.of(images).compare(others).items():
        torch.testing.assert_close(values, kept[name], rtol=1e-5, atol=1e-7)


def test_equal_pictures_are_equal():
    images, _ = pictures()
    found = Measures(NAMES).of(images).compare(images)
    assert found["psnr"].tolist() == [math.inf] * 3
    torch.testing.assert_close(found["ssim"], torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-12)
    for name in ("lpips", "lpips_vgg"):
        assert found[name].tolist() == [0, 0, 0]
    assert found["dists"].abs().max() < 1e-5


def test_an_offset_has_a_known_psnr():
    images = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
    (value,) = Measures(("psnr",)).of(images).compare(images + 5)["psnr"].tolist()
    assert value == pytest.approx(20 * math.log10(255 / 5), rel=1e-12)


def test_pictures_that_were_not_rounded_are_compared_as_they_are():
    images, _ = pictures()
    (value, *_) = Measures(("psnr",)).of(images.float()).compare((images.float() + 0.25).clamp(0, 255))["psnr"].tolist()
    assert value == pytest.approx(20 * math.log10(255 / 0.25), abs=0.05)


def test_ms_ssim_takes_large_pictures():
    images, others = pictures(1, 161)
    found = Measures(("ms_ssim",)).of(images).compare(others)["ms_ssim"]
    assert torch.equal(found, ms_ssim_of_batch(images, others))
    assert 0.5 < float(found) < 1


@pytest.mark.parametrize(("name", "least"), [("ssim", 11), ("ms_ssim", 161), ("lpips", 31), ("dists", 16)])
def test_small_pictures_are_refused(name, least):
    images = torch.zeros(1, 3, least - 1, 200, dtype=torch.uint8)
    with pytest.raises(UnsupportedError, match=f"at least {least}"):
        Measures((name,)).of(images).compare(images)


@pytest.mark.parametrize(
    "images",
    [
        torch.full((1, 3, 40, 40), torch.nan),
        torch.full((1, 3, 40, 40), 300.0),
        torch.zeros(1, 3, 40, 40, dtype=torch.int64),
        torch.zeros(3, 40, 40),
    ],
)
def test_what_are_no_pictures_is_refused(images):
    with pytest.raises(ValueError, match="0 to 255"):
        Measures(("psnr",)).of(images)


def test_pictures_of_another_shape_are_refused():
    images, _ = pictures()
    with pytest.raises(ValueError, match="originals' shape"):
        Measures(("psnr",)).of(images).compare(images[:2])


def test_an_unknown_name_has_its_nearest():
    with pytest.raises(ConfigError, match="did you mean ssim"):
        Measures(("sim",))


def test_descriptions_have_rules_and_digests():
    described = Measures(NAMES).describe()
    assert all(described[name]["rule"] == TABLE[name].rule for name in NAMES)
    assert [len(digest) for digest in described["dists"]["sha256"]] == [64, 64]
    assert len(described["lpips"]["sha256"][0]) == 64


def test_weights_that_are_something_else_are_refused(weights, monkeypatch):
    save_file({"alpha": torch.ones(3)}, weights / "other.safetensors")
    monkeypatch.setenv("VTOK_DISTS_WEIGHTS", str(weights / "other.safetensors"))
    with pytest.raises(WeightsError, match="expected alpha and beta of 1475 numbers"):
        Measures(("dists",))
    monkeypatch.setenv("VTOK_DISTS_WEIGHTS", str(weights / "nothing.pt"))
    with pytest.raises(WeightsError, match=r"nothing\.pt"):
        Measures(("dists",))


def test_dists_forgives_a_texture_that_moved():
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(1, 3, 64, 64, generator=generator)
    metric = dists.Dists()
    moved, blurred = texture.roll((5, 9), (2, 3)), torch.nn.functional.avg_pool2d(texture, 3, 1, 1)
    with torch.no_grad():
        assert metric(texture, moved) < metric(texture, blurred)
