"""Several measures of pictures against their originals, batch by batch."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vtok.errors import ConfigError
from vtok.eval.backbones.base import exact_float32
from vtok.eval.backbones.weight_file import digest
from vtok.eval.pairs.dists import Dists
from vtok.eval.pairs.lpips import Lpips, TrunkName, find_trunk
from vtok.eval.pairs.ms_ssim import ms_ssim_of_batch
from vtok.eval.pairs.psnr import decibels
from vtok.eval.pairs.ssim import ssim_of_batch

_KEPT_PIXELS = 1 << 21  # of a batch whose features are kept; those of a larger one are computed again for each comparison, in bands
_ROWS = 1 << 20  # pixels whose errors are summed at a time


@dataclass(frozen=True)
class Measure:
    """How a figure is shown.

    Args:
        label: over a column, beside an axis.
        form: of a number in a table.
        rule: what is computed, in words.
    """

    label: str
    higher_is_better: bool
    form: str
    rule: str


TABLE: Mapping[str, Measure] = {
    "psnr": Measure("PSNR dB", True, ".2f", "10 log10(255^2 / MSE) over all pixels and channels"),
    "ssim": Measure("SSIM", True, ".4f", "11 x 11 Gaussian window, sigma 1.5, valid places, population covariances, mean over channels"),
    "ms_ssim": Measure("MS-SSIM", True, ".4f", "five scales, as pytorch-msssim"),
    "lpips": Measure("LPIPS", False, ".4f", "version 0.1, AlexNet, native size"),
    "lpips_vgg": Measure("LPIPS-VGG", False, ".4f", "version 0.1, VGG16, native size"),
    "dists": Measure("DISTS", False, ".4f", "VGG16, native size"),
}
_TRUNKS: Mapping[str, TrunkName] = {"lpips": "alex", "lpips_vgg": "vgg"}
_DIRECT: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"ssim": ssim_of_batch, "ms_ssim": ms_ssim_of_batch}


class Measures:
    """Measures by name, their networks loaded.

    Args:
        names: of `TABLE`.
        device: where they are computed.

    Raises:
        ConfigError: a name that is not there; the message has the nearest.
        MissingExtraError: a library that is not installed.
        WeightsError: weights that are not there.
    """

    def __init__(self, names: Sequence[str], *, device: str = "cpu"):
        for name in names:
            if name not in TABLE:
                near = difflib.get_close_matches(name, TABLE, n=1)
                raise ConfigError(f"no measure {name!r}{f'; did you mean {near[0]}?' if near else ''} (known: {', '.join(TABLE)})")
        self.names = tuple(names)
        self.device = torch.device(device)
        self.networks: dict[str, Lpips | Dists] = {
            name: (Dists() if name == "dists" else Lpips(trunk=_TRUNKS[name])).to(self.device)
            for name in names
            if name in (*_TRUNKS, "dists")
        }

    def describe(self) -> dict[str, dict[str, Any]]:
        """The rule of each measure and the digests of its weight files, JSON-able."""
        return {name: {"rule": TABLE[name].rule} | self._weights(name) for name in self.names}

    def of(self, originals: Tensor) -> "Originals":
        """What pictures are to be compared with, (B, 3, H, W) uint8, or float from 0 to 255.

        Raises:
            ValueError: another shape or type, or what is no number.
            UnsupportedError: too small for one of the measures.
        """
        return Originals(self, _checked(originals).to(self.device))

    def _weights(self, name: str) -> dict[str, Any]:
        network = self.networks.get(name)
        if isinstance(network, Dists):
            return {"sha256": [digest(file) for file in network.files]}
        return {} if network is None else {"sha256": [digest(find_trunk(None, _TRUNKS[name]))]}


class Originals:
    """A batch of originals; `Measures.of` makes them. Features of networks are computed once."""

    def __init__(self, measures: Measures, images: Tensor):
        self._measures = measures
        self._images = images
        self._keeps = images[:, 0].numel() <= _KEPT_PIXELS
        self._features = {name: self._features_of(name, images) for name in measures.networks} if self._keeps else {}

    @torch.no_grad()
    def compare(self, pictures: Tensor) -> dict[str, Tensor]:
        """Each measure of pictures like the originals, by name: (B,) float64 on the CPU.

        Raises:
            ValueError: another shape or type, or what is no number.
        """
        if pictures.shape != self._images.shape:
            raise ValueError(f"pictures {tuple(pictures.shape)} are not of the originals' shape {tuple(self._images.shape)}")
        own = _checked(pictures).to(self._images.device)
        return {name: self._figure(name, own).double().cpu() for name in self._measures.names}

    def _figure(self, name: str, pictures: Tensor) -> Tensor:
        if name == "psnr":
            return _psnr(self._images, pictures)
        if name in _DIRECT:
            return _DIRECT[name](self._images, pictures)
        network = self._measures.networks[name]
        if not self._keeps:
            with exact_float32(pictures.device.type):
                found: Tensor = network(*(part.float() / 255 for part in (self._images, pictures)))
            return found
        own, features = self._features[name], self._features_of(name, pictures)
        if isinstance(network, Dists):
            return network.compare(own, features)
        return torch.stack([(one - other).square().flatten(1).sum(1) for one, other in zip(own, features, strict=True)]).sum(0)

    @torch.no_grad()
    def _features_of(self, name: str, pictures: Tensor) -> list[Tensor]:
        with exact_float32(pictures.device.type):
            return self._measures.networks[name].features(pictures.float() / 255)


def _psnr(images: Tensor, others: Tensor) -> Tensor:
    """(B,) float64; sums of whole numbers are exact."""
    whole = images.dtype == others.dtype == torch.uint8
    kind, total = (torch.int32, torch.int64) if whole else (torch.float64, torch.float64)
    rows = max(1, _ROWS // images[:, 0, 0].numel())
    error = images.new_zeros(len(images), dtype=total)
    for top in range(0, images.shape[2], rows):
        bands = (part[:, :, top : top + rows].to(kind) for part in (images, others))
        error += torch.sub(*bands).square_().flatten(1).sum(1, dtype=total)
    return torch.tensor([decibels(one, images[0].numel()) for one in error.tolist()], dtype=torch.float64)


def _checked(pictures: Tensor) -> Tensor:
    if pictures.ndim != 4 or pictures.shape[1] != 3 or not (pictures.dtype == torch.uint8 or pictures.is_floating_point()):
        raise ValueError(f"pictures must be (B, 3, H, W) uint8 or float from 0 to 255, got {tuple(pictures.shape)} {pictures.dtype}")
    if pictures.is_floating_point():
        low, high = (float(end) for end in pictures.aminmax()) if pictures.numel() else (0.0, 255.0)
        if not -1e-3 <= low <= high <= 255 + 1e-3:  # NaN too
            raise ValueError(f"pictures must be from 0 to 255, got {low:.4g} to {high:.4g}")
    return pictures
