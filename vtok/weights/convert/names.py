"""Names and shapes of upstream tensors, and ours: one table for both directions."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
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
        part: which of so many tensors of upstream's, of equal shapes and counted from 0, one of ours is a stack of along its first axis.
        widths: where the parts stand side by side along the last axis instead, the numbers of each there.
    """

    theirs: str
    ours: str
    shape: Shape = SAME
    part: tuple[int, int] = (0, 1)
    widths: tuple[int, ...] = ()


def to_ours(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> dict[str, Tensor]:
    """Upstream's tensors under our names, in our shapes; what no rule knows is left out, and so is a stack of which a part is missing."""
    parts: dict[str, dict[int, Tensor]] = {}
    used: dict[str, Rule] = {}
    for name, value in state.items():
        for rule in rules:
            if (renamed := _renamed(name, rule.theirs, rule.ours)) is not None:
                used[renamed] = rule
                parts.setdefault(renamed, {})[rule.part[0]] = rule.shape.ours(value)
                break
    return {name: _stacked(found, used[name]) for name, found in parts.items() if len(found) == used[name].part[1]}


def to_theirs(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> dict[str, Tensor]:
    """The inverse of `to_ours`."""
    found = {}
    for name, value in state.items():
        for rule in rules:
            if (renamed := _renamed(name, rule.ours, rule.theirs)) is not None:
                number, count = rule.part
                found[renamed] = rule.shape.theirs(value if count == 1 else _parts(value, rule)[number].clone())
                if number + 1 == count:
                    break
    return found


def listed(names: Iterable[str]) -> str:
    """The first three, and how many more."""
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")


def _renamed(name: str, before: str, after: str) -> str | None:
    """The name with what it begins with exchanged, None where it begins otherwise."""
    found = re.match(re.escape(before).replace(r"\#", r"(\d+)") + ("" if before.endswith(".") else "$"), name)
    return None if found is None else after.replace("#", "{}").format(*found.groups()) + name[found.end() :]


def _stacked(parts: Mapping[int, Tensor], rule: Rule) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat([parts[number] for number in sorted(parts)], -1 if rule.widths else 0)


def _parts(value: Tensor, rule: Rule) -> Sequence[Tensor]:
    return value.split(rule.widths, -1) if rule.widths else value.chunk(rule.part[1])
