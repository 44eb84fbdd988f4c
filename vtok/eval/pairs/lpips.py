"""LPIPS version 0.1 (arXiv 1801.03924), by the `lpips` package and a trunk that is already on disk."""

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vtok.data.tensor_file import read_tensors
from vtok.errors import MissingExtraError, UnsupportedError, WeightsError

VARIABLE = "VTOK_LPIPS_WEIGHTS"
MIN_SIDE = 31  # with AlexNet: a shorter side leaves nothing after its second pooling
_MARGIN = 112  # rows that a band is wider on each side; AlexNet sees 98 pixels around each, VGG16 up to 105

TrunkName = Literal["alex", "vgg"]


@dataclass(frozen=True)
class Trunk:
    """A network whose five maps are compared.

    Args:
        title: as people call it.
        hub_file: torchvision's file of its weights.
        variable: of the environment, names another file.
        min_side: of a picture, in pixels.
        strides: pixels a step of each map.
        pixels_at_once: taken in one band, which needs about 700 MB of maps.
        slices: torchvision's layer: where the package keeps it.
    """

    title: str
    hub_file: str
    variable: str
    min_side: int
    strides: tuple[int, ...]
    pixels_at_once: int
    slices: Mapping[int, str]


TRUNKS: Mapping[TrunkName, Trunk] = {
    "alex": Trunk(
        title="AlexNet",
        hub_file="alexnet-owt-7be5be79.pth",
        variable=VARIABLE,
        min_side=MIN_SIDE,
        strides=(4, 8, 16, 16, 16),
        pixels_at_once=1 << 21,
        slices={0: "slice1", 3: "slice2", 6: "slice3", 8: "slice4", 10: "slice5"},
    ),
    "vgg": Trunk(
        title="VGG16",
        hub_file="vgg16-397923af.pth",
        variable="VTOK_LPIPS_VGG_WEIGHTS",
        min_side=16,
        strides=(1, 2, 4, 8, 16),
        pixels_at_once=1 << 18,
        slices={
            **dict.fromkeys((0, 2), "slice1"),
            **dict.fromkeys((5, 7), "slice2"),
            **dict.fromkeys((10, 12, 14), "slice3"),
            **dict.fromkeys((17, 19, 21), "slice4"),
            **dict.fromkeys((24, 26, 28), "slice5"),
        },
    ),
}


