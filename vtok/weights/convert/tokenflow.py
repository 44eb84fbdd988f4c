"""TokenFlow, with CLIP, SigLIP or ViTamin as its tower, as its repository has it: tensors and sizes."""

import math
from collections.abc import Iterable, Mapping

from pydantic import BaseModel
from torch import Tensor

from vtok.models.conv import ConvConfig
from vtok.models.quantizers.config import StagewiseMultiscaleConfig
from vtok.models.quantizers.part_config import SharedIndexPart
from vtok.models.semantic_decoder import SemanticDecoderConfig
from vtok.models.towers import AnyTower, ClipConfig, SiglipConfig, VitaminConfig
from vtok.tokenizers.tokenflow import SCALES, TokenflowConfig, square_scales
from vtok.weights.convert.conv import DECODER, DECODER_RULES, ENCODER_RULES, encoder_sizes, head_rules, is_conv
from vtok.weights.convert.names import NO_BATCH, ONE_BY_ONE, TABLES, Rule
from vtok.weights.convert.sizes import count
from vtok.weights.convert.titok import HEAD_WIDTH, Hints, block_rules

TOWER, TELLER = "encoder_vqkd.", "decoder_vqkd."
CODES = ("quantize.embedding_vqkd.weight", "quantize.embedding_vqgan.weight")  # semantics and pixels of a row
CLIP, SIGLIP, VITAMIN = f"{TOWER}conv1.weight", f"{TOWER}vision_model.", f"{TOWER}patch_embed.backbone."
# The ids that were last used, constants, and of a SigLIP what stands behind the block whose features are taken.
NOT_NEEDED = (
    "quantize.codebook_used",
    "scaling_layer.",
    *(f"{SIGLIP}{name}." for name in ("encoder.layers", "post_layernorm", "head")),
)
ENHANCED_SIDE = 16  # rows of the map that the model with the larger decoder is used with; its tower has learned fewer positions
SIGLIP_SIZE = {(27, 14): 384}  # pixels a side of the pictures that 27 patches of 14 pixels are cut from
SIGLIP_HEADS, TELLER_HEADS = 16, 12

_SHARED = (
    *(Rule(f"encode_task_layer.{layer}.", f"semantic_head.{layer}.") for layer in (0, 2)),
    *ENCODER_RULES,
    *head_rules("encoder.norm_out", "encoder.conv_out", "quant_conv", "head."),
    *DECODER_RULES,
    Rule(f"{TELLER}patch_embed.proj.weight", "semantic_decoder.embed.weight", ONE_BY_ONE),
    Rule(f"{TELLER}patch_embed.proj.bias", "semantic_decoder.embed.bias"),
    Rule(f"{TELLER}cls_token", "semantic_decoder.class_token", NO_BATCH),
    Rule(f"{TELLER}pos_embed", "semantic_decoder.positions", NO_BATCH),
    *(
        Rule(f"{TELLER}blocks.#.{theirs}", f"semantic_decoder.transformer.blocks.#.{ours}")
        for theirs, ours in {
            "norm1.": "attention_norm.",
            "attn.qkv.weight": "qkv.weight",
            "attn.q_bias": "qkv.q_bias",
            "attn.v_bias": "qkv.v_bias",
            "attn.proj.": "attention_out.",
            "norm2.": "mlp_norm.",
            "mlp.fc1.": "mlp_in.",
            "mlp.fc2.": "mlp_out.",
        }.items()
    ),
    Rule(f"{TELLER}fc_norm.", "semantic_decoder.norm_out."),
    *(Rule(f"decode_task_layer.{layer}.", f"semantic_decoder.head.{layer}.") for layer in (0, 2)),
)
_TOWERS = {
    "clip": (
        Rule(CLIP, "semantic_encoder.patch_embed.weight"),
        Rule(f"{TOWER}class_embedding", "semantic_encoder.class_token", TABLES),
        Rule(f"{TOWER}positional_embedding", "semantic_encoder.positions"),
        Rule(f"{TOWER}ln_pre.", "semantic_encoder.norm_in."),
        *block_rules(f"{TOWER}transformer.resblocks.#.", "semantic_encoder.transformer.blocks.#."),
        Rule(f"{TOWER}ln_post.", "semantic_encoder.norm_out."),
    ),
    "siglip": (
        Rule(f"{SIGLIP}embeddings.patch_embedding.", "semantic_encoder.patch_embed."),
        Rule(f"{SIGLIP}embeddings.position_embedding.weight", "semantic_encoder.positions"),
        Rule(f"{SIGLIP}encoder.layers.#.", "semantic_encoder.blocks.#."),
    ),
    "vitamin": (Rule(TOWER, "semantic_encoder.model."),),
}


def is_tokenflow(state: Mapping[str, Tensor]) -> bool:
    """Whether a state is one."""
    return is_conv(state) and CODES[0] in state


