"""FlexTok written the straightforward way, a layer a matrix, every register in its place: what the fast paths are measured against."""

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention, silu

from vtok.models.decoders.flow import FlowDecoder
from vtok.models.register_encoder import RegisterEncoder
from vtok.models.transformer import TransformerConfig
from vtok.tokenizers.flextok import FlextokTokenizer


def norm(x: Tensor) -> Tensor:
    """Over the last axis, in float32."""
    return layer_norm(x.float(), x.shape[-1:], eps=1e-5).to(x.dtype)


class PlainAttention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.wq, self.wk, self.wv, self.out = (nn.Linear(dim, dim, bias=False) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Tokens (B, T, D); the mask (T, T) is True where a row may look at a column."""
        q, k, v = (wide(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for wide in (self.wq, self.wk, self.wv))
        gathered = scaled_dot_product_attention(norm(q), norm(k), v, mask, scale=8 / q.shape[-1])
        return self.out(gathered.transpose(1, 2).flatten(2))


class PlainMlp(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        hidden = 2 * (4 * dim) // 3
        self.fc1, self.fc2, self.fc3 = (nn.Linear(*sizes, bias=False) for sizes in ((dim, hidden), (hidden, dim), (dim, hidden)))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(silu(self.fc1(x)) * self.fc3(x))


class PlainBlock(nn.Module):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.attention, self.mlp = PlainAttention(config.dim, config.heads), PlainMlp(config.dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attention(norm(x), mask)
        return x + self.mlp(norm(x))


class PlainModulatedBlock(nn.Module):
    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.modulation = nn.Linear(config.dim, 2 * 6 * config.dim)
        self.attention, self.mlp = PlainAttention(config.dim, config.heads), PlainMlp(config.dim)

    def forward(self, x: Tensor, time: Tensor, num_patches: int) -> Tensor:
        """Tokens (B, T, D), patches first, each kind with its own modulation by the embedded times (B, D)."""
        attention_gate, mlp_gate, *ends = self.modulation(silu(time)).view(len(x), 2, 6, -1).unbind(2)  # (B, 2, D) each
        attention_shift, attention_scale, mlp_shift, mlp_scale = ends

        def modulated(tokens: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
            kinds = tokens[:, :num_patches], tokens[:, num_patches:]
            return torch.cat([own * (1 + scale[:, i, None]) + shift[:, i, None] for i, own in enumerate(kinds)], 1)

        def gated(change: Tensor, gate: Tensor) -> Tensor:
            kinds = change[:, :num_patches], change[:, num_patches:]
            return torch.cat([own * gate[:, i, None] for i, own in enumerate(kinds)], 1)

        x = x + gated(self.attention(modulated(norm(x), attention_scale, attention_shift), None), attention_gate)
        return x + gated(self.mlp(modulated(norm(x), mlp_scale, mlp_shift)), mlp_gate)


class PlainEncoder(nn.Module):
    """Names as in `vtok.models.register_encoder.RegisterEncoder`, but for the fused matrices."""

    positions: Tensor

    def __init__(self, config: TransformerConfig, like: RegisterEncoder):
        super().__init__()
        self.patch_size = like.patch_size
        self.patch_embed, self.head = nn.Linear(like.patch_embed.in_features, config.dim), nn.Linear(config.dim, like.head.out_features)
        self.register_buffer("positions", torch.empty_like(like.positions))
        self.registers = nn.Parameter(torch.empty_like(like.registers))
        self.blocks = nn.ModuleList(PlainBlock(config) for _ in range(config.depth))
        self.load_state_dict(_taken_apart(like))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) to (B, N, D')."""
        patches = self.patch_embed(_to_patches(maps, self.patch_size)) + self.positions.flatten(0, 1)
        num_patches = patches.shape[1]
        x = torch.cat([patches, self.registers.expand(len(maps), -1, -1)], 1)
        places = torch.arange(x.shape[1], device=x.device)
        mask = (places < num_patches) | (places <= places[:, None])
        for block in self.blocks:
            x = block(x, mask)
        return self.head(norm(x[:, num_patches:]))


class PlainDecoder(nn.Module):
    """Names as in `vtok.models.decoders.flow.FlowDecoder` and its trunk, but for the fused matrices."""

    positions: Tensor

    def __init__(self, config: TransformerConfig, like: FlowDecoder):
        super().__init__()
        self.patch_size, self.max_time = like.patch_size, like.trunk.time.max_time
        self.registers_in = nn.Linear(like.registers_in.in_features, config.dim)
        self.register_positions = nn.Parameter(torch.empty_like(like.register_positions))
        self.mask_token, self.null_token = (nn.Parameter(torch.empty(config.dim)) for _ in range(2))
        self.patch_embed = nn.Linear(like.patch_embed.in_features, config.dim)
        self.register_buffer("positions", torch.empty_like(like.positions))
        self.time = nn.ModuleDict({"layers": nn.Sequential(nn.Linear(256, config.dim), nn.SiLU(), nn.Linear(config.dim, config.dim))})
        self.blocks = nn.ModuleList(PlainModulatedBlock(config) for _ in range(config.depth))
        sizes = {"modulation": (config.dim, 2 * config.dim), "out": (config.dim, like.head.out.out_features)}
        self.head = nn.ModuleDict({name: nn.Linear(*size) for name, size in sizes.items()})
        self.load_state_dict({name.removeprefix("trunk."): value for name, value in _taken_apart(like).items()})

    def forward(self, maps: Tensor, times: Tensor, codes: Tensor, lengths: Tensor, dropped: Tensor) -> Tensor:
        """Noisy maps (B, C, h, w) at times (B,) to their velocity.

        Args:
            codes: (B, N, D') of all positions; those beyond the lengths (B,) mean nothing.
            dropped: (B,) bool, samples that are told nothing.
        """
        registers = self.registers_in(codes) + self.register_positions
        missing = torch.arange(registers.shape[1], device=maps.device) >= lengths[:, None]
        registers = torch.where(missing[..., None], self.mask_token, registers)
        registers = torch.where(dropped[:, None, None], self.null_token, registers)
        patches = self.patch_embed(_to_patches(maps, self.patch_size)) + self.positions.flatten(0, 1)
        num_patches, rows = patches.shape[1], maps.shape[2] // self.patch_size
        time = self._embed(times)
        x = torch.cat([patches, registers], 1)
        for block in self.blocks:
            x = block(x, time, num_patches)
        shift, scale = self.head["modulation"](silu(time))[:, None].chunk(2, -1)
        return _from_patches(self.head["out"](norm(x[:, :num_patches]) * (1 + scale) + shift), self.patch_size, rows)

    def _embed(self, times: Tensor) -> Tensor:
        rates = 1000 / self.max_time * 256 ** (-torch.arange(128, device=times.device) / 128)
        angles = times[:, None] * rates
        return self.time["layers"](torch.cat([angles.cos(), angles.sin()], 1))


class PlainFlextok(nn.Module):
    """Maps to ids and back; takes the weights and the guidance of a `FlextokTokenizer`. Guidance is APG, the solver Euler's."""

    def __init__(self, weights: FlextokTokenizer):
        super().__init__()
        config = weights.config
        self.levels, self.guidance = config.quantizer.levels, config.sampling.guidance
        self.encoder, self.decoder = PlainEncoder(config.encoder, weights.encoder), PlainDecoder(config.decoder, weights.decoder)
        self.to(weights.decoder.mask_token.device).eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) to ids (B, N)."""
        z = self.encoder(maps).float()
        levels, strides = self._digits(z.device)
        half = (levels - 1) * 1.001 / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        bounded = (z + torch.atanh(offset / half)).tanh() * half - offset
        return ((bounded.round().long() + levels // 2) * strides).sum(-1)

    @torch.no_grad()
    def decode(self, ids: Tensor, noise: Tensor, steps: int) -> Tensor:
        """Ids (B, n) and noise (B, C, h, w) to maps of that shape."""
        lengths = torch.full((len(ids),), ids.shape[1], device=ids.device)
        ids = nn.functional.pad(ids, (0, len(self.encoder.registers) - ids.shape[1]))
        levels, strides = self._digits(ids.device)
        codes = (ids[..., None] // strides % levels - levels // 2) / (levels // 2)
        told = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        x, running = noise, torch.zeros_like(noise)
        for step in range(steps, 0, -1):
            times = x.new_full((len(x),), step / steps)
            conditional = self.decoder(x, times, codes, lengths, told).float()
            unconditional = self.decoder(x, times, codes, lengths, ~told).float()
            running = conditional - unconditional - 0.5 * running
            x = x - (conditional + (self.guidance - 1) * _projected(running, conditional)) / steps
        return x

    def _digits(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Levels of each component, and what a step of each adds to an id."""
        levels = torch.tensor(self.levels, device=device)
        return levels, torch.cat([levels.new_ones(1), levels[:-1]]).cumprod(0)


