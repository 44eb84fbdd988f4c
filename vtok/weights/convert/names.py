"""Names and shapes of upstream tensors, and ours: one table for both directions."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """How a tensor's axes differ: `ours` makes ours of upstream's, `theirs` the other way."""

    ours: Callable[[Tensor], Tensor]
    theirs: Callable[[Tensor], Tensor]


SAME = Shape(lambda x: x, lambda x: x)
ONE_BY_ONE = Shape(lambda x: x.flatten(1), lambda x: x[..., None, None])  # a convolution of one place is a matrix
TABLES = Shape(lambda x: x[None], lambda x: x[0])  # ours have a first axis for several tables
NO_BATCH = Shape(lambda x: x[0], lambda x: x[None])


@dataclass(frozen=True)
class Rule:
    """A pattern of upstream's names and what it becomes.

    Args:
        theirs: what a name begins with, `#` standing for a number.
        ours: likewise, with as many `#`.
        shape: of the tensor.
    """

    theirs: str
    ours: str
    shape: Shape = SAME


def rename(name: str, rules: Sequence[Rule], *, to_ours: bool) -> tuple[str, Shape] | None:
    """The other side's name by the first rule that fits, and how the shape differs; None where no rule fits."""
    for rule in rules:
        before, after = (rule.theirs, rule.ours) if to_ours else (rule.ours, rule.theirs)
        found = re.match(re.escape(before).replace(r"\#", r"(\d+)") + ("" if before.endswith(".") else "$"), name)
        if found:
            return after.replace("#", "{}").format(*found.groups()) + name[found.end() :], rule.shape
    return None


def to_ours(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> dict[str, Tensor]:
    """Upstream's tensors under our names, in our shapes; what no rule knows is left out."""
    return _renamed(state, rules, to_ours=True)


def to_theirs(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> dict[str, Tensor]:
    """The inverse of `to_ours`."""
    return _renamed(state, rules, to_ours=False)


def listed(names: Iterable[str]) -> str:
    """The first three, and how many more."""
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")


def _renamed(state: Mapping[str, Tensor], rules: Sequence[Rule], *, to_ours: bool) -> dict[str, Tensor]:
    pairs = ((rename(name, rules, to_ours=to_ours), value) for name, value in state.items())
    return {known[0]: (known[1].ours if to_ours else known[1].theirs)(value) for known, value in pairs if known is not None}
