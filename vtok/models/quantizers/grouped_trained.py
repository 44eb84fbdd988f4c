"""`grouped` with tables that gradients change: float32, every code reached through `lookup`."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from vtok.models.quantizers.grouped import GroupedQuantizer


class TrainedGroupedQuantizer(GroupedQuantizer):
    """The same strings as `GroupedQuantizer`; `lookup` passes gradients to the codes.

    Args:
        dim, widths, codebook_size: as there.
    """

    def __init__(self, dim: int, widths: Sequence[int], codebook_size: int):
        super().__init__(dim, widths, codebook_size)
        del self.tables, self.scales
        self.codes = nn.Parameter(torch.zeros(codebook_size, sum(widths)))

    def fill(self, tables: Sequence[Tensor]) -> None:
        """Take the tables, each (codebook_size, width) float."""
        with torch.no_grad():
            self.codes.copy_(torch.cat(tuple(tables), 1))

    def positions(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.components.long().split(self.widths), self.codes.split(self.widths, 1), strict=True)
