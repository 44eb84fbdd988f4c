"""The contract between the loop and what is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from vtok.train.config import DataConfig, OptimizerConfig

Losses = dict[str, dict[str, Tensor]]  # group -> name of the loss -> its weighted value, a scalar; a group's values are added up


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters that are updated together.

    Args:
        name: key of its losses.
        parameters: trained by this group alone.
        optimizer: AdamW's settings.
        first_step: before it the group stands still.
        undecayed: parameters without weight decay, beside those of fewer than two axes, which never have it; ones of other groups and
            frozen ones may be among them.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    optimizer: OptimizerConfig
    first_step: int = 0
    undecayed: Sequence[nn.Parameter] = ()


class Objective(Protocol):
    """What a run trains. The class is built from its own section of the recipe, before any picture is read.

    A frozen network without its weight file stops the run there, with a WeightsError that names the file.
    """

    Config: ClassVar[type[BaseModel]]
    takes_strings: ClassVar[bool]  # of tokens, rather than pictures
    config: Any  # of the class Config, all defaults filled in

    def __init__(self, config: Any) -> None: ...

    def prepare(self, samples: Any, generator: torch.Generator) -> Any:
        """The closed-form start (PCA, k-means; for `linear` all there is).

        Args:
            samples: `Pictures` of the run, or its `Strings` where data.kind is "tokens".
            generator: of every random draw.

        Raises:
            DataError: too few or too small pictures.
        """


class GradientObjective(Objective, Protocol):
    """An objective with gradient steps. `begin` comes after `prepare`, or after the start was read back when a run goes on.

    It is an `nn.Module` that holds all that is trained; what is frozen and not saved stays out of its `state_dict`.
    """

    model: Any  # what the run is for, a tokenizer or a generator; its averaged copy is saved
    groups: tuple[Group, ...]  # in the order of their updates

    def check(self, data: DataConfig) -> None:
        """Look, before `prepare`, for settings that would stop the run after it.

        Raises:
            ConfigError, LengthError: squares or prefixes that the tokenizer does not take.
        """

    def begin(self, tokenizer: Any, seed: int) -> None:
        """Take the start, and make the groups.

        Args:
            seed: of the run; see `draws.generator`.
        """

    def latents_digest(self) -> str:
        """Digest of the autoencoder whose latents it takes from batches (`latent_cache.autoencoder_digest`)."""

    def losses(self, batch: Any) -> Losses:
        """The losses of all groups at this step, means over the samples of a `Batch` or a `StringBatch`.

        One backward pass of their sum follows, so a loss must not reach the parameters of another group.
        """

    def after_step(self, step: int, ema: Any) -> None:
        """What gradients do not do: codebook averages, revival of unused codes.

        Args:
            ema: the averaged copy; buffers changed here are to be changed there too.
        """


Table = Mapping[str, str]  # name of an objective -> "module:Class", imported when used
