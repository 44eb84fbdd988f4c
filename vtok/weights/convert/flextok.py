"""FlexTok as its repository has it: tensors and sizes."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor

from vtok.errors import WeightsError
from vtok.models.autoencoders.diffusers import OLD_ATTENTION
from vtok.models.autoencoders.registry import DiffusersConfig
from vtok.models.quantizers.config import FsqConfig
from vtok.models.transformer import TransformerConfig
from vtok.tokenizers.flextok import FlextokConfig
from vtok.weights.convert.names import Rule, Shape
from vtok.weights.convert.sizes import count

PLANE = Shape(lambda x: rearrange(x, "1 d h w -> h w d"), lambda x: rearrange(x, "h w d -> 1 d h w"))
LINE = Shape(lambda x: rearrange(x, "1 1 d n -> n d"), lambda x: rearrange(x, "n d -> 1 1 d n"))
# A table of the rows and one of the columns (2, 1, d, n), which are added or multiplied; back, the column's is what a first row differs by.
SUMS = Shape(lambda x: x[0, 0].T[:, None] + x[1, 0].T, lambda x: torch.stack([x[:, 0].T, (x[0] - x[0, :1]).T])[:, None])
PRODUCTS = Shape(lambda x: x[0, 0].T[:, None] * x[1, 0].T, lambda x: torch.stack([x[:, 0].T, (x[0] / x[0, :1]).T])[:, None])

VAE, ENCODER, DECODER = "vae.vae.", "encoder.module_dict.", "decoder.module_dict."
ENCODER_POSITIONS, DECODER_POSITIONS = f"{ENCODER}enc_posemb_module.posembs", f"{DECODER}dec_patches_posemb_module.posembs"
HEAD_WIDTH = 64  # of the attention, in all official models
MAX_VAE_PARTS = 8  # levels of it, and blocks of a level: what a file asks for is bounded before it is made

Positions = Literal["sincos", "learnable_sum", "learnable_prod"]
_PLANES: dict[Positions, Shape] = {"sincos": PLANE, "learnable_sum": SUMS, "learnable_prod": PRODUCTS}


@dataclass(frozen=True)
class FlextokHints:
    """What tensors do not say; by default it is as in the official models, whose levels are known for tokens of 6 numbers.

    Args:
        levels: of each number of a token.
        max_time: as of `FlextokConfig`.
        scaling_factor: of the autoencoder's latents.
        encoder_head_dim, decoder_head_dim: widths of the heads.
        encoder_positions, decoder_positions: how the positions of patches are stored.
    """

    levels: tuple[int, ...] = (8, 8, 8, 5, 5, 5)
    max_time: float = 1000.0
    scaling_factor: float = 0.18215
    encoder_head_dim: int = HEAD_WIDTH
    decoder_head_dim: int = HEAD_WIDTH
    encoder_positions: Positions = "sincos"
    decoder_positions: Positions = "sincos"


def _block_rules(theirs: str, ours: str) -> tuple[Rule, ...]:
    return (
        *(Rule(f"{theirs}attn.w{name}.weight", f"{ours}attention.qkv.weight", part=(number, 3)) for number, name in enumerate("qkv")),
        Rule(f"{theirs}attn.proj.weight", f"{ours}attention.out.weight"),
        Rule(f"{theirs}mlp.fc1.weight", f"{ours}mlp.gate_value.weight", part=(0, 2)),
        Rule(f"{theirs}mlp.fc3.weight", f"{ours}mlp.gate_value.weight", part=(1, 2)),
        Rule(f"{theirs}mlp.fc2.weight", f"{ours}mlp.out.weight"),
        Rule(f"{theirs}adaLN_modulation.1.", f"{ours}modulation."),
    )


RULES = (
    Rule(VAE, "autoencoder.model."),
    Rule(f"{ENCODER}enc_patch_emb.patch_proj.", "encoder.patch_embed."),
    Rule(ENCODER_POSITIONS, "encoder.positions", PLANE),
    Rule(f"{ENCODER}enc_register_module.registers", "encoder.registers"),
    *_block_rules(f"{ENCODER}enc_transformer.blocks.#.", "encoder.blocks.#."),
    Rule(f"{ENCODER}enc_to_latents.proj.", "encoder.head."),
    Rule(f"{DECODER}dec_from_latents.proj.", "decoder.registers_in."),
    Rule(f"{DECODER}dec_registers_posemb_module.posembs", "decoder.register_positions", LINE),
    Rule(f"{DECODER}dec_nested_dropout.dropout_mask_token", "decoder.mask_token"),
    Rule(f"{DECODER}dec_latent_dropout.nullcond", "decoder.null_token"),
    Rule(f"{DECODER}dec_noise_patch_emb.patch_proj.", "decoder.patch_embed."),
    Rule(DECODER_POSITIONS, "decoder.positions", PLANE),
    Rule(f"{DECODER}dec_time_embedder.mlp.#.", "decoder.trunk.time.layers.#."),
    *_block_rules(f"{DECODER}dec_transformer.blocks.#.", "decoder.trunk.blocks.#."),
    Rule(f"{DECODER}dec_to_patches.adaLN_modulation.1.", "decoder.head.modulation."),
    Rule(f"{DECODER}dec_to_patches.proj.", "decoder.head.out."),
)
OLD_RULES = tuple(  # of an autoencoder that an old version of diffusers wrote
    Rule(f"{VAE}{half}.mid_block.attentions.#.{old}.", f"autoencoder.model.{half}.mid_block.attentions.#.{new}.")
    for half in ("encoder", "decoder")
    for old, new in OLD_ATTENTION.items()
)


def is_flextok(names: Iterable[str]) -> bool:
    """Whether tensors of these names are one."""
    return any(name.startswith(ENCODER) for name in names)


def rules(state: Mapping[str, Tensor], hints: FlextokHints) -> tuple[Rule, ...]:
    """Names and shapes as this state has them; `RULES` are those of a state that we write."""
    tables = {ENCODER_POSITIONS: hints.encoder_positions, DECODER_POSITIONS: hints.decoder_positions}
    own = tuple(Rule(r.theirs, r.ours, _PLANES[tables[r.theirs]]) if r.theirs in tables else r for r in RULES)
    return (*OLD_RULES, *own) if f"{VAE}encoder.mid_block.attentions.0.query.weight" in state else own


def sizes(state: Mapping[str, Tensor], hints: FlextokHints) -> FlextokConfig:
    """The sizes of a whole FlexTok.

    Raises:
        KeyError: a tensor is missing that tells of sizes.
        ValueError: sizes that are none.
        WeightsError: it has no autoencoder, or tokens whose levels nobody says.
    """
    if not any(name.startswith(VAE) for name in state):
        raise WeightsError(f"has no autoencoder (no tensors {VAE}*), without which it takes no pictures; a whole published file has one")
    channels = state[f"{VAE}post_quant_conv.weight"].shape[0]
    autoencoder = _autoencoder(state, channels, hints.scaling_factor)
    num_tokens, dim = state[f"{ENCODER}enc_register_module.registers"].shape[0], state[f"{ENCODER}enc_to_latents.proj.weight"].shape[0]
    if len(hints.levels) != dim:
        raise WeightsError(
            f"has tokens of {dim} numbers, where levels are known for {len(hints.levels)}; its configuration should say them"
        )
    patch_size = math.isqrt(state[f"{ENCODER}enc_patch_emb.patch_proj.weight"].shape[1] // channels)
    step = patch_size * 2 ** (len(autoencoder.settings["block_out_channels"]) - 1)
    return FlextokConfig(
        image_size=step * state[ENCODER_POSITIONS].shape[-1],
        patch_size=patch_size,
        quantizer=FsqConfig(num_tokens=num_tokens, levels=hints.levels),
        encoder=_transformer(state, f"{ENCODER}enc_patch_emb.patch_proj.weight", f"{ENCODER}enc_transformer.", hints.encoder_head_dim),
        decoder=_transformer(
            state, f"{DECODER}dec_noise_patch_emb.patch_proj.weight", f"{DECODER}dec_transformer.", hints.decoder_head_dim
        ),
        max_time=hints.max_time,
        autoencoder=autoencoder,
    )


def autoencoder_of(widths: list[int], num_layers: int, channels: int, scaling_factor: float) -> DiffusersConfig:
    """A FlexTok's autoencoder.

    Args:
        widths: of each level, from the pixels on.
        num_layers: of a level.
        channels: of the latents.
    """
    settings: dict[str, Any] = {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "block_out_channels": widths,
        "layers_per_block": num_layers,
        "act_fn": "silu",
        "latent_channels": channels,
        "norm_num_groups": 32,
        "scaling_factor": scaling_factor,
    }
    return DiffusersConfig(architecture="AutoencoderKL", settings=settings)


def by_tensors(config: FlextokConfig) -> FlextokConfig:
    """The same with scales that tensors do not say as in the official models: equal for equal sizes and levels."""
    if not isinstance(config.autoencoder, DiffusersConfig):
        return config
    settings = config.autoencoder.settings | {"scaling_factor": FlextokHints.scaling_factor}
    return config.model_copy(
        update={"max_time": FlextokHints.max_time, "autoencoder": config.autoencoder.model_copy(update={"settings": settings})}
    )


def _autoencoder(state: Mapping[str, Tensor], channels: int, scaling_factor: float) -> DiffusersConfig:
    num_levels, num_layers = count(state, f"{VAE}encoder.down_blocks.#."), count(state, f"{VAE}encoder.down_blocks.0.resnets.#.")
    if not 1 <= min(num_levels, num_layers) <= max(num_levels, num_layers) <= MAX_VAE_PARTS:
        raise ValueError(f"an autoencoder of {num_levels} levels of {num_layers} blocks, each is 1 to {MAX_VAE_PARTS}")
    widths = [state[f"{VAE}encoder.down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in range(num_levels)]
    if min(*widths, channels) < 1:
        raise ValueError(f"an autoencoder of {min(*widths, channels)} channels")
    return autoencoder_of(widths, num_layers, channels, scaling_factor)


def _transformer(state: Mapping[str, Tensor], patches_in: str, trunk: str, head_dim: int) -> TransformerConfig:
    dim = state[patches_in].shape[0]
    if dim % head_dim:
        raise ValueError(f"a width of {dim} is no multiple of the {head_dim} of a head")
    return TransformerConfig(dim=dim, depth=count(state, f"{trunk}blocks.#."), heads=dim // head_dim)
