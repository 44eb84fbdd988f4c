"""Pictures made from a seed, for tests and for training runs without any data."""

import numpy as np

from vtok.data.sources.base import Sample

_CAPTIONS = ("a smooth gradient of colours", "soft blobs of colour", "straight edges between colours")


class SyntheticSource:
    """Smooth gradients, coloured blobs and straight edges in turn; label and caption say which.

    Picture i is a function of (seed, i) and the size.

    Args:
        num: how many.
        size: height, width in pixels.
        seed: any integer from 0.
    """

    class_names: tuple[str, ...] | None = ("gradients", "blobs", "edges")
    has_captions = True

    def __init__(self, num: int, size: tuple[int, int], *, seed: int = 0) -> None:
        if num < 1 or min(size) < 1 or seed < 0:
            raise ValueError(f"needs at least one picture of at least one pixel and a seed from 0, got {num} of {size}, seed {seed}")
        self.name = f"synthetic-{seed}"
        self._num, self._size, self._seed = num, size, seed

    def __len__(self) -> int:
        return self._num

    def key(self, index: int) -> str:
        """The picture's number."""
        return f"{self.name}/{range(self._num)[index]:08d}"

    def __getitem__(self, index: int) -> Sample:
        number = range(self._num)[index]
        rng = np.random.default_rng((self._seed, number))
        kind = number % 3
        height, width = self._size
        y, x = np.mgrid[0:height, 0:width] / max(height, width)  # square pixels, the longer side from 0 to 1
        values = (_gradients, _blobs, _edges)[kind](y, x, rng)
        pixels: np.ndarray = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
        return Sample(self.key(index), pixels, kind, _CAPTIONS[kind])


def _gradients(y: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    base, down, across, both = rng.random((4, 3))
    values: np.ndarray = base + (down - 0.5) * y[..., None] + (across - 0.5) * x[..., None] + (both - 0.5) * (x * y)[..., None]
    return values  # (H, W, 3)


def _blobs(y: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values = np.broadcast_to(rng.random(3), (*y.shape, 3)).copy()
    for _ in range(6):
        (top, left), radius, colour = rng.random(2), 0.05 + 0.2 * rng.random(), rng.random(3)
        weight = np.exp(-((y - top) ** 2 + (x - left) ** 2) / (2 * radius**2))[..., None]
        values += weight * (colour - values)
    return values


def _edges(y: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values = np.broadcast_to(rng.random(3), (*y.shape, 3)).copy()
    for _ in range(4):
        angle, (top, left), colour = rng.random() * 2 * np.pi, rng.random(2), rng.random(3)
        beyond = np.sin(angle) * (y - top) + np.cos(angle) * (x - left) > 0
        values[beyond] = 0.5 * values[beyond] + 0.5 * colour
    return values