def rules(state: Mapping[str, Tensor]) -> tuple[Rule, ...]:
    """All names of a model.

    Args:
        state: upstream's or ours, by which tower and widths are told.

    Raises:
        KeyError: a tensor is missing that tells of them.
    """
    if CODES[0] in state:
        widths = tuple(state[name].shape[-1] for name in CODES)
    else:
        semantic_dim = state["semantic_head.2.weight"].shape[0]
        widths = (semantic_dim, state["quantizer.table.codes"].shape[-1] - semantic_dim)
    codes = (Rule(name, "quantizer.table.codes", TABLES, (number, len(CODES)), widths) for number, name in enumerate(CODES))
    return (*_TOWERS[_kind(state)], *_SHARED, *codes)


def is_published(quantizer: BaseModel) -> bool:
    """Whether upstream's models have such a quantizer: scales of one row for two codes that weigh the same."""
    if not isinstance(quantizer, StagewiseMultiscaleConfig) or not isinstance(quantizer.part, SharedIndexPart):
        return False
    return len(quantizer.part.widths) == len(CODES) and set(quantizer.part.weights) <= {1.0}


def sizes(state: Mapping[str, Tensor], hints: Hints) -> TokenflowConfig:
    """The sizes of a whole TokenFlow.

    Raises:
        KeyError: a tensor is missing that tells of sizes.
        ValueError: sizes that are none, or a map whose scales nobody tells.
    """
    (codebook_size, semantic_dim), (_, pixel_dim) = (state[name].shape for name in CODES)
    encoder, decoder = ConvConfig(**encoder_sizes(state)), _decoder(state)
    tower, side = _tower(state, hints)
    if isinstance(tower, ClipConfig) and decoder != encoder:
        side = ENHANCED_SIDE
    if (scales := hints.scales or SCALES.get(side)) is None:
        raise ValueError(f"nobody tells the scales of a map of {side} x {side}")
    whole = SIGLIP_SIZE.get((side, tower.patch_size)) if isinstance(tower, SiglipConfig) else None
    return TokenflowConfig(
        image_size=whole or side * tower.patch_size,
        semantic_encoder=tower,
        semantic_dim=semantic_dim,
        semantic_decoder=_teller(state, hints),
        encoder=encoder,
        decoder=decoder,
        quantizer=square_scales(scales, SharedIndexPart(widths=(semantic_dim, pixel_dim), codebook_size=codebook_size)),
    )


def _kind(names: Iterable[str]) -> str:
    """Of the tower, told by upstream's names or ours."""
    if any(name in (CLIP, "semantic_encoder.class_token") for name in names):
        return "clip"
    return "vitamin" if any(name.startswith((VITAMIN, "semantic_encoder.model.")) for name in names) else "siglip"


def _tower(state: Mapping[str, Tensor], hints: Hints) -> tuple[AnyTower, int]:
    """The tower, and rows of the map that it makes of the pictures it was trained on."""
    kind = _kind(state)
    if kind == "vitamin":
        return VitaminConfig(), _teller(state, hints).side
    if kind == "siglip":
        dim, _, patch_size, _ = state[f"{SIGLIP}embeddings.patch_embedding.weight"].shape
        layers = f"{SIGLIP}encoder.layers."
        depth, heads = count(state, f"{layers}#.") - 1, hints.heads or SIGLIP_HEADS
        hidden = state[f"{layers}0.mlp.fc1.weight"].shape[0]
        side = math.isqrt(state[f"{SIGLIP}embeddings.position_embedding.weight"].shape[0])
        return SiglipConfig(dim=dim, depth=depth, heads=heads, hidden=hidden, patch_size=patch_size), side
    dim, _, patch_size, _ = state[CLIP].shape
    depth, side = count(state, f"{TOWER}transformer.resblocks.#."), _learned(state[f"{TOWER}positional_embedding"].shape[0])
    return ClipConfig(dim=dim, depth=depth, heads=hints.heads or max(1, dim // HEAD_WIDTH), patch_size=patch_size, side=side), side


def _teller(state: Mapping[str, Tensor], hints: Hints) -> SemanticDecoderConfig:
    return SemanticDecoderConfig(
        dim=state[f"{TELLER}cls_token"].shape[2],
        depth=count(state, f"{TELLER}blocks.#."),
        heads=hints.heads or TELLER_HEADS,
        side=_learned(state[f"{TELLER}pos_embed"].shape[1]),
        out_dim=state["decode_task_layer.2.weight"].shape[0],
    )


def _decoder(state: Mapping[str, Tensor]) -> ConvConfig:
    """Of the pixels; its levels are told from the lowest resolution up."""
    num_levels = count(state, f"{DECODER}conv_blocks.#.")
    widths = [state[f"{DECODER}conv_blocks.{level}.res.0.conv2.weight"].shape[0] for level in reversed(range(num_levels))]
    if not widths or widths[0] < 1:
        raise ValueError("a decoder of no channels")
    return ConvConfig(
        dim=widths[0],
        multiples=tuple(width // widths[0] for width in widths),
        num_blocks=count(state, f"{DECODER}conv_blocks.0.res.#.") - 1,
        z_dim=state["post_quant_conv.weight"].shape[0],
    )


def _learned(num_positions: int) -> int:
    """Rows of a square of learned positions, the first of which is the class token's."""
    side = math.isqrt(num_positions - 1)
    if side < 1 or side**2 != num_positions - 1:
        raise ValueError(f"{num_positions - 1} positions are no square")
    return side
