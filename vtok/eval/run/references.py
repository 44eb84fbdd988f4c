"""What sets of pictures are measured against: pictures of a data set, or statistics in a file."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vtok.data.atomic import atomic_file
from vtok.errors import DataError
from vtok.eval.distributions.gaussian import Gaussian, GaussianStatistics
from vtok.eval.run.features import PictureFeatures

_MEAN, _COVARIANCE = {"features": "mu", "spatial": "mu_s"}, {"features": "sigma", "spatial": "sigma_s"}  # the names of ADM's files
_ROWS, _FACTS = "features", "vtok_stats"


class Reference(Protocol):
    """A set of pictures by its features."""

    def gaussian(self, backbone: str, output: str) -> Gaussian:
        """Mean and covariance of an output.

        Raises:
            DataError: it is not to be had.
        """

    def rows(self, backbone: str, output: str) -> Tensor:
        """The output of each picture (n, d) float32.

        Raises:
            DataError: it is not to be had.
        """


class PicturesReference:
    """Pictures of a data set, whose features were taken.

    Args:
        features: by the name of the backbone.
    """

    def __init__(self, features: Mapping[str, PictureFeatures]):
        self._features = features
        self._gaussians: dict[tuple[str, str], Gaussian] = {}

    def gaussian(self, backbone: str, output: str) -> Gaussian:
        if (backbone, output) not in self._gaussians:
            self._gaussians[backbone, output] = gaussian_of(self.rows(backbone, output))
        return self._gaussians[backbone, output]

    def rows(self, backbone: str, output: str) -> Tensor:
        return self._features[backbone].rows(output).compute()


class StoredReference:
    """Statistics of one backbone in an .npz file: what `vtok stats` writes, or ADM's reference batches.

    Arrays `mu` (d,) and `sigma` (d, d), float64; for sFID `mu_s`, `sigma_s`; `features` (n, d) float32 where rows were kept; a text
    `vtok_stats` that says how they were made, which files of others lack.

    Raises:
        DataError: not such a file, or arrays that contradict each other.
    """

    def __init__(self, file: Path):
        self.file = file
        self._arrays = _read(file)
        text = self._arrays.pop(_FACTS, None)
        self.facts: Mapping[str, Any] | None = None if text is None else _parsed(file, text)

    def describe(self) -> dict[str, Any]:
        """Name and digest of the file, and what it says of itself."""
        return {"file": self.file.name, "sha256": hashlib.sha256(self.file.read_bytes()).hexdigest(), "says": self.facts}

    def check(self, backbone: Mapping[str, Any], preset: Mapping[str, Any]) -> None:
        """Look that the statistics were made as the pictures that are compared with them will be.

        Raises:
            DataError: with another network or another preset, both named.
        """
        if self.facts is None:
            return
        made = self.facts.get("backbone", {})
        for key in ("name", "digest", "resize"):
            if made.get(key) != backbone.get(key):
                raise DataError(
                    f"{self.file}: made with {key} {made.get(key)!r} of the network, asked for {backbone.get(key)!r}; make it anew"
                )
        own, asked = self.facts.get("preset", {}).get("name"), preset["name"]
        if own != asked:
            raise DataError(
                f"{self.file}: a reference of the preset {own}, asked for {asked}; say --preset {own}, or make it anew with vtok stats"
            )

    def gaussian(self, backbone: str, output: str) -> Gaussian:
        mean, covariance = _MEAN.get(output, output), _COVARIANCE.get(output, output)
        if mean not in self._arrays or covariance not in self._arrays:
            if _ROWS in self._arrays and output == "features":
                return gaussian_of(self.rows(backbone, output))
            raise self._lacks(f"{mean} and {covariance}", f"the distance of {backbone}'s {output}")
        values = [torch.from_numpy(np.asarray(self._arrays[name], dtype=np.float64)) for name in (mean, covariance)]
        if values[0].ndim != 1 or values[1].shape != (len(values[0]), len(values[0])):
            shapes = f"{mean} {tuple(values[0].shape)}, {covariance} {tuple(values[1].shape)}"
            raise DataError(f"{self.file}: expected {mean} (d,) and {covariance} (d, d), got {shapes}")
        if not all(bool(value.isfinite().all()) for value in values):
            raise DataError(f"{self.file}: {mean} or {covariance} has numbers that are none")
        return Gaussian(values[0], values[1], self.count)

    @property
    def count(self) -> int:
        """Pictures that it was made from; where the file does not say, more than dimensions are taken for granted."""
        return int(self.facts["pictures"]) if self.facts is not None else 2**31

    def rows(self, backbone: str, output: str) -> Tensor:
        if _ROWS not in self._arrays or output != "features":
            raise self._lacks(_ROWS, f"what compares single pictures of {backbone}; vtok stats --rows keeps them")
        return torch.from_numpy(np.asarray(self._arrays[_ROWS], dtype=np.float32))

    def _lacks(self, names: str, use: str) -> DataError:
        return DataError(f"{self.file}: has no {names}, needed for {use}; it has {', '.join(sorted(self._arrays)) or 'no arrays'}")


def write_reference(file: Path, features: PictureFeatures, facts: Mapping[str, Any], *, rows: bool) -> None:
    """Write statistics of a data set that `StoredReference` reads, whole or not at all.

    Args:
        facts: JSON-able; `pictures`, `backbone` and `preset` among them.
        rows: keep the features of each picture too.

    Raises:
        OutputError: the place cannot be written.
        DataError: features that are no numbers, or fewer than two pictures.
    """
    arrays: dict[str, np.ndarray] = {}
    for output in (name for name in _MEAN if name in features.backbone.dims):
        gaussian = gaussian_of(features.rows(output).compute())
        arrays |= {_MEAN[output]: gaussian.mean.numpy(), _COVARIANCE[output]: gaussian.covariance.numpy()}
    if rows:
        arrays[_ROWS] = features.rows("features").compute().numpy()
    arrays[_FACTS] = np.frombuffer(json.dumps(facts, sort_keys=True).encode(), np.uint8)
    with atomic_file(file) as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def gaussian_of(rows: Tensor) -> Gaussian:
    """Mean and covariance of rows (n, d).

    Raises:
        DataError: fewer than two.
    """
    statistics = GaussianStatistics(rows.shape[1])
    statistics.update(rows)
    return statistics.compute()


def _read(file: Path) -> dict[str, np.ndarray]:
    """The small arrays of a file: pictures in it are not read."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files if not name.startswith("arr_")}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: not a whole .npz file ({' '.join(str(error).split())[:200]})") from None


def _parsed(file: Path, text: np.ndarray) -> Mapping[str, Any]:
    try:
        facts = json.loads(text.tobytes())
        if facts["vtok_stats"] == 1 and int(facts["pictures"]) >= 0:
            return facts
    except (ValueError, TypeError, KeyError):
        pass
    raise DataError(f"{file}: its text {_FACTS} is not what vtok stats writes; was it made by another version?")