def _projected(difference: Tensor, conditional: Tensor) -> Tensor:
    """At most 2.5 long, without what is parallel to the conditional velocity (arXiv 2410.02416)."""
    length = difference.flatten(1).norm(dim=1)[:, None, None, None]
    difference = difference * (2.5 / length).clamp(max=1)
    wide, unit = difference.double(), nn.functional.normalize(conditional.double().flatten(1), dim=1).view_as(conditional)
    return (wide - (wide * unit).sum((1, 2, 3), keepdim=True) * unit).to(difference.dtype)


def _to_patches(maps: Tensor, size: int) -> Tensor:
    """(B, C, h, w) to (B, L, size * size * C), the channel fastest."""
    cut = maps.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # (B, C, rows, size, cols, size)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def _from_patches(patches: Tensor, size: int, rows: int) -> Tensor:
    """The inverse of `_to_patches`."""
    cut = patches.unflatten(2, (size, size, -1)).unflatten(1, (rows, -1))  # (B, rows, cols, size, size, C)
    return cut.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def _taken_apart(module: nn.Module) -> dict[str, Tensor]:
    """The weights of a module of ours, each of the matrices in a fused one by itself."""
    state: dict[str, Tensor] = {}
    for name, value in module.state_dict().items():
        if name.endswith("attention.qkv.weight"):
            state |= dict(zip((name.replace("qkv", own) for own in ("wq", "wk", "wv")), value.chunk(3), strict=True))
        elif name.endswith("mlp.gate_value.weight"):
            state |= dict(zip((name.replace("gate_value", own) for own in ("fc1", "fc3")), value.chunk(2), strict=True))
        else:
            state[name.replace("mlp.out", "mlp.fc2")] = value
    return state
