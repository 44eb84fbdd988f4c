"""Autoregressive generators: each token is drawn from what a decoder-only transformer says behind those before it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn.functional import cross_entropy

from vtok.generate.autoregressive import Sampling, sample
from vtok.generate.base import Generator, GeneratorConfig
from vtok.generate.changes import CHOICE, GUIDANCE, own_choice, own_guidance
from vtok.generate.sampling.choose import Choice
from vtok.generate.sampling.guidance import Guidance
from vtok.models.conditions import ClassCondition, Given
from vtok.models.gpt import Gpt, GptConfig
from vtok.tokenizers.spec import TokenSpec


class GptGeneratorConfig(GeneratorConfig):
    """Strings, and the network that foretells them.

    Args:
        network: its sizes.
    """

    network: GptConfig

    @model_validator(mode="after")
    def _network_fits(self) -> "GptGeneratorConfig":
        spec = TokenSpec.from_json(self.spec)
        own = (self.network.codebook_sizes, self.network.max_tokens)
        if own != (spec.codebook_sizes, spec.max_tokens):
            raise ValueError(f"a network of {own[1]} tokens and codebooks {own[0]} does not fit strings of {spec}")
        return self


@dataclass(frozen=True)
class GptOptions:
    """How tokens are drawn.

    Args:
        choice: of a code; one for all codebooks, or one each.
        guidance: likewise.
    """

    choice: Choice | Sequence[Choice] = Choice()  # noqa: RUF009 - frozen
    guidance: Guidance | Sequence[Guidance] = Guidance()  # noqa: RUF009 - frozen


class GptGenerator(Generator[GptOptions]):
    """See `Gpt`."""

    family = "gpt"
    Config: ClassVar[type[GptGeneratorConfig]] = GptGeneratorConfig
    Options = GptOptions
    config: GptGeneratorConfig

    def __init__(self, config: GptGeneratorConfig):
        super().__init__(config)
        self.network = Gpt(config.network)

    def draw(self, num: int, condition: Given, lengths: Tensor, seed: int, options: GptOptions, prefix: Tensor | None) -> Tensor:
        sampling = Sampling(options.choice, options.guidance, seed)
        ids, _ = sample(self.network, num, condition, num_tokens=lengths, sampling=sampling, prefix=prefix)
        return ids

    def changed(self, options: GptOptions, changes: Mapping[str, Any]) -> GptOptions:
        self._refuse_others(changes, (*CHOICE, *GUIDANCE))
        choices = options.choice if isinstance(options.choice, Sequence) else [options.choice]
        guidances = options.guidance if isinstance(options.guidance, Sequence) else [options.guidance]
        choice, guidance = [own_choice(each, changes) for each in choices], [own_guidance(each, changes) for each in guidances]
        return GptOptions(choice if len(choice) > 1 else choice[0], guidance if len(guidance) > 1 else guidance[0])

    def logits(self, ids: Tensor, given: Given, dropped: Tensor | None = None) -> list[Tensor]:
        """Of each codebook, (B, N, V), for strings (B, N, K); see `Gpt.forward`."""
        out: list[Tensor] = self.network(ids, given, dropped=dropped)
        return out

    def bits(self, ids: Tensor, classes: Tensor | None) -> Tensor:
        given = classes if isinstance(self.network.condition, ClassCondition) else None
        each = self.logits(ids, given)
        nats = [cross_entropy(logits.transpose(1, 2), ids[..., k], reduction="none") for k, logits in enumerate(each)]
        return torch.stack(nats).sum(0) / math.log(2)

    def example_classes(self, num: int) -> Tensor | None:
        condition = self.network.condition
        return torch.linspace(0, condition.num_classes - 1, num).long() if isinstance(condition, ClassCondition) else None

    def set_gradient_checkpointing(self, on: bool) -> None:
        """Whether the blocks are computed again in the backward pass, which saves memory."""
        self.network.trunk.checkpointing = on
