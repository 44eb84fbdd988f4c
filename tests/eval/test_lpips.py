"""LPIPS against stored values of the published implementation, and where its weights come from."""

import io
import json
import math
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.parity import stored_values
from vtok.errors import MissingExtraError, UnsupportedError, WeightsError
from vtok.eval.lpips import HUB_FILE, VARIABLE, Lpips, find_trunk

pytest.importorskip("lpips", reason="needs the extra `eval`")


@pytest.fixture(scope="module")
def fixture() -> Path:
    return stored_values("lpips")


def filled(key: str, shape: list[int]) -> torch.Tensor:
    """The fixture's weights: a hash of the place, uniform in [-1, 1), scaled by the kind of tensor."""
    h = (np.arange(math.prod(shape), dtype=np.uint64) * 2654435761 + zlib.crc32(key.encode())) % 2**32
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor) % 2**32
    u = (h ^ (h >> np.uint64(16))) / 2**31 - 1
    values = {"model.1.weight": lambda: 0.05 * (1 + u), "bias": lambda: 0.1 * u, "weight": lambda: math.sqrt(6 / math.prod(shape[1:])) * u}
    kind = next(ending for ending in values if key.endswith(ending))
    return torch.from_numpy(values[kind]().reshape(shape).astype(np.float32))


@pytest.fixture(scope="module")
def rule_filled(tmp_path_factory) -> Path:
    """A trunk and linear layers that need no download."""
    shapes = {
        **{f"features.{i}.weight": s for i, s in TRUNK.items()},
        **{f"features.{i}.bias": s[:1] for i, s in TRUNK.items()},
        **{f"lin{i}.model.1.weight": [1, s[0], 1, 1] for i, s in enumerate(TRUNK.values())},
    }
    file = tmp_path_factory.mktemp("lpips") / "alex.safetensors"
    save_file({name: filled(f"alex:{name}", shape) for name, shape in shapes.items()}, file)
    return file


TRUNK = {0: [64, 3, 11, 11], 3: [192, 64, 5, 5], 6: [384, 192, 3, 3], 8: [256, 384, 3, 3], 10: [256, 256, 3, 3]}


@pytest.mark.parity
class TestPublishedValues:
    def test_the_weights_follow_the_rule(self, fixture):
        checks = json.loads((fixture / "config.json").read_text())["weights_rule"]["tensors"]["alex"]["checks_sum_first"]
        for name, (total, first) in checks.items():
            layer = int(name.split(".")[1])
            values = filled(f"alex:{name}", TRUNK[layer] if name.endswith("weight") else TRUNK[layer][:1])
            assert float(values.double().sum()) == pytest.approx(total, rel=1e-6)
            assert float(values.flatten()[0]) == pytest.approx(first, rel=1e-6)

    @pytest.mark.parametrize("case", [0, 1])
    def test_distances_are_those_of_the_published_implementation(self, fixture, rule_filled, case):
        inputs, outputs = load_file(fixture / "inputs.safetensors"), load_file(fixture / "outputs.safetensors")
        images, others = (inputs[f"{side}_{case}"].float() / 255 for side in "ab")
        with torch.no_grad():
            found = Lpips(rule_filled)(images, others)
        torch.testing.assert_close(found, outputs[f"alex_lpips_{case}"], rtol=1e-4, atol=1e-6)  # the fixture's own tolerance

    def test_gradients_reach_the_picture(self, fixture, rule_filled):
        inputs, outputs = load_file(fixture / "inputs.safetensors"), load_file(fixture / "outputs.safetensors")
        images, others = (inputs[f"{side}_0"].float() / 255 for side in "ab")
        images.requires_grad_()
        Lpips(rule_filled)(images, others).sum().backward()
        # stored for pictures in [-1, 1], twice the range
        torch.testing.assert_close(images.grad / 2, outputs["alex_grad_a_0"], rtol=1e-3, atol=1e-6)


def test_jpeg_at_a_low_rate_scores_as_measured_before(shared):
    """The 24 photographs at 0.1875 bpp have 0.376 in the mean; one of them is enough to tell wrong weights or a wrong input range."""
    from PIL import Image

    photo = Image.open(shared / "data" / "eval" / "kodak" / "kodim23.webp").convert("RGB")
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=9)
    with torch.no_grad():
        distance = float(Lpips(shared / "data" / "weights" / "lpips_alex.safetensors")(images_of(photo), images_of(Image.open(stream))))
    assert 0.25 < distance < 0.5


def images_of(photo) -> torch.Tensor:
    return torch.from_numpy(np.asarray(photo).copy()).permute(2, 0, 1)[None].float() / 255


def test_equal_pictures_are_at_no_distance(rule_filled):
    images = torch.rand(2, 3, 33, 40)
    assert Lpips(rule_filled)(images, images).tolist() == [0, 0]


