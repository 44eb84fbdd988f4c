"""What a run shows of the model that it trains: scores on fixed samples, and a picture. Tokenizers and generators differ in that."""

from typing import Any, Protocol

import numpy as np

from vtok.train.config import RunConfig
from vtok.train.engine.picture_looks import PictureLooks
from vtok.train.engine.string_looks import StringLooks


class Looks(Protocol):
    """Opened once for a run, with its fixed samples.

    Raises of a constructor:
        ConfigError: samples or lengths that the model does not take.
        DataError: no samples.
    """

    def measure(self, model: Any) -> tuple[dict[str, Any], float]:
        """Scores, and the one that the best weights are chosen by: the higher, the better."""

    def draw(self, model: Any) -> np.ndarray | None:
        """A picture (H, W, 3) uint8 of what the model makes; None where what it needs is not at hand."""

    def overfit(self, start: Any, end: Any) -> str:
        """What training on a few samples did, in a line."""


def open_looks(config: RunConfig, model: Any) -> Looks:
    """Those that a run's data ask for.

    Args:
        model: that is trained, on the device where it is to be looked at.
    """
    return StringLooks(config, model) if config.data.kind == "tokens" else PictureLooks(config, model)
