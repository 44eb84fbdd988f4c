"""TiTok's two-stage layout written the straightforward way, with PyTorch's own attention: what the fast paths are measured against."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from vtok.models.latent_token_encoder import VitConfig
from vtok.models.maskgit_vqgan import GROUPS, MaskgitConfig
from vtok.tokenizers.titok import Titok, TitokConfig


class PlainBlock(nn.Module):
    """Names as in `vtok.models.transformer.Block`, but for the attention."""

    def __init__(self, config: VitConfig):
        super().__init__()
        dim = config.dim
        self.attention_norm, self.mlp_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, config.heads, batch_first=True)
        self.mlp_in, self.mlp_out = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.attention_norm(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp_out(nn.functional.gelu(self.mlp_in(self.mlp_norm(x))))


class PlainResBlock(nn.Module):
    """As `vtok.models.maskgit_vqgan.ResBlock`."""

    def __init__(self, in_dim: int, out_dim: int):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(GROUPS, in_dim, eps=1e-6), nn.GroupNorm(GROUPS, out_dim, eps=1e-6)
        self.conv1 = nn.Conv2d(in_dim, out_dim, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out_dim, out_dim, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(out_dim, out_dim, 1, bias=False) if in_dim != out_dim else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(nn.functional.silu(self.norm1(x)))
        h = self.conv2(nn.functional.silu(self.norm2(h)))
        return h + (x if self.shortcut is None else self.shortcut(h))


class PlainUpLevel(nn.Module):
    """As `vtok.models.maskgit_vqgan.UpLevel`."""

    def __init__(self, in_dim: int, out_dim: int, num_blocks: int, *, last: bool):
        super().__init__()
        self.blocks = nn.Sequential(*(PlainResBlock(out_dim if i else in_dim, out_dim) for i in range(num_blocks)))
        self.upsample = None if last else nn.Conv2d(out_dim, out_dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        return x if self.upsample is None else self.upsample(interpolate(x, scale_factor=2))


class PlainPixelDecoder(nn.Module):
    """As `vtok.models.maskgit_vqgan.MaskgitDecoder`."""

    def __init__(self, config: MaskgitConfig):
        super().__init__()
        widths = config.widths
        self.conv_in = nn.Conv2d(config.latent_dim, widths[-1], 3, padding=1)
        self.middle = nn.Sequential(*(PlainResBlock(widths[-1], widths[-1]) for _ in range(config.num_blocks)))
        before = (*widths[1:], widths[-1])
        self.levels = nn.ModuleList(PlainUpLevel(before[i], own, config.num_blocks, last=i == 0) for i, own in enumerate(widths))
        self.norm_out = nn.GroupNorm(GROUPS, widths[0], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(self.conv_in(x))
        for level in reversed(self.levels):
            x = level(x)
        return self.conv_out(nn.functional.silu(self.norm_out(x)))


class PlainTitok(nn.Module):
    """Encodes to ids and decodes them; takes the weights of a `Titok`."""

    def __init__(self, config: TitokConfig, weights: Titok):
        super().__init__()
        self.weights = weights
        self.encoder = nn.Sequential(*(PlainBlock(config.encoder) for _ in range(config.encoder.depth)))
        self.decoder = nn.Sequential(*(PlainBlock(config.decoder) for _ in range(config.decoder.depth)))
        self.pixel_decoder = PlainPixelDecoder(config.pixels)
        self.pixel_decoder.load_state_dict(weights.decoder.pixel_decoder.state_dict())
        self.pixel_decoder.to(memory_format=torch.contiguous_format)
        for own, theirs in ((self.encoder, weights.encoder.transformer), (self.decoder, weights.decoder.trunk.transformer)):
            state = {name.partition(".")[2]: value for name, value in theirs.state_dict().items()}
            own.load_state_dict({_with_attention(name): value for name, value in state.items()})
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) to ids (B, N)."""
        own = self.weights.encoder
        patches = own.patch_embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([own.class_token.expand(len(images), 1, -1), patches], 1) + own.positions
        latents = (own.latent_tokens + own.latent_positions).expand(len(images), -1, -1)
        x = self.encoder(own.norm_in(torch.cat([x, latents], 1)))[:, -own.num_tokens :]
        x = own.norm_out(x).reshape(len(images), -1, own.num_tokens).transpose(1, 2)
        z = normalize(nn.functional.linear(x, own.head.weight, own.head.bias), dim=-1)
        codes = normalize(self.weights.quantizer.codes[0], dim=-1)
        distances = z.square().sum(-1, keepdim=True) + codes.square().sum(-1) - 2 * z @ codes.T
        return distances.argmin(-1)

    @torch.no_grad()
    def decode(self, ids: Tensor) -> Tensor:
        """Ids (B, N) to pictures (B, 3, S, S) in [0, 1]."""
        trunk, head = self.weights.decoder.trunk, self.weights.decoder.head
        vectors = normalize(self.weights.quantizer.codes[0], dim=-1)[ids]
        latents = nn.functional.linear(vectors, trunk.embed.weight, trunk.embed.bias) + trunk.latent_positions
        asked = torch.cat([trunk.class_token, trunk.mask_token.expand(trunk.side**2, -1)]) + trunk.positions
        x = self.decoder(trunk.norm_in(torch.cat([asked.expand(len(ids), -1, -1), latents], 1)))
        x = trunk.norm_out(x[:, 1 : 1 + trunk.side**2])
        first, last = head[0], head[2]
        logits = nn.functional.linear(nn.functional.linear(x, first.weight, first.bias).tanh(), last.weight, last.bias)
        mixed = logits.softmax(-1) @ self.weights.decoder.pixel_quantizer.codes[0]
        maps = mixed.transpose(1, 2).reshape(len(ids), -1, trunk.side, trunk.side)
        return self.pixel_decoder(maps).clamp(0, 1)


def _with_attention(name: str) -> str:
    """What `nn.MultiheadAttention` calls a tensor of `vtok.models.transformer.Block`."""
    name = name.replace("qkv.weight", "attention.in_proj_weight").replace("qkv.bias", "attention.in_proj_bias")
    return name.replace("attention_out.", "attention.out_proj.")
