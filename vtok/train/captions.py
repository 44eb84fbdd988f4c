"""What a training tells a decoder of a picture in words."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vtok.errors import ConfigError
from vtok.tokenizers.clip_text import LENGTH, WIDTH, ClipText
from vtok.tokenizers.tatitok import TextConfig
from vtok.train.losses.frozen_network import FrozenNetwork

TextTower = Literal["clip", "random"]


class RandomText(nn.Module):
    """Fixed random embeddings of a caption's bytes, zeros behind them: no weights needed, for checks that training works."""

    table: Tensor  # (256, dim)

    def __init__(self, config: TextConfig):
        super().__init__()
        self.length = config.length
        self.register_buffer("table", torch.randn(256, config.dim, generator=torch.Generator().manual_seed(0)))

    def forward(self, captions: Sequence[str]) -> Tensor:
        """Embeddings (B, length, dim) of captions."""
        out = self.table.new_zeros(len(captions), self.length, self.table.shape[1])
        for own, caption in zip(out, captions, strict=True):
            letters = torch.tensor(list(caption.encode()[: self.length]), dtype=torch.int64, device=out.device)
            own[: len(letters)] = self.table[letters]
        return out


def text_tower(name: TextTower, config: TextConfig) -> FrozenNetwork[nn.Module]:
    """What makes embeddings (B, length, dim) of captions; frozen and not saved.

    Raises:
        MissingExtraError: open_clip is not installed.
        WeightsError: CLIP's weights are not at hand.
        ConfigError: a decoder that takes others than CLIP's.
    """
    if name == "random":
        return FrozenNetwork(RandomText(config))
    if (config.length, config.dim) != (LENGTH, WIDTH):
        raise ConfigError(f"text: CLIP's embeddings are {LENGTH} x {WIDTH}, model.text asks for {config.length} x {config.dim}")
    return FrozenNetwork(ClipText())
