"""`grouped` with tables that gradients change: float32, every code reached through `lookup`."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from vtok.models.quantizers.grouped import GroupedQuantizer


class TrainedGroupedQuantizer(GroupedQuantizer):
    """The same strings as `GroupedQuantizer`; `lookup` passes gradients to the codes.

    Components differ in size by a hundred times, the steps of an optimiser do not: so codes are in units of what is usual in their column.

    Args:
        dim, widths, codebook_size: as there.
    """

    scales: Tensor  # (sum of widths,) float32: the root mean square of each column at the start

    def __init__(self, dim: int, widths: Sequence[int], codebook_size: int):
        super().__init__(dim, widths, codebook_size)
        del (
            self.tables
        )  # `scales` are now what is usual for each column: components differ by a hundred times, steps of an optimiser do not
        self.codes = nn.Parameter(torch.zeros(codebook_size, sum(widths)))

    def fill(self, tables: Sequence[Tensor]) -> None:
        """Take the tables, each (codebook_size, width) float."""
        with torch.no_grad():
            values = torch.cat(tuple(tables), 1)
            self.scales.copy_(values.square().mean(0).sqrt().clamp(min=1e-6))
            self.codes.copy_(values / self.scales)

    def positions(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.components.long().split(self.widths), (self.codes * self.scales).split(self.widths, 1), strict=True)