def test_the_smallest_picture_is_measured_and_a_smaller_one_refused(rule_filled):
    metric = Lpips(rule_filled)
    assert metric(torch.zeros(1, 3, 31, 31), torch.ones(1, 3, 31, 31)).shape == (1,)
    with pytest.raises(UnsupportedError, match="at least 31 x 31 pixels, got 64 x 30"):
        metric(torch.zeros(1, 3, 30, 64), torch.ones(1, 3, 30, 64))


@pytest.mark.parametrize("height", [240, 251])
def test_bands_of_rows_give_what_the_whole_picture_gives(rule_filled, monkeypatch, height):
    metric = Lpips(rule_filled)
    generator = torch.Generator().manual_seed(height)
    images, others = torch.rand(2, 2, 3, height, 40, generator=generator)
    whole = metric.network(images, others, normalize=True).flatten()
    monkeypatch.setattr("vtok.eval.lpips._PIXELS_AT_ONCE", 40 * 128)
    torch.testing.assert_close(metric(images, others), whole, rtol=1e-5, atol=0)  # sums in another order


def test_a_pth_file_serves_as_well_and_the_packages_linear_layers_fill_in(rule_filled, tmp_path):
    state = load_file(rule_filled)
    trunk = {name: value for name, value in state.items() if name.startswith("features.")}
    torch.save(trunk, tmp_path / "alex.pth")
    metric, published = Lpips(tmp_path / "alex.pth"), Lpips(rule_filled)
    assert torch.equal(metric.network.net.slice5[-2].weight, published.network.net.slice5[-2].weight)
    assert not torch.equal(metric.network.lin0.model[1].weight, published.network.lin0.model[1].weight)


class TestWhereTheTrunkComesFrom:
    def test_the_file_given_wins_over_the_environment(self, rule_filled, monkeypatch, tmp_path):
        monkeypatch.setenv(VARIABLE, str(tmp_path / "other"))
        assert find_trunk(rule_filled) == rule_filled

    def test_the_environment_wins_over_the_cache(self, rule_filled, monkeypatch):
        monkeypatch.setenv(VARIABLE, str(rule_filled))
        assert find_trunk() == rule_filled

    def test_the_cache_is_used_when_it_is_there(self, monkeypatch, tmp_path):
        monkeypatch.delenv(VARIABLE, raising=False)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        cached = tmp_path / "hub" / "checkpoints" / HUB_FILE
        cached.parent.mkdir(parents=True)
        cached.write_bytes(b"")
        assert find_trunk() == cached

    def test_nothing_anywhere_says_where_to_put_it(self, monkeypatch, tmp_path):
        monkeypatch.delenv(VARIABLE, raising=False)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        with pytest.raises(WeightsError, match=f"put torchvision's {HUB_FILE} at {tmp_path}.*{VARIABLE}"):
            find_trunk()

    def test_a_file_that_is_not_there_is_named(self, tmp_path):
        with pytest.raises(WeightsError, match=r"no file .*alex\.pth"):
            find_trunk(tmp_path / "alex.pth")

    def test_another_networks_file_is_refused(self, tmp_path):
        save_file({"features.0.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
        with pytest.raises(WeightsError, match=r"no AlexNet trunk: it has no tensor 'features\.0\.bias'"):
            Lpips(tmp_path / "other.safetensors")

    def test_tensors_of_another_shape_are_refused(self, rule_filled, tmp_path):
        save_file(load_file(rule_filled) | {"features.3.bias": torch.zeros(7)}, tmp_path / "wide.safetensors")
        with pytest.raises(WeightsError, match="no AlexNet trunk"):
            Lpips(tmp_path / "wide.safetensors")

    @pytest.mark.parametrize("name", ["damaged.safetensors", "damaged.pth"])
    def test_a_damaged_file_is_refused(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"not weights at all")
        with pytest.raises(WeightsError, match=name):
            Lpips(tmp_path / name)

    def test_code_in_a_pickle_is_never_run(self, tmp_path):
        torch.save({"features.0.weight": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
        with pytest.raises(WeightsError, match=r"trap\.pth"):
            Lpips(tmp_path / "trap.pth")
        assert not (tmp_path / "sprung").exists()


class Trap:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_missing_package_is_named_with_its_install_line(rule_filled, monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MissingExtraError, match=r'pip install "vtok\[eval\]"'):
        Lpips(rule_filled)


def test_the_features_squared_differences_are_the_distance(rule_filled: Path) -> None:
    network = Lpips(rule_filled)
    images, others = torch.rand(2, 2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    pairs = zip(network.features(images), network.features(others), strict=True)
    total = sum((a - b).square().sum((1, 2, 3)) for a, b in pairs)
    torch.testing.assert_close(total, network(images, others))


def test_no_message_tells_to_run_code_from_a_file(tmp_path):
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(WeightsError, match=r"photo\.jpg") as caught:
        Lpips(file)
    assert "weights_only" not in str(caught.value)
