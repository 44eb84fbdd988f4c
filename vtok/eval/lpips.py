"""LPIPS version 0.1 with the AlexNet trunk (arXiv 1801.03924), by the `lpips` package and a trunk that is already on disk."""

import os
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from vtok.errors import MissingExtraError, UnsupportedError, WeightsError

VARIABLE = "VTOK_LPIPS_WEIGHTS"
HUB_FILE = "alexnet-owt-7be5be79.pth"
MIN_SIDE = 31  # a shorter side leaves nothing after the trunk's second pooling
_STRIDES = (4, 8, 16, 16, 16)  # pixels a step of the trunk's five maps
_MARGIN = 112  # rows that a band is wider on each side; the trunk sees 98 pixels around each
_PIXELS_AT_ONCE = 1 << 21  # about 700 MB of maps
_SLICES = {0: "slice1", 3: "slice2", 6: "slice3", 8: "slice4", 10: "slice5"}  # torchvision's layer: where the package keeps it


class Lpips(nn.Module):
    """The distance of two pictures as people see it: 0 for equal ones, about 0.7 for very different ones.

    Args:
        weights_file: AlexNet's convolutions in torchvision's names, as .safetensors or .pth; linear layers `lin{0..4}.model.1.weight`
            in it take the place of the package's own. None: see `find_trunk`.

    Raises:
        MissingExtraError: the `lpips` package is not installed.
        WeightsError: no trunk at hand, or a file that holds none.
    """

    def __init__(self, weights_file: Path | None = None):
        super().__init__()
        try:
            import lpips
        except ImportError as error:
            raise MissingExtraError(f'LPIPS needs a library that is not installed ({error}): pip install "vtok[eval]"') from None
        file = find_trunk(weights_file)
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")  # torchvision's old way of naming weights, inside the package
            self.network = lpips.LPIPS(pretrained=False, pnet_rand=True, verbose=False)
        linear = torch.load(Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth", weights_only=True, map_location="cpu")
        self._fill(linear | _read(file), file)
        self.network.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Distance (B,) float32 of each of images from its fellow in others, both (B, 3, H, W) float in [0, 1].

        The network stays where it is: pictures are moved to its device, large ones go through it in bands of rows.

        Raises:
            ValueError: shapes that differ.
            UnsupportedError: a side under 31 pixels, which the trunk cannot take; enlarging would measure something else.
        """
        if images.shape != others.shape or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be two of (B, 3, H, W), got {tuple(images.shape)} and {tuple(others.shape)}")
        _check_size(images)
        device = self.network.scaling_layer.shift.device
        sums = [torch.zeros(len(images), device=device) for _ in _STRIDES]
        counts = [0 for _ in _STRIDES]
        for band in _bands(*images.shape[2:]):
            pair = (pictures[:, :, band.rows].to(device, torch.float32) for pictures in (images, others))
            with torch.autocast(device.type, enabled=False):
                differences = self._differences(*pair)
            for k, (difference, stride) in enumerate(zip(differences, _STRIDES, strict=True)):
                own = difference[:, :, band.first // stride : None if band.last is None else band.last // stride]  # (B, 1, h, w)
                sums[k] = sums[k] + own.sum((1, 2, 3))
                counts[k] += own[0].numel()
        return torch.stack([total / count for total, count in zip(sums, counts, strict=True)]).sum(0)

    def features(self, images: Tensor) -> list[Tensor]:
        """Maps (B, C, h, w) of images (B, 3, H, W) in [0, 1]: summed squared differences of two pictures' maps are their distance.

        Raises:
            UnsupportedError: a side under 31 pixels.
        """
        _check_size(images)
        weights = [linear.model[1].weight for linear in self.network.lins]
        return [unit * (w / unit[0, 0].numel()).sqrt() for unit, w in zip(self._units(images), weights, strict=True)]

    def _differences(self, images: Tensor, others: Tensor) -> list[Tensor]:
        """Maps (B, 1, h, w) of the five layers' weighted squared differences between features of length 1."""
        pairs = zip(self.network.lins, self._units(images), self._units(others), strict=True)
        return [linear((first - second).square()) for linear, first, second in pairs]

    def _units(self, images: Tensor) -> list[Tensor]:
        """The five layers' features (B, C, h, w), of length 1 at each place."""
        return [normalize(layer, dim=1, eps=1e-10) for layer in self.network.net(self.network.scaling_layer(2 * images - 1))]

    def _fill(self, weights: dict[str, Tensor], file: Path) -> None:
        state = {f"scaling_layer.{name}": value for name, value in self.network.scaling_layer.state_dict().items()}
        try:
            for layer, place in _SLICES.items():
                for kind in ("weight", "bias"):
                    state[f"net.{place}.{layer}.{kind}"] = weights[f"features.{layer}.{kind}"].float()
            for i in range(len(_SLICES)):
                state[f"lin{i}.model.1.weight"] = state[f"lins.{i}.model.1.weight"] = weights[f"lin{i}.model.1.weight"].float()
            self.network.load_state_dict(state, assign=True)
        except KeyError as error:
            raise WeightsError(f"{file} is no AlexNet trunk: it has no tensor {error}") from None
        except RuntimeError as error:
            raise WeightsError(f"{file} is no AlexNet trunk: {str(error).splitlines()[-1].strip()}") from None


def find_trunk(weights_file: Path | None = None) -> Path:
    """The file of the AlexNet trunk: the one given, else that of `VTOK_LPIPS_WEIGHTS`, else the one in torch hub's cache.

    Nothing is downloaded.

    Raises:
        WeightsError: it is not there; the message says where to put it.
    """
    if weights_file is None and os.environ.get(VARIABLE):
        weights_file = Path(os.environ[VARIABLE])
    if weights_file is not None:
        if not weights_file.is_file():
            raise WeightsError(f"no file {weights_file}: LPIPS needs AlexNet's weights there (.safetensors or .pth)")
        return weights_file
    cached = Path(torch.hub.get_dir()) / "checkpoints" / HUB_FILE
    if not cached.is_file():
        raise WeightsError(f"LPIPS needs AlexNet's weights: put torchvision's {HUB_FILE} at {cached}, or name a file in {VARIABLE}")
    return cached


@dataclass(frozen=True)
class _Band:
    """Rows of a picture that go through the trunk together, and which of them count: first to last, from the band's own start."""

    rows: slice
    first: int
    last: int | None


def _bands(height: int, width: int) -> Iterator[_Band]:
    rows = max(1, _PIXELS_AT_ONCE // width // 16) * 16
    for top in range(0, height, rows):
        start, bottom = max(0, top - _MARGIN), top + rows
        yield _Band(slice(start, bottom + _MARGIN), top - start, bottom - start if bottom < height else None)


def _read(file: Path) -> dict[str, Tensor]:
    try:
        state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:
        raise WeightsError(f"cannot read the weights {file}: neither safetensors nor a table of tensors saved by torch") from None
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"cannot read the weights {file}: {reason}") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{file} holds no table of tensors, so no AlexNet trunk")
    return state


def _check_size(images: Tensor) -> None:
    height, width = images.shape[2:]
    if min(height, width) < MIN_SIDE:
        raise UnsupportedError(f"LPIPS takes pictures of at least {MIN_SIDE} x {MIN_SIDE} pixels, got {width} x {height}")
