"""LPIPS against stored values of the published implementation, and where its weights come from."""

import io
import math
import sys
import warnings
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.parity import Stored
from vtok.errors import MissingExtraError, UnsupportedError, WeightsError
from vtok.eval.pairs.lpips import TRUNKS, VARIABLE, Lpips, find_trunk

lpips = pytest.importorskip("lpips", reason="needs the extra `eval`")


def filled(key: str, shape: list[int]) -> torch.Tensor:
    """The fixture's weights: a hash of the place, uniform in [-1, 1), scaled by the kind of tensor."""
    h = (np.arange(math.prod(shape), dtype=np.uint64) * 2654435761 + zlib.crc32(key.encode())) % 2**32
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor) % 2**32
    u = (h ^ (h >> np.uint64(16))) / 2**31 - 1
    values = {"model.1.weight": lambda: 0.05 * (1 + u), "bias": lambda: 0.1 * u, "weight": lambda: math.sqrt(6 / math.prod(shape[1:])) * u}
    kind = next(ending for ending in values if key.endswith(ending))
    return torch.from_numpy(values[kind]().reshape(shape).astype(np.float32))


def filled_trunk(trunk: str, folder: Path) -> Path:
    """A trunk and linear layers that need no download."""
    shapes = {
        **{f"features.{i}.weight": s for i, s in LAYERS[trunk].items()},
        **{f"features.{i}.bias": s[:1] for i, s in LAYERS[trunk].items()},
        **{f"lin{i}.model.1.weight": [1, width, 1, 1] for i, width in enumerate(WIDTHS[trunk])},
    }
    file = folder / f"{trunk}.safetensors"
    save_file({name: filled(f"{trunk}:{name}", shape) for name, shape in shapes.items()}, file)
    return file


@pytest.fixture(scope="module")
def rule_filled(tmp_path_factory) -> Path:
    return filled_trunk("alex", tmp_path_factory.mktemp("lpips"))


@pytest.fixture(scope="module")
def rule_filled_vgg(tmp_path_factory) -> Path:
    return filled_trunk("vgg", tmp_path_factory.mktemp("lpips"))


