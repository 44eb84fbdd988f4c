"""Small pictures, and what lies in a folder."""

from pathlib import Path

import numpy as np


def pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    phases, speeds = rng.uniform(0, 6, 3), rng.uniform(0.02, 0.2, (2, 3))
    y, x = np.indices((height, width, 1))[:2]
    return np.rint(127.5 + 127 * np.sin(phases + speeds[0] * y + speeds[1] * x)).astype(np.uint8)


def files_under(folder: Path) -> list[str]:
    """Paths below a folder, sorted, so that nothing half-written is missed."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
