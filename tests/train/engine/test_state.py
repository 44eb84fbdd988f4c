"""What a checkpoint has of a run's tensors goes back to where it was."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vtok.train.engine.state import collect, restore


class NoAverage:
    """Stands for an average of nothing."""

    def state(self) -> dict[str, Tensor]:
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        assert not state


NOTHING: Any = NoAverage()


def stepped(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The weights after a step on fixed pictures."""
    pictures = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    optimizer.zero_grad()
    network(pictures).square().mean().backward()
    optimizer.step()
    return copy.deepcopy(network.state_dict())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_moments_come_back_in_the_order_of_their_parameters_in_memory(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 3).to(memory_format=layout)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    stepped(network, optimizer)
    kept = collect(network, NOTHING, [optimizer])
    contents = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in kept.items()}
    again = copy.deepcopy(network)
    other = torch.optim.AdamW(again.parameters(), fused=True)
    restore(contents, again, NOTHING, [other])
    for _ in range(2):
        expected, found = stepped(network, optimizer), stepped(again, other)
        assert all(torch.equal(found[name], value) for name, value in expected.items())