LAYERS: dict[str, dict[int, list[int]]] = {
    "alex": {0: [64, 3, 11, 11], 3: [192, 64, 5, 5], 6: [384, 192, 3, 3], 8: [256, 384, 3, 3], 10: [256, 256, 3, 3]},
    "vgg": {
        place: [width, before, 3, 3]
        for place, before, width in zip(
            (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
            (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512),
            (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
            strict=True,
        )
    },
}
WIDTHS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
every_trunk = pytest.mark.parametrize("trunk", LAYERS)


@pytest.fixture
def weights_of(request) -> Callable[[str], Path]:
    """The file of a trunk's filled weights, by its name."""
    return lambda trunk: request.getfixturevalue({"alex": "rule_filled", "vgg": "rule_filled_vgg"}[trunk])


@pytest.mark.parity
@pytest.mark.parametrize("fixture", ["lpips"])
@every_trunk
class TestPublishedValues:
    def test_the_weights_follow_the_rule(self, fixture, trunk):
        rule = Stored.load(fixture).config["weights_rule"]["tensors"][trunk]
        for name, (total, first) in rule["checks_sum_first"].items():
            layer = LAYERS[trunk][int(name.split(".")[1])]
            values = filled(f"{trunk}:{name}", layer if name.endswith("weight") else layer[:1])
            assert float(values.double().sum()) == pytest.approx(total, rel=1e-6)
            assert float(values.flatten()[0]) == pytest.approx(first, rel=1e-6)

    @pytest.mark.parametrize("case", [0, 1])
    @torch.no_grad()
    def test_distances_are_those_of_the_published_implementation(self, fixture, trunk, case, weights_of):
        stored = Stored.load(fixture)
        images, others = (stored.inputs[f"{side}_{case}"].float() / 255 for side in "ab")
        stored.check(f"{trunk}_lpips_{case}", Lpips(weights_of(trunk), trunk)(images, others))

    def test_gradients_reach_the_picture(self, fixture, trunk, weights_of):
        stored = Stored.load(fixture)
        images, others = (stored.inputs[f"{side}_0"].float() / 255 for side in "ab")
        images.requires_grad_()
        Lpips(weights_of(trunk), trunk)(images, others).sum().backward()
        stored.check(f"{trunk}_grad_a_0", images.grad / 2)  # stored for pictures in [-1, 1], twice the range


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


@pytest.mark.parametrize(("trunk", "least"), [("alex", 31), ("vgg", 16)])
def test_the_smallest_picture_is_measured_and_a_smaller_one_refused(trunk, least, weights_of):
    metric = Lpips(weights_of(trunk), trunk)
    assert metric(torch.zeros(1, 3, least, least), torch.ones(1, 3, least, least)).shape == (1,)
    with pytest.raises(UnsupportedError, match=f"at least {least} x {least} pixels, got 64 x {least - 1}"):
        metric(torch.zeros(1, 3, least - 1, 64), torch.ones(1, 3, least - 1, 64))


@every_trunk
@pytest.mark.parametrize("height", [240, 251])
@torch.no_grad()
def test_bands_of_rows_give_what_the_whole_picture_gives(trunk, height, weights_of):
    metric = Lpips(weights_of(trunk), trunk)
    generator = torch.Generator().manual_seed(height)
    images, others = torch.rand(2, 1, 3, height, 40, generator=generator)
    whole = metric.network(images, others, normalize=True).flatten()
    metric.trunk = replace(metric.trunk, pixels_at_once=40 * 48)
    torch.testing.assert_close(metric(images, others), whole, rtol=1e-5, atol=0)  # sums in another order


@torch.no_grad()
def test_vgg_is_the_packages_own_forward_with_the_packages_linear_layers(rule_filled_vgg, tmp_path):
    trunk = {name: value for name, value in load_file(rule_filled_vgg).items() if name.startswith("features.")}
    torch.save(trunk, tmp_path / "vgg.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's old way of naming weights, inside the package
        package = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    layers = {name: layer for part in package.net.children() for name, layer in part.named_children()}
    for place in LAYERS["vgg"]:
        layers[str(place)].weight.copy_(trunk[f"features.{place}.weight"])
        layers[str(place)].bias.copy_(trunk[f"features.{place}.bias"])
    images, others = torch.rand(2, 2, 3, 40, 33, generator=torch.Generator().manual_seed(0))
    expected = package(images, others, normalize=True).flatten()
    torch.testing.assert_close(Lpips(tmp_path / "vgg.pth", "vgg")(images, others), expected, rtol=1e-5, atol=0)


def test_a_pth_file_serves_as_well_and_the_packages_linear_layers_fill_in(rule_filled, tmp_path):
    state = load_file(rule_filled)
    trunk = {name: value for name, value in state.items() if name.startswith("features.")}
    torch.save(trunk, tmp_path / "alex.pth")
    metric, published = Lpips(tmp_path / "alex.pth"), Lpips(rule_filled)
    assert torch.equal(metric.network.net.slice5[-2].weight, published.network.net.slice5[-2].weight)
    assert not torch.equal(metric.network.lin0.model[1].weight, published.network.lin0.model[1].weight)


@every_trunk
class TestWhereATrunkComesFrom:
    def test_the_file_given_wins_over_the_environment(self, trunk, rule_filled, monkeypatch, tmp_path):
        monkeypatch.setenv(TRUNKS[trunk].variable, str(tmp_path / "other"))
        assert find_trunk(rule_filled, trunk) == rule_filled

    def test_the_environment_wins_over_the_cache(self, trunk, rule_filled, monkeypatch):
        monkeypatch.setenv(TRUNKS[trunk].variable, str(rule_filled))
        assert find_trunk(trunk=trunk) == rule_filled

    def test_the_cache_is_used_when_it_is_there(self, trunk, monkeypatch, tmp_path):
        monkeypatch.delenv(TRUNKS[trunk].variable, raising=False)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        cached = tmp_path / "hub" / "checkpoints" / TRUNKS[trunk].hub_file
        cached.parent.mkdir(parents=True)
        cached.write_bytes(b"")
        assert find_trunk(trunk=trunk) == cached

    def test_nothing_anywhere_says_where_to_put_it(self, trunk, monkeypatch, tmp_path):
        wanted = TRUNKS[trunk]
        monkeypatch.delenv(wanted.variable, raising=False)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        with pytest.raises(WeightsError, match=f"{wanted.title}.*put torchvision's {wanted.hub_file} at {tmp_path}.*{wanted.variable}"):
            find_trunk(trunk=trunk)


def test_each_trunk_has_a_variable_of_its_own():
    assert TRUNKS["alex"].variable == VARIABLE
    assert len({trunk.variable for trunk in TRUNKS.values()}) == len(TRUNKS)


class TestFilesOfATrunk:
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
