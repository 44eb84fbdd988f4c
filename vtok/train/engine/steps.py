"""One step of training: losses, one backward pass, each group's clipping and update."""

import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from vtok.train.config import TrainConfig
from vtok.train.engine import schedule
from vtok.train.engine.accelerator import data_parallel
from vtok.train.engine.shards import deal_out, pause_gradients, whole
from vtok.train.objective import GradientObjective, Group, Losses
from vtok.train.samples.batch import Batch, StringBatch

GRAD_NORM = "grad_norm/"  # before a group's name

Figures = tuple[tuple[str, ...], Tensor]  # names, and as many float32 values on the device


class Stepper:
    """Updates the parameters of an objective.

    Args:
        objective: after `begin`; moved to the accelerator's device.
        accelerator: of the `accelerate` library.

    Raises:
        ValueError: groups that share parameters, or parameters with gradients in no group.
    """

    def __init__(self, objective: GradientObjective, config: TrainConfig, accelerator: Any):
        _check_groups(objective)
        self.config = config
        self.groups = objective.groups
        self._accelerator = accelerator
        losses = _LossModule(objective, torch.bfloat16 if config.precision == "bf16" else None).to(accelerator.device)
        if config.compile:
            losses.compile()
        if config.shard:
            self.groups = deal_out(losses, cast(nn.Module, objective), self.groups, accelerator.device)
        self.optimizers = [_adamw(group, accelerator.device.type) for group in self.groups]
        self._module: Any = losses if config.shard else self._parallel(losses)

    def _parallel(self, losses: nn.Module) -> Any:
        """The module, whose gradients become means over the processes."""
        self._accelerator.ddp_handler = data_parallel(find_unused_parameters=len(self.groups) > 1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)  # its successor is too new
            return self._accelerator.prepare(losses, *self.optimizers)[0]

    def step(self, step: int, batches: Sequence[Batch] | Sequence[StringBatch]) -> Figures:
        """One update from this process's batches, which lie on the device; their mean counts.

        Returns:
            the losses as "group/name", then the norm of each group's gradient before clipping as "grad_norm/group".
        """
        names, values = self._gradients(batches)
        norms = [self._update(step, group, optimizer) for group, optimizer in zip(self.groups, self.optimizers, strict=True)]
        kept = [(group.name, norm) for group, norm in zip(self.groups, norms, strict=True) if norm is not None]
        names += tuple(GRAD_NORM + name for name, _ in kept)
        return names, torch.cat([values, *(whole(norm).view(1).to(values.device) for _, norm in kept)])

    def learning_rate(self, step: int, group: Group) -> float:
        """A group's rate at a step, 0 before its first."""
        own = step - group.first_step
        if own < 0:
            return 0.0
        settings = group.optimizer
        share = schedule.share(
            own,
            self.config.steps - group.first_step,
            warmup_steps=settings.warmup_steps,
            final_share=settings.final_share,
            cooldown=settings.cooldown,
        )
        return settings.learning_rate * share

    def _gradients(self, batches: Sequence[Batch] | Sequence[StringBatch]) -> Figures:
        total: Tensor | None = None
        names: tuple[str, ...] = ()
        for i, batch in enumerate(batches):
            waits = i + 1 < len(batches)
            if self.config.shard:
                pause_gradients(self._module, waits)
            with self._accelerator.no_sync(self._module) if waits and not self.config.shard else nullcontext():
                losses: Losses = self._module(batch)
                named = {f"{group}/{name}": value for group, own in losses.items() for name, value in own.items()}
                stacked = torch.stack([value.float() for value in named.values()])
                self._accelerator.backward(stacked.sum() / len(batches))
            names = tuple(named)
            share = stacked.detach() / len(batches)
            total = share if total is None else total + share
        if total is None:
            raise ValueError("a step needs at least one batch")
        return names, total

    def _update(self, step: int, group: Group, optimizer: torch.optim.Optimizer) -> Tensor | None:
        """Clip and step; returns the gradient's norm, None while the group stands still."""
        norm = None
        if step >= group.first_step:
            rate = self.learning_rate(step, group)
            for own in optimizer.param_groups:
                own["lr"] = rate
            parameters = [parameter for own in optimizer.param_groups for parameter in own["params"]]
            norm = _clip(parameters, group.optimizer.clip)
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm


class _LossModule(nn.Module):
    """What is wrapped for several processes, and compiled: one call gives all losses of a batch."""

    def __init__(self, objective: GradientObjective, dtype: torch.dtype | None):
        super().__init__()
        self.objective = objective
        self.dtype = dtype

    def forward(self, batch: Batch | StringBatch) -> Losses:
        with torch.autocast(batch.device.type, self.dtype, enabled=self.dtype is not None):
            return self.objective.losses(batch)


def _adamw(group: Group, device: str) -> torch.optim.AdamW:
    settings = group.optimizer
    undecayed = {id(parameter) for parameter in group.undecayed}
    decayed = [parameter for parameter in group.parameters if parameter.ndim >= 2 and id(parameter) not in undecayed]
    plain = [parameter for parameter in group.parameters if parameter.ndim < 2 or id(parameter) in undecayed]
    parts = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [part for part in parts if part["params"]],
        lr=settings.learning_rate,
        betas=settings.betas,
        fused=device in ("cpu", "cuda"),
    )


def _clip(parameters: Sequence[nn.Parameter], largest: float) -> Tensor:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if largest:
        torch.nn.utils.clip_grads_with_norm_(parameters, largest, norm)
    return norm


def _check_groups(objective: GradientObjective) -> None:
    owners: dict[int, str] = {}
    for group in objective.groups:
        for parameter in group.parameters:
            if id(parameter) in owners:
                raise ValueError(f"the groups {owners[id(parameter)]} and {group.name} share a parameter")
            owners[id(parameter)] = group.name
    if not isinstance(objective, nn.Module):
        raise ValueError(f"{type(objective).__name__} has gradient steps, so it must be an nn.Module")
    alone = [name for name, parameter in objective.named_parameters() if parameter.requires_grad and id(parameter) not in owners]
    if alone:
        raise ValueError(f"{len(alone)} parameters with gradients are in no group, {alone[0]} among them")
