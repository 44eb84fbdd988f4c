"""Guidance: a condition's say is made stronger by what the network would do without it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor
from torch.linalg import vector_norm

from vtok.models.flow.solvers import Velocity

Rule = Callable[[Tensor, Tensor, float], Tensor]
"""(velocity with the condition, velocity without it, scale) to the guided velocity, all (B, C, H, W)."""


def classifier_free(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """The difference, `scale` times (arXiv 2207.12598); a scale of 1 changes nothing."""
    return unconditional + scale * (conditional - unconditional)


@dataclass(eq=False)
class AdaptiveProjected:
    """The difference without what is parallel to the conditional velocity, not above a norm, with momentum (arXiv 2410.02416).

    It remembers the differences of earlier steps: one instance is for one picture batch's steps, in their order.

    Args:
        momentum: share of the earlier differences that is added; negative ones push away from them. FlexTok's.
        threshold: largest norm of a difference over (C, H, W); 0 knows no bound.
        parallel: share of the parallel part that is kept.
    """

    momentum: float = -0.5
    threshold: float = 2.5
    parallel: float = 0.0
    _running: Tensor | None = field(default=None, init=False)

    def __call__(self, conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
        """The guided velocity; a scale of 1 changes nothing."""
        difference = conditional - unconditional
        if self._running is not None:
            difference = difference + self.momentum * self._running
        self._running = difference
        axes = (1, 2, 3)
        if self.threshold:
            norm = vector_norm(difference, dim=axes, keepdim=True)
            difference = difference * (self.threshold / norm.clamp(min=self.threshold))
        wide, direction = difference.double(), conditional.double()
        direction = direction / vector_norm(direction, dim=axes, keepdim=True).clamp(min=1e-12)
        along = (wide * direction).sum(axes, keepdim=True) * direction
        kept = (wide - along + self.parallel * along).to(conditional.dtype)
        return conditional + (scale - 1) * kept


RULES: dict[str, Callable[[], Rule]] = {"cfg": lambda: classifier_free, "apg": AdaptiveProjected}


def guided(conditional: Velocity, unconditional: Velocity, *, scale: Callable[[float], float], rule: Rule) -> Velocity:
    """The guided velocity.

    Args:
        scale: of a time, so that a part of the times can go without guidance; where it is 1 the unconditional velocity is not asked for.
    """

    def velocity(x: Tensor, time: float) -> Tensor:
        strength, own = scale(time), conditional(x, time)
        return own if strength == 1 else rule(own, unconditional(x, time), strength)

    return velocity
