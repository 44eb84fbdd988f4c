"""Generators of strings of several scales: scale after scale, each at once (VAR, arXiv 2404.02905)."""

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
from vtok.generate.scale_by_scale import NextScaleOptions, sample_scales
from vtok.models.conditions import ClassConfig, Given
from vtok.models.next_scale import NextScale, NextScaleConfig
from vtok.tokenizers.spec import TokenSpec


class NextScaleGeneratorConfig(GeneratorConfig):
    """Strings, and the network that foretells them.

    Args:
        network: its sizes.
    """

    network: NextScaleConfig

    @model_validator(mode="after")
    def _network_fits(self) -> "NextScaleGeneratorConfig":
        check_strings(self.spec, self.network.num_codes, self.network.max_tokens)
        if (own := TokenSpec.from_json(self.spec).scales) != self.network.scales:
            raise ValueError(f"a network of the scales {self.network.scales} does not fit strings of the scales {own}")
        return self


class NextScaleGenerator(Generator[NextScaleOptions]):
    """See `NextScale`. A string may end after each scale."""

    family = "next_scale"
    Config: ClassVar[type[NextScaleGeneratorConfig]] = NextScaleGeneratorConfig
    Options = NextScaleOptions
    config: NextScaleGeneratorConfig

    def __init__(self, config: NextScaleGeneratorConfig):
        super().__init__(config)
        self.network = NextScale(config.network)

    def draw(self, num: int, condition: Given, lengths: Tensor, seed: int, options: NextScaleOptions, prefix: Tensor | None) -> Tensor:
        if prefix is not None:
            check_prefix(prefix, lengths, self.spec.codebook_sizes)
        ends = torch.tensor(self.config.network.sizes).cumsum(0)
        num_scales = 1 + int((ends < lengths.max()).sum())
        begun = None if prefix is None else prefix[..., 0]
        ids = sample_scales(self.network, num, condition, num_scales, options, seed, begun)
        beyond = torch.arange(ids.shape[1]) >= lengths[:, None]
        return ids.masked_fill(beyond.to(ids.device), 0)[..., None]

    def changed(self, options: NextScaleOptions, changes: Mapping[str, Any]) -> NextScaleOptions:
        self._refuse_others(changes, (*CHOICE, *GUIDANCE))
        return NextScaleOptions(own_choice(options.choice, changes), own_guidance(options.guidance, changes))

    def bits(self, ids: Tensor, classes: Tensor | None) -> Tensor:
        given = classes if isinstance(self.config.network.condition, ClassConfig) else None
        logits = self.network(ids[..., 0], given)
        return cross_entropy(logits.transpose(1, 2), ids[..., 0], reduction="none") / math.log(2)

    def example_classes(self, num: int) -> Tensor | None:
        condition = self.config.network.condition
        return torch.linspace(0, condition.num_classes - 1, num).long() if isinstance(condition, ClassConfig) else None

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether the blocks are computed again in the backward pass, which saves memory."""
        self.network.trunk.checkpointing = on
