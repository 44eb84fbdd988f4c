"""Weights, gradients and moments dealt out over the processes; a block is gathered when it is computed (FSDP, arXiv 2304.11277)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from vtok.errors import ConfigError
from vtok.train.objective import GradientObjective, Group


def check_shards(objective: GradientObjective, num_processes: int, *, compiled: bool) -> None:
    """Look that an objective can be dealt out.

    Raises:
        ConfigError: it changes weights by other means than gradients, there is one process, or its steps are compiled.
    """
    if not objective.takes_strings:
        raise ConfigError("train.shard deals out generators; a tokenizer's codes change by other means than gradients, so set it to false")
    if num_processes == 1:
        raise ConfigError("train.shard deals weights out over several processes; start them with accelerate launch, or set it to false")
    if compiled:
        raise ConfigError("train.shard and train.compile do not go together; choose one")


def deal_out(module: nn.Module, objective: nn.Module, groups: Sequence[Group], device: torch.device) -> tuple[Group, ...]:
    """Deal a module's parameters out, those of each block together and all others together.

    Args:
        module: that is called in each step, on its device, with the objective in it.
        groups: of the objective's parameters, which become others.

    Returns:
        the groups with the parameters that there are now.
    """
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    mesh = DeviceMesh.from_group(cast(Any, torch.distributed.group.WORLD), device.type)
    for part in list(objective.modules()):
        if isinstance(part, nn.ModuleList):
            for block in part:
                if any(True for _ in block.parameters()):
                    fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)
    now = dict(objective.named_parameters())

    def found(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
        return [now[names[id(parameter)]] for parameter in parameters if id(parameter) in names]

    return tuple(replace(group, parameters=found(group.parameters), undecayed=found(group.undecayed)) for group in groups)


def whole(tensor: Tensor) -> Tensor:
    """A tensor as it is without shards; every process must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def alike(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor dealt out as another one is; itself where that is whole."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def pause_gradients(module: Any, wanted: bool) -> None:
    """Whether gradients of this process stay its own, as those of a part of a batch that others follow."""
    module.set_requires_gradient_sync(not wanted)
