"""Masked generators: a string becomes known in a few steps, the surest tokens first (MaskGIT, arXiv 2202.04200; TiTok, 2406.07550)."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import cross_entropy

from vtok.errors import UnsupportedError
from vtok.generate.base import Generator, GeneratorConfig
from vtok.generate.families.one_codebook import check_strings
from vtok.generate.losses.masked import masks
from vtok.generate.masked import MaskedOptions, sample_masked
from vtok.models.conditions import Given
from vtok.models.mask_bert import MaskBert, MaskBertConfig
from vtok.models.mask_uvit import MaskUvit, MaskUvitConfig

_LOOKS = 8  # shares of masked tokens over which the cost of one is averaged

MaskedNetworkConfig = Annotated[MaskBertConfig | MaskUvitConfig, Field(discriminator="kind")]


class MaskgitConfig(GeneratorConfig):
    """Strings, and the network that finds their masked tokens.

    Args:
        network: its sizes.
    """

    network: MaskedNetworkConfig

    @model_validator(mode="after")
    def _network_fits(self) -> "MaskgitConfig":
        check_strings(self.spec, self.network.num_codes, self.network.num_tokens)
        return self


class MaskgitGenerator(Generator[MaskedOptions]):
    """See `MaskBert` and `MaskUvit`. Its strings have no beginning: all tokens are drawn, and a shorter string is a part of the whole."""

    family = "maskgit"
    Config: ClassVar[type[MaskgitConfig]] = MaskgitConfig
    Options = MaskedOptions
    config: MaskgitConfig

    def __init__(self, config: MaskgitConfig):
        super().__init__(config)
        network = config.network
        self.network = MaskBert(network) if isinstance(network, MaskBertConfig) else MaskUvit(network)

    def draw(self, num: int, condition: Given, lengths: Tensor, seed: int, options: MaskedOptions, prefix: Tensor | None) -> Tensor:
        if prefix is not None:
            raise UnsupportedError("a masked generator draws tokens in an order of its own; it cannot go on from the first ones")
        ids = sample_masked(self.network, num, condition, options, seed)[:, : int(lengths.max())]
        beyond = torch.arange(ids.shape[1]) >= lengths[:, None]
        return ids.masked_fill(beyond.to(ids.device), 0)[..., None]

    def changed(self, options: MaskedOptions, changes: Mapping[str, Any]) -> MaskedOptions:
        self._refuse_others(changes, ("guidance", "schedule", "power", "temperature", "steps"))
        return replace(options, **{"decay" if name == "schedule" else name: value for name, value in changes.items()})

    def bits(self, ids: Tensor, classes: Tensor | None) -> Tensor:
        """(B, N) bits that each token costs when it is masked among others, the mean over times drawn from one seed."""
        generator = torch.Generator().manual_seed(0)
        num, length = ids.shape[:2]
        own, mask = ids[..., 0], self.config.network.ids.mask
        total, count = torch.zeros(2, num, length, device=ids.device)
        for look in range(_LOOKS):
            times = torch.full((num,), (look + 0.5) / _LOOKS)
            masked = masks(times, torch.rand(num, length, generator=generator)).to(ids.device)
            logits = self.network(torch.where(masked, mask, own), classes)
            total += cross_entropy(logits.transpose(1, 2), own, reduction="none") * masked
            count += masked
        return total / count / math.log(2)

    def example_classes(self, num: int) -> Tensor | None:
        return torch.linspace(0, self.config.network.num_classes - 1, num).long()

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether the blocks are computed again in the backward pass, which saves memory."""
        self.network.checkpointing = on
