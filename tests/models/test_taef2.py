"""taef2 against its architecture written out in plain layers, in windows and at once, and on a photograph with its real weights."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from vtok.models.autoencoders.taef2 import Taef2


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv(64, 64), nn.ReLU(), conv(64, 64), nn.ReLU(), conv(64, 64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x) + x)


class Pooled(Residual):
    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.Sequential(
            nn.Conv2d(64, 256, 1, bias=False), nn.GroupNorm(4, 256, eps=1e-5), nn.ReLU(), nn.Conv2d(256, 64, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.pool(x))


class Clamped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 3 * torch.tanh(x / 3)


class Oracle(nn.Module):
    """The published layers at their published indices, each run on the whole map."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            conv(3, 64), Residual(),
            down(), Residual(), Residual(), Residual(),
            down(), Residual(), Residual(), Residual(),
            down(), Pooled(), Pooled(), Pooled(), conv(64, 32),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            Clamped(), conv(32, 64), nn.ReLU(), Pooled(), Pooled(), Pooled(),
            nn.Upsample(scale_factor=2, mode="nearest"), plain(), Residual(), Residual(), Residual(),
            nn.Upsample(scale_factor=2, mode="nearest"), plain(), Residual(), Residual(), Residual(),
            nn.Upsample(scale_factor=2, mode="nearest"), plain(), Residual(), conv(64, 3),
        )  # fmt: skip


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=1, padding=1)


def plain() -> nn.Conv2d:
    return nn.Conv2d(64, 64, kernel_size=3, stride=1, padding=1, bias=False)


def down() -> nn.Conv2d:
    return nn.Conv2d(64, 64, kernel_size=3, stride=2, padding=1, bias=False)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    """Random weights, large enough that nothing fades on the way: latents and pictures have a deviation of about 1."""
    generator = torch.Generator().manual_seed(0)
    network = Oracle().requires_grad_(False)
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 4:
            parameter.copy_(noise * 1.2 / math.sqrt(parameter[0].numel()))
        elif name.endswith("pool.1.weight"):
            parameter.copy_(1 + 0.3 * noise)
        else:
            parameter.copy_(0.2 * noise)
    for last in (network.encoder[14], network.decoder[19]):
        assert isinstance(last, nn.Conv2d)
        last.weight.mul_(0.1)
    return network


@pytest.fixture(scope="module")
def taef2(oracle: Oracle) -> Taef2:
    network = Taef2().requires_grad_(False)
    network.load_state_dict(oracle.state_dict())
    return network.eval()


@pytest.fixture
def positive() -> Taef2:
    """Every weight of a convolution above zero, no biases, nothing pooled."""
    network = Taef2().requires_grad_(False)
    for name, parameter in network.named_parameters():
        parameter.fill_(0 if "pool.3" in name or parameter.ndim == 1 else 0.5 / parameter.shape[1])
    return network.eval()


@pytest.fixture(scope="module")
def real(shared: Path) -> Taef2:
    network = Taef2().requires_grad_(False)
    state = load_file(shared / "data" / "weights" / "taef2.safetensors")
    network.load_state_dict({name: value.float() for name, value in state.items()})
    return network.eval()


