"""RAR's generators: tokens one after another, learned in random orders, drawn in that of their places (arXiv 2411.00776)."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn.functional import cross_entropy

from vtok.generate.autoregressive import check_prefix
from vtok.generate.base import Generator, GeneratorConfig
from vtok.generate.changes import CHOICE, GUIDANCE, own_choice, own_guidance
from vtok.generate.families.one_codebook import check_strings
from vtok.generate.permuted import RarOptions, sample_rar
from vtok.models.conditions import Given
from vtok.models.rar import Rar, RarConfig


class RarGeneratorConfig(GeneratorConfig):
    """Strings, and the network that foretells them.

    Args:
        network: its sizes.
    """

    network: RarConfig

    @model_validator(mode="after")
    def _network_fits(self) -> "RarGeneratorConfig":
        check_strings(self.spec, self.network.num_codes, self.network.num_tokens)
        return self


class RarGenerator(Generator[RarOptions]):
    """See `Rar`."""

    family = "rar"
    Config: ClassVar[type[RarGeneratorConfig]] = RarGeneratorConfig
    Options = RarOptions
    config: RarGeneratorConfig

    def __init__(self, config: RarGeneratorConfig):
        super().__init__(config)
        self.network = Rar(config.network)

    def draw(self, num: int, condition: Given, lengths: Tensor, seed: int, options: RarOptions, prefix: Tensor | None) -> Tensor:
        if prefix is not None:
            check_prefix(prefix, lengths, self.spec.codebook_sizes)
        begun = None if prefix is None else prefix[..., 0]
        ids = sample_rar(self.network, num, condition, int(lengths.max()), options, seed, begun)
        beyond = torch.arange(ids.shape[1]) >= lengths[:, None]
        return ids.masked_fill(beyond.to(ids.device), 0)[..., None]

    def changed(self, options: RarOptions, changes: Mapping[str, Any]) -> RarOptions:
        self._refuse_others(changes, (*CHOICE, *GUIDANCE))
        return RarOptions(own_choice(options.choice, changes), own_guidance(options.guidance, changes))

    def bits(self, ids: Tensor, classes: Tensor | None) -> Tensor:
        logits = self.network(ids[..., 0], classes)[:, :-1]
        return cross_entropy(logits.transpose(1, 2), ids[..., 0], reduction="none") / math.log(2)

    def example_classes(self, num: int) -> Tensor | None:
        return torch.linspace(0, self.config.network.num_classes - 1, num).long()

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether the blocks are computed again in the backward pass, which saves memory."""
        self.network.checkpointing = on
