"""All of a run's tensors by name, out of its parts and back into them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vtok.errors import TrainingError
from vtok.train.engine.ema import AveragedTokenizer
from vtok.train.engine.shards import alike, whole

WEIGHTS, AVERAGE, OPTIMIZER = "weights.", "ema.", "optimizer."


def collect(objective: nn.Module, ema: AveragedTokenizer, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Weights and buffers, averaged weights, and the optimisers' moments by the name of their parameter, all of them whole.

    Where weights are dealt out every process must ask for it.
    """
    tensors = {WEIGHTS + name: value for name, value in objective.state_dict().items()}
    tensors |= {AVERAGE + name: value for name, value in ema.state().items()}
    names = _names(objective)
    for optimizer in optimizers:
        for parameter, moments in optimizer.state.items():
            tensors |= {f"{OPTIMIZER}{names[id(parameter)]}.{moment}": value for moment, value in moments.items()}
    return {name: whole(value) for name, value in tensors.items()}


def restore(
    tensors: Mapping[str, Tensor], objective: nn.Module, ema: AveragedTokenizer, optimizers: Sequence[torch.optim.Optimizer]
) -> None:
    """Put what `collect` gave back.

    Raises:
        TrainingError: tensors that this objective does not have, or lacks.
    """
    try:
        live = objective.state_dict()
        weights = _under(tensors, WEIGHTS)
        objective.load_state_dict({name: alike(value, live[name]) if name in live else value for name, value in weights.items()})
        ema.load(_under(tensors, AVERAGE))
    except (RuntimeError, KeyError) as error:
        told = " ".join(str(error).split())[:200]
        raise TrainingError(f"the checkpoint does not fit this version of the objective ({told}); begin again in another folder") from None
    moments = _by_parameter(_under(tensors, OPTIMIZER))
    names = _names(objective)
    for optimizer in optimizers:
        state = optimizer.state_dict()
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        own = [moments.get(names[id(parameter)]) for parameter in parameters]
        state["state"] = {i: _as_in_memory(given, parameters[i]) for i, given in enumerate(own) if given is not None}
        optimizer.load_state_dict(state)


def _as_in_memory(moments: Mapping[str, Tensor], parameter: Tensor) -> dict[str, Tensor]:
    """Moments in the order of the parameter's numbers in memory (a file has rows): fused optimisers walk through both side by side."""
    own = {name: alike(value, parameter) for name, value in moments.items() if value.shape == parameter.shape}
    return dict(moments) | {name: torch.empty_like(parameter, dtype=value.dtype).copy_(value) for name, value in own.items()}


def _by_parameter(moments: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in moments.items():
        name, _, moment = key.rpartition(".")
        found.setdefault(name, {})[moment] = value
    return found


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _names(objective: nn.Module) -> dict[int, str]:
    return {id(parameter): name for name, parameter in objective.named_parameters()}