def pictures(rows: int, cols: int, count: int = 1) -> Tensor:
    """Smooth pictures with some noise (count, 3, 8 * rows, 8 * cols)."""
    generator = torch.Generator().manual_seed(rows * 100 + cols)
    coarse = torch.rand(count, 3, rows, cols, generator=generator)
    return (nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear") + torch.rand(1, generator=generator) * 0.1).clamp(0, 1)


def latents(rows: int, cols: int, count: int = 1) -> Tensor:
    return 2 * torch.randn(count, 32, rows, cols, generator=torch.Generator().manual_seed(rows * 100 + cols))


SIZES = [(1, 1), (1, 9), (5, 3), (8, 8)]


@pytest.mark.parametrize("size", SIZES)
def test_encoding_is_that_of_the_plain_layers(taef2: Taef2, oracle: Oracle, size: tuple[int, int]) -> None:
    images = pictures(*size, count=2)
    found = taef2.encode(images)
    assert found.shape == (2, 32, *size)
    torch.testing.assert_close(found, oracle.encoder(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_decoding_is_that_of_the_plain_layers(taef2: Taef2, oracle: Oracle, size: tuple[int, int]) -> None:
    z = latents(*size, count=2)
    found = taef2.decode(z)
    assert found.shape == (2, 3, 8 * size[0], 8 * size[1])
    torch.testing.assert_close(found, oracle.decoder(z), rtol=1e-4, atol=1e-4)


def test_the_comparison_is_of_numbers_that_have_not_faded(oracle: Oracle) -> None:
    assert 0.3 < float(oracle.encoder(pictures(8, 8)).std()) < 3
    assert 0.3 < float(oracle.decoder(latents(8, 8)).std()) < 3


def test_the_weights_have_the_published_names_and_number(taef2: Taef2) -> None:
    state = taef2.state_dict()
    halves = [[value for name, value in state.items() if name.startswith(half)] for half in ("encoder.", "decoder.")]
    assert [len(half) for half in halves] == [79, 79]
    assert [sum(value.numel() for value in half) for half in halves] == [1_338_528, 1_338_499]
    assert len(state) == 158


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_flat_picture_is_encoded_as_by_the_plain_layers(taef2: Taef2, oracle: Oracle, level: float) -> None:
    images = torch.full((1, 3, 64, 64), level)
    torch.testing.assert_close(taef2.encode(images), oracle.encoder(images), rtol=1e-4, atol=1e-4)


def test_pictures_of_a_batch_do_not_mix(taef2: Taef2) -> None:
    images = pictures(3, 4, count=3)
    alone = torch.cat([taef2.encode(image[None]) for image in images])
    torch.testing.assert_close(taef2.encode(images), alone, rtol=1e-4, atol=1e-5)


def test_the_gradient_of_decoding_is_that_of_the_plain_layers(taef2: Taef2, oracle: Oracle) -> None:
    z = latents(4, 3).requires_grad_()
    weights = torch.randn(1, 3, 32, 24, generator=torch.Generator().manual_seed(0))
    (found,) = torch.autograd.grad((taef2.decode(z) * weights).sum(), z)
    (wanted,) = torch.autograd.grad((oracle.decoder(z) * weights).sum(), z)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


class TestWindows:
    """WINDOW = 8: parts of 64 pixels and 72 around them, and of 32 cells of the pooled blocks, of a map of 35 x 23; INNER = 16 pixels."""

    SIZE = (35, 23)

    @pytest.fixture(autouse=True)
    def small_windows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vtok.models.autoencoders.taef2.WINDOW", 8)
        monkeypatch.setattr("vtok.models.autoencoders.taef2.INNER", 16)

    def test_encoding_is_that_of_the_whole(self, taef2: Taef2, oracle: Oracle) -> None:
        images = pictures(*self.SIZE)
        torch.testing.assert_close(taef2.encode(images), oracle.encoder(images), rtol=1e-4, atol=1e-4)

    def test_decoding_is_that_of_the_whole(self, taef2: Taef2, oracle: Oracle) -> None:
        z = latents(*self.SIZE)
        torch.testing.assert_close(taef2.decode(z), oracle.decoder(z), rtol=1e-4, atol=1e-4)

    def test_what_lies_as_far_as_the_layers_see_is_not_lost(self, positive: Taef2) -> None:
        """Single bright pixels and cells, through layers that let everything pass: what arrives at a window from afar is not zero."""
        oracle = Oracle().requires_grad_(False)
        oracle.load_state_dict(positive.state_dict())
        pixels = torch.tensor(
            [*range(56, 68), *range(180, 196)]
        )  # the window of 128 to 191 begins to see at 63, that of 64 to 127 ends at 185
        images = torch.zeros(len(pixels), 3, 280, 8)
        images[torch.arange(len(pixels)), :, pixels] = 1
        torch.testing.assert_close(positive.encode(images), oracle.encoder(images), rtol=1e-3, atol=0)
        z = torch.zeros(35, 32, 35, 1)
        z[torch.arange(35), :, torch.arange(35)] = 1
        torch.testing.assert_close(positive.decode(z), oracle.decoder(z), rtol=1e-3, atol=0)

    def test_no_layer_sees_a_large_part_at_full_size(self, taef2: Taef2) -> None:
        sides: list[int] = []
        hooks = [
            layer.register_forward_hook(lambda _module, _inputs, out: sides.append(max(out.shape[2:])))
            for layer in (taef2.encoder[0], taef2.decoder[18])
        ]
        taef2.decode(taef2.encode(pictures(35, 9)))
        for hook in hooks:
            hook.remove()
        assert max(sides) == 16 + 2 * 6

    def test_a_photograph_comes_out_within_a_grey_level(self, real: Taef2, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        images = photo(shared)[:, :, 100:348, 200:288]
        parts = real.decode(real.encode(images))
        monkeypatch.setattr("vtok.models.autoencoders.taef2.WINDOW", 96)
        whole = real.decode(real.encode(images))
        assert float((parts - whole).abs().max()) < 1 / 255


def photo(shared: Path) -> Tensor:
    with Image.open(shared / "data" / "eval" / "kodak" / "kodim23.webp") as file:
        pixels = np.asarray(file.convert("RGB")).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("content", ["photograph", "black", "white"])
def test_the_real_weights_give_what_they_give_in_plain_layers(real: Taef2, shared: Path, content: str) -> None:
    """Statistics that come from second moments could lose digits where a map hardly varies."""
    plain = Oracle().requires_grad_(False)
    plain.load_state_dict(real.state_dict())
    images = photo(shared)[:, :, 64:192, 192:320] if content == "photograph" else torch.full((1, 3, 128, 128), float(content == "white"))
    wanted = plain.encoder(images)
    torch.testing.assert_close(real.encode(images), wanted, rtol=0, atol=1e-3)
    torch.testing.assert_close(real.decode(wanted), plain.decoder(wanted), rtol=0, atol=1e-4)


def test_a_photograph_loses_as_much_as_was_measured(real: Taef2, shared: Path) -> None:
    """The 24 photographs have 30.2 dB in the mean and 33.3 dB at best."""
    images = photo(shared)[:, :, 64:448, 192:576]
    decoded = real.decode(real.encode(images)).clamp(0, 1)
    psnr = -10 * math.log10(float((decoded - images).square().mean()))
    assert 29 < psnr < 35


def test_latents_of_a_photograph_lie_where_they_should(real: Taef2, shared: Path) -> None:
    z = real.encode(photo(shared)[:, :, 64:320, 192:448])
    assert 0.5 < float(z.std()) < 1.5
    assert 2 < float(z.abs().max()) < 8