class Lpips(nn.Module):
    """The distance of two pictures as people see it: 0 for equal ones, about 0.7 for very different ones.

    Args:
        weights_file: the trunk's convolutions in torchvision's names, as .safetensors or .pth; linear layers `lin{0..4}.model.1.weight`
            in it take the place of the package's own. None: see `find_trunk`.
        trunk: "alex" is what pictures are measured by; "vgg" is larger, and often trained with.

    Raises:
        MissingExtraError: the `lpips` package is not installed.
        WeightsError: no trunk at hand, or a file that holds none.
    """

    def __init__(self, weights_file: Path | None = None, trunk: TrunkName = "alex"):
        super().__init__()
        self.trunk = TRUNKS[trunk]
        try:
            import lpips
        except ImportError as error:
            raise MissingExtraError(f'LPIPS needs a library that is not installed ({error}): pip install "vtok[eval]"') from None
        file = find_trunk(weights_file, trunk)
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")  # torchvision's old way of naming weights, inside the package
            self.network = lpips.LPIPS(net=trunk, pretrained=False, pnet_rand=True, verbose=False)
        linear = torch.load(Path(lpips.__file__).parent / "weights" / "v0.1" / f"{trunk}.pth", weights_only=True, map_location="cpu")
        self._fill(linear | read_tensors(file), file)
        self.network.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Distance (B,) float32 of each of images from its fellow in others, both (B, 3, H, W) float in [0, 1].

        The network stays where it is: pictures are moved to its device, large ones go through it in bands of rows.

        Raises:
            ValueError: shapes that differ.
            UnsupportedError: a side under 31 pixels (16 with VGG16), which the trunk cannot take; enlarging would measure something else.
        """
        if images.shape != others.shape or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be two of (B, 3, H, W), got {tuple(images.shape)} and {tuple(others.shape)}")
        self._check_size(images)
        (height, width), strides = images.shape[2:], self.trunk.strides
        device = self.network.scaling_layer.shift.device
        sums = [torch.zeros(len(images), device=device) for _ in strides]
        counts = [0 for _ in strides]
        for band in _bands(height, width, self.trunk.pixels_at_once):
            pair = (pictures[:, :, band.rows].to(device, torch.float32) for pictures in (images, others))
            with torch.autocast(device.type, enabled=False):
                differences = self._differences(*pair)
            for k, (difference, stride) in enumerate(zip(differences, strides, strict=True)):
                own = difference[:, :, band.first // stride : None if band.last is None else band.last // stride]  # (B, 1, h, w)
                sums[k] = sums[k] + own.sum((1, 2, 3))
                counts[k] += own[0].numel()
        return torch.stack([total / count for total, count in zip(sums, counts, strict=True)]).sum(0)

    def features(self, images: Tensor) -> list[Tensor]:
        """Maps (B, C, h, w) of images (B, 3, H, W) in [0, 1]: summed squared differences of two pictures' maps are their distance.

        Raises:
            UnsupportedError: a side under 31 pixels, 16 with VGG16.
        """
        self._check_size(images)
        weights = [linear.model[1].weight for linear in self.network.lins]
        return [unit * (w / unit[0, 0].numel()).sqrt() for unit, w in zip(self._units(images), weights, strict=True)]

    def layers(self, images: Tensor) -> list[Tensor]:
        """The trunk's own five layers (B, C, h, w) of images (B, 3, H, W) in [0, 1].

        Raises:
            UnsupportedError: a side under 31 pixels, 16 with VGG16.
        """
        self._check_size(images)
        return list(self.network.net(self.network.scaling_layer(2 * images - 1)))

    def _differences(self, images: Tensor, others: Tensor) -> list[Tensor]:
        """Maps (B, 1, h, w) of the five layers' weighted squared differences between features of length 1."""
        pairs = zip(self.network.lins, self._units(images), self._units(others), strict=True)
        return [linear((first - second).square()) for linear, first, second in pairs]

    def _units(self, images: Tensor) -> list[Tensor]:
        """The five layers' features (B, C, h, w), of length 1 at each place."""
        return [normalize(layer, dim=1, eps=1e-10) for layer in self.layers(images)]

    def _fill(self, weights: dict[str, Tensor], file: Path) -> None:
        state = {f"scaling_layer.{name}": value for name, value in self.network.scaling_layer.state_dict().items()}
        try:
            for layer, place in self.trunk.slices.items():
                for kind in ("weight", "bias"):
                    state[f"net.{place}.{layer}.{kind}"] = weights[f"features.{layer}.{kind}"].float()
            for i in range(len(self.trunk.strides)):
                state[f"lin{i}.model.1.weight"] = state[f"lins.{i}.model.1.weight"] = weights[f"lin{i}.model.1.weight"].float()
            self.network.load_state_dict(state, assign=True)
        except KeyError as error:
            raise WeightsError(f"{file} is no {self.trunk.title} trunk: it has no tensor {error}") from None
        except RuntimeError as error:
            raise WeightsError(f"{file} is no {self.trunk.title} trunk: {str(error).splitlines()[-1].strip()}") from None

    def _check_size(self, images: Tensor) -> None:
        height, width = images.shape[2:]
        if min(height, width) < (least := self.trunk.min_side):
            raise UnsupportedError(f"LPIPS takes pictures of at least {least} x {least} pixels, got {width} x {height}")


def find_trunk(weights_file: Path | None = None, trunk: TrunkName = "alex") -> Path:
    """The file of a trunk: the one given, else that of its variable (`Trunk.variable`), else the one in torch hub's cache.

    Nothing is downloaded.

    Raises:
        WeightsError: it is not there; the message says where to put it.
    """
    wanted = TRUNKS[trunk]
    if weights_file is None and os.environ.get(wanted.variable):
        weights_file = Path(os.environ[wanted.variable])
    if weights_file is not None:
        if not weights_file.is_file():
            raise WeightsError(f"no file {weights_file}: LPIPS needs {wanted.title}'s weights there (.safetensors or .pth)")
        return weights_file
    cached = Path(torch.hub.get_dir()) / "checkpoints" / wanted.hub_file
    if not cached.is_file():
        place = f"put torchvision's {wanted.hub_file} at {cached}, or name a file in {wanted.variable}"
        raise WeightsError(f"LPIPS needs {wanted.title}'s weights: {place}")
    return cached


@dataclass(frozen=True)
class _Band:
    """Rows of a picture that go through the trunk together, and which of them count: first to last, from the band's own start."""

    rows: slice
    first: int
    last: int | None


def _bands(height: int, width: int, pixels_at_once: int) -> Iterator[_Band]:
    rows = max(1, pixels_at_once // width // 16) * 16
    for top in range(0, height, rows):
        start, bottom = max(0, top - _MARGIN), top + rows
        yield _Band(slice(start, bottom + _MARGIN), top - start, bottom - start if bottom < height else None)
