"""A network that a loss looks through."""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class FrozenNetwork(nn.Module, Generic[Network]):
    """Holds a network that is neither trained nor saved: it has no parameters and no state of its own, but moves with what holds it.

    Args:
        network: taken as it is, put into eval mode, its parameters frozen.
    """

    def __init__(self, network: Network):
        super().__init__()
        self._held = (network.eval().requires_grad_(False),)  # in a tuple, so that it is no submodule

    @property
    def network(self) -> Network:
        return self._held[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        applies: tuple[Any, ...] = (self.network._apply, super()._apply)
        for apply in applies:
            apply(fn, recurse)
        return self
