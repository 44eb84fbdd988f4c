"""Reading sizes off tensors."""

import re
from collections.abc import Iterable


def count(names: Iterable[str], pattern: str) -> int:
    """How many different numbers stand at the `#` of names that begin with a pattern."""
    matcher = re.compile(re.escape(pattern).replace(r"\#", r"(\d+)"))
    return len({found[1] for name in names if (found := matcher.match(name))})
