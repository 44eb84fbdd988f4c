"""LlamaGen's class-conditional generator written the straightforward way: what the fast path is measured against.

A matrix a layer, tables of cosines and sines, and keys and values in room for all tokens, where each step looks at every place behind a
mask. Shapes never change, so a compiled step can become a CUDA graph.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu, softmax

from vtok.models.gpt import Gpt


class PlainNorm(nn.Module):
    """RMS norm in float32, then a weight."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5)).type_as(x) * self.weight


class PlainAttention(nn.Module):
    """With its own keys and values of all places."""

    keys: Tensor
    values: Tensor

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.wqkv, self.wo = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)

    def set_up(self, rows: int, length: int) -> None:
        """Take the room for so many strings."""
        room = self.wo.weight.new_zeros(2, rows, self.heads, length, self.wo.in_features // self.heads)
        self.register_buffer("keys", room[0].clone(), persistent=False)
        self.register_buffer("values", room[1].clone(), persistent=False)

    def forward(self, x: Tensor, place: Tensor, table: Tensor, mask: Tensor) -> Tensor:
        rows, length, dim = x.shape
        q, k, v = self.wqkv(x).split(dim, dim=-1)
        q, k, v = (part.view(rows, length, self.heads, -1) for part in (q, k, v))
        q, k, v = (part.transpose(1, 2) for part in (rotated(q, table), rotated(k, table), v))
        self.keys[:, :, place] = k
        self.values[:, :, place] = v
        gathered = scaled_dot_product_attention(q, self.keys, self.values, mask)
        return self.wo(gathered.transpose(1, 2).reshape(rows, length, dim))


class PlainBlock(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.attention_norm, self.ffn_norm = PlainNorm(dim), PlainNorm(dim)
        self.attention = PlainAttention(dim, heads)
        self.w1, self.w3 = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor, place: Tensor, table: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), place, table, mask)
        normed = self.ffn_norm(x)
        return x + self.w2(silu(self.w1(normed)) * self.w3(normed))


class PlainGpt(nn.Module):
    """Draws strings behind a class; has the weights of a `Gpt` with one codebook over a grid."""

    table: Tensor
    mask: Tensor

    def __init__(self, weights: Gpt):
        super().__init__()
        config, sizes = weights.config, weights.config.trunk
        hidden = weights.trunk.blocks[0].mlp_out.in_features
        self.num_tokens, self.length = config.max_tokens, -(-(config.max_tokens + 1) // 8) * 8
        self.null = weights.condition.table.num_embeddings - 1
        self.cls_embedding = nn.Embedding(self.null + 1, sizes.dim)
        self.tok_embeddings = nn.Embedding(config.codebook_sizes[0], sizes.dim)
        self.layers = nn.ModuleList(PlainBlock(sizes.dim, sizes.heads, hidden) for _ in range(sizes.depth))
        self.norm = PlainNorm(sizes.dim)
        self.output = nn.Linear(sizes.dim, config.codebook_sizes[0], bias=False)
        self.load_state_dict(dict(_renamed(weights)))
        self.register_buffer("table", rope_table(config.shape[0], sizes.head_dim, self.length), persistent=False)
        self.register_buffer("mask", torch.ones(self.length, self.length, dtype=torch.bool).tril(), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        """Tokens (R, T, D) at places (T,) to the logits (R, V) of what follows the last."""
        for layer in self.layers:
            x = layer(x, place, self.table[place], self.mask[place])
        return self.output(self.norm(x))[:, -1].float()

    @torch.no_grad()
    def generate(self, classes: Tensor, scale: float = 1.0, *, greedy: bool = False, seed: int = 0) -> Tensor:
        """Ids (B, N) of strings of classes (B,), guided where the scale is above 1."""
        guided, device = scale > 1, classes.device
        generator = torch.Generator(device).manual_seed(seed)
        if guided:
            classes = torch.cat([classes, torch.full_like(classes, self.null)])
        self._set_up(len(classes))
        x, ids = self.cls_embedding(classes)[:, None], []
        for place in torch.arange(self.num_tokens, device=device):
            logits = self(x, place[None])
            if guided:
                with_class, without = logits.chunk(2)
                logits = without + (with_class - without) * scale
            drawn = logits.argmax(-1, keepdim=True) if greedy else torch.multinomial(softmax(logits, -1), 1, generator=generator)
            ids.append(drawn)
            x = self.tok_embeddings(torch.cat([drawn, drawn]) if guided else drawn)
        return torch.cat(ids, 1)

    def _set_up(self, rows: int) -> None:
        """Old keys and values stay where they fit; what a string has not reached yet is masked."""
        for layer in self.layers:
            if getattr(layer.attention, "keys", self.table[:0]).shape[0] != rows:
                layer.attention.set_up(rows, self.length)


def rope_table(side: int, head_dim: int, length: int) -> Tensor:
    """Cosines and sines (length, head_dim / 2, 2) of the class, for which they are 0, and the cells of a grid, row by row."""
    half = head_dim // 2
    rates = 10000.0 ** (-torch.arange(0, half, 2) / half)
    rows, cols = torch.arange(side).repeat_interleave(side), torch.arange(side).repeat(side)
    angles = torch.cat([torch.outer(rows, rates), torch.outer(cols, rates)], 1)
    table = torch.zeros(length, half, 2)
    table[1 : 1 + side * side] = torch.stack([angles.cos(), angles.sin()], -1)
    return table


def rotated(x: Tensor, table: Tensor) -> Tensor:
    """Queries or keys (R, T, heads, d) with each pair of neighbours turned by a table (T, d / 2, 2)."""
    pairs = x.float().unflatten(-1, (-1, 2))
    cos, sin = table[:, None, :, 0], table[:, None, :, 1]
    a, b = pairs[..., 0], pairs[..., 1]
    return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(3).type_as(x)


def _renamed(weights: Gpt) -> Iterator[tuple[str, Tensor]]:
    """Weights by the names of `PlainGpt`."""
    yield "cls_embedding.weight", weights.condition.table.weight
    yield "tok_embeddings.weight", weights.embeddings.tables[0].weight
    yield "norm.weight", weights.head.norm.weight
    yield "output.weight", weights.head.outs[0].weight
    for number, block in enumerate(weights.trunk.blocks):
        gate, value = block.gate_value.weight.chunk(2)
        own = {"attention_norm": block.attention_norm.weight, "ffn_norm": block.mlp_norm.weight, "attention.wqkv": block.qkv.weight}
        own |= {"attention.wo": block.attention_out.weight, "w1": gate, "w3": value, "w2": block.mlp_out.weight}
        for name, weight in own.items():
            yield f"layers.{number}.{name}.weight", weight
