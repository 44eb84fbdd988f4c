"""What the network says of a position becomes the ids of its K codebooks: all at once, one after another, or by a small network.

A head is asked in two ways. In training it knows the whole string, and gives the logits of all of it. In sampling it draws what comes next.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vtok.models.causal_transformer import CausalConfig, CausalTransformer, RmsNorm, whole
from vtok.models.code_embeddings import CodeEmbeddings
from vtok.models.key_value_cache import KeyValueCache
from vtok.models.linear import Linear
from vtok.models.rotary import angles, turns

Choose = Callable[[int, Tensor], Tensor]
"""(number of a codebook, its logits (R, V)) to ids (R,)."""


class CodeHead(nn.Module, ABC):
    """Logits by a linear layer for each codebook, behind a norm.

    Args:
        config: sizes of the network.
        sizes: V of the K codebooks.
    """

    def __init__(self, config: CausalConfig, sizes: Sequence[int]):
        super().__init__()
        self.norm = RmsNorm(config.dim)
        self.outs = nn.ModuleList(Linear(config.dim, size, bias=False) for size in sizes)

    @abstractmethod
    def forward(self, hidden: Tensor, ids: Tensor, embeddings: CodeEmbeddings) -> list[Tensor]:
        """Logits (B, N, V) of each codebook, for the ids (B, N, K) of the positions themselves, of which only earlier ones are looked at.

        Args:
            hidden: (B, N, D), or (B, N * K, D) where each sub-token is a token of the network.
            embeddings: of the network.
        """

    @abstractmethod
    def draw(self, hidden: Tensor, step: int, embeddings: CodeEmbeddings, choose: Choose, memory: KeyValueCache | None) -> Tensor:
        """The ids that one token of the network foretells: (R, 1), or (R, K) where those of a position are one token.

        Args:
            hidden: (R, D) of the token.
            step: tokens of the string before the one that is foretold.
            embeddings: of the network.
            choose: takes one of the codes by their logits.
            memory: as of `memory`.
        """

    def memory(self, rows: int) -> KeyValueCache | None:  # noqa: ARG002 - most need none
        """Room for what `draw` remembers within a position, for so many rows."""
        return None

    def logits(self, codebook: int, hidden: Tensor) -> Tensor:
        """(..., D) to (..., V)."""
        out: Tensor = self.outs[codebook](self.norm(hidden))
        return out


class ParallelHeads(CodeHead):
    """All codebooks of a position at once, so that its sub-tokens do not know of each other; one codebook is the usual linear head."""

    def forward(self, hidden: Tensor, ids: Tensor, embeddings: CodeEmbeddings) -> list[Tensor]:  # noqa: ARG002
        normed = self.norm(hidden)
        return [out(normed) for out in self.outs]

    def draw(self, hidden: Tensor, step: int, embeddings: CodeEmbeddings, choose: Choose, memory: KeyValueCache | None) -> Tensor:  # noqa: ARG002
        ids = [choose(codebook, self.logits(codebook, hidden[:, None])[:, 0]) for codebook in range(len(self.outs))]
        return torch.stack(ids, 1)


class FlattenedHeads(CodeHead):
    """A sub-token is a token of the network, which is asked K times for a position."""

    def forward(self, hidden: Tensor, ids: Tensor, embeddings: CodeEmbeddings) -> list[Tensor]:  # noqa: ARG002
        each = hidden.unflatten(1, (-1, len(self.outs))).unbind(2)
        return [self.logits(codebook, own) for codebook, own in enumerate(each)]

    def draw(self, hidden: Tensor, step: int, embeddings: CodeEmbeddings, choose: Choose, memory: KeyValueCache | None) -> Tensor:  # noqa: ARG002
        codebook = step % len(self.outs)
        return choose(codebook, self.logits(codebook, hidden[:, None])[:, 0])[:, None]


class AutoregressiveHead(CodeHead):
    """A small causal transformer over a position's sub-tokens, which starts with what the network says of it (FAR, arXiv 2411.16681, 3.4).

    Its places are the first ones of the network's string, as published weights have learned them: that of the condition for what the
    network says, then those of tokens 0, 1, ... for the sub-tokens.

    Args:
        config, sizes: as of `CodeHead`; the depth is the head's own.
        shape: of the network's string.
    """

    def __init__(self, config: CausalConfig, sizes: Sequence[int], shape: tuple[int, ...]):
        super().__init__(config, sizes)
        self.cache_sizes = (config.heads, len(sizes), config.head_dim)
        self.shape = shape
        self.transformer = CausalTransformer(config)

    def forward(self, hidden: Tensor, ids: Tensor, embeddings: CodeEmbeddings) -> list[Tensor]:
        earlier = [embeddings.of(codebook, ids[..., codebook]) for codebook in range(len(self.outs) - 1)]
        x = torch.stack([hidden, *earlier], 2).flatten(0, 1)  # (B * N, K, D)
        x = self.transformer(x, self._turns().to(x.device), whole())
        each = x.unflatten(0, hidden.shape[:2]).unbind(2)
        return [self.logits(codebook, own) for codebook, own in enumerate(each)]

    def draw(self, hidden: Tensor, step: int, embeddings: CodeEmbeddings, choose: Choose, memory: KeyValueCache | None) -> Tensor:  # noqa: ARG002
        cache = memory or self.memory(len(hidden))
        cache.restart()
        ids: list[Tensor] = []
        for codebook, turned_by in enumerate(self._turns().to(hidden.device)):
            x = embeddings.of(codebook - 1, ids[-1]) if ids else hidden
            x = self.transformer(x[:, None], turned_by[None], cache.layers)
            ids.append(choose(codebook, self.logits(codebook, x)[:, 0]))
        return torch.stack(ids, 1)

    def memory(self, rows: int) -> KeyValueCache:
        return KeyValueCache((len(self.transformer.blocks), rows, *self.cache_sizes), self.norm.weight)

    def _turns(self) -> Tensor:
        """(K, d / 2)."""
        _, num_codebooks, head_dim = self.cache_sizes
        return turns(angles(self.shape, head_dim)[: num_codebooks - 1], 1)
