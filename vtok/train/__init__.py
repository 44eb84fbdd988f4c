"""Training: configuration, the one loop, objectives, closed-form starts."""

from typing import TYPE_CHECKING, Any

from vtok.train.config import RunConfig, load_config
from vtok.train.objectives import TABLE

if TYPE_CHECKING:
    from vtok.train.loop import run

__all__ = ["TABLE", "RunConfig", "load_config", "run"]


def __getattr__(name: str) -> Any:
    """`run` needs torch, the rest does not."""
    if name == "run":
        from vtok.train.loop import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
