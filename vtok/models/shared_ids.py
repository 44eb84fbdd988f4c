"""One table for codes, the mask and classes, as the generators of TiTok's repository have it (arXiv 2406.07550, 2411.00776)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vtok.errors import UnsupportedError
from vtok.models.conditions import Given


@dataclass(frozen=True)
class SharedIds:
    """Rows of the table: the codes, the mask, the classes, "no class".

    Args:
        num_codes: K of the codebook.
        num_classes: C.
    """

    num_codes: int
    num_classes: int

    @property
    def mask(self) -> int:
        """Row of a token that is not known yet."""
        return self.num_codes

    @property
    def no_class(self) -> int:
        """Row of "no class"."""
        return self.num_codes + 1 + self.num_classes

    @property
    def num_rows(self) -> int:
        """Of the table."""
        return self.no_class + 1

    def of_classes(self, classes: Given, num: int, dropped: Tensor | None = None) -> Tensor:
        """Rows (num,) int64 of classes (num,) from 0; those of "no class" where None is given, and where `dropped` (num,) is true."""
        if not isinstance(classes, Tensor):
            return torch.full((num,), self.no_class)
        rows = classes + (self.num_codes + 1)
        return rows if dropped is None else torch.where(dropped, self.no_class, rows)

    def check(self, given: Given, num: int) -> None:
        """Look that `num` such conditions can be followed.

        Raises:
            UnsupportedError: they cannot; the message says what can.
        """
        if given is None:
            return
        if not isinstance(given, Tensor) or given.shape != (num,) or given.dtype != torch.int64:
            shown = f"{tuple(given.shape)} {given.dtype}" if isinstance(given, Tensor) else type(given).__name__
            raise UnsupportedError(f"this generator takes classes, one whole number for each of {num} strings; got {shown}")
        if wrong := [number for number in given.tolist() if not 0 <= number < self.num_classes]:
            raise UnsupportedError(f"class {wrong[0]} asked, this generator knows 0 to {self.num_classes - 1}")
