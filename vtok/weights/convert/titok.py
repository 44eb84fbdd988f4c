"""The TiTok line as its repositories have it: TiTok in both layouts, One-D-Piece, TA-TiTok."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel
from torch import Tensor

from vtok.models.latent_token_encoder import VitConfig
from vtok.models.quantizers.config import VqConfig
from vtok.tokenizers.tatitok import TaTitokConfig, TaTitokVaeConfig, TextConfig
from vtok.tokenizers.titok import PixelTitokConfig, TitokConfig
from vtok.tokenizers.titok_vae import TitokVaeConfig
from vtok.weights.convert.maskgit_vqgan import decoder_rules, decoder_sizes
from vtok.weights.convert.names import NO_BATCH, ONE_BY_ONE, SAME, TABLES, Rule
from vtok.weights.convert.sizes import count

HEAD_WIDTH = 64  # of the attention, in all official models
ONE_D_PIECE_TOKENS = 256  # no two-stage TiTok has so many

PIXEL_DECODER, PIXEL_CODES = "pixel_decoder.", "pixel_quantize.embedding.weight"
PIXEL_RULES = (
    *decoder_rules(PIXEL_DECODER, "decoder.pixel_decoder."),
    Rule(PIXEL_CODES, "decoder.pixel_quantizer.codes", TABLES),
)


@dataclass(frozen=True)
class Hints:
    """What tensors do not say, None where nobody does: then it is as in the official models.

    Args:
        l2: whether codes are compared at the unit sphere; so in the two-stage layout.
        nested: whether prefixes decode; so with 256 tokens in the two-stage layout.
        heads: of all transformers; so many that each has a width of 64.
        scales: rows, and as many columns, of each scale of a TokenFlow; those of the official model with as many rows in the last.
    """

    l2: bool | None = None
    nested: bool | None = None
    heads: int | None = None
    scales: tuple[int, ...] | None = None


def is_titok(state: Mapping[str, Tensor]) -> bool:
    """Whether a state is of this line."""
    return "latent_tokens" in state


def is_two_stage(state: Mapping[str, Tensor]) -> bool:
    """Whether pixels come by way of a MaskGIT-VQGAN's codes."""
    return "decoder.ffn.2.weight" in state


def has_pixels(state: Mapping[str, Tensor]) -> bool:
    """Whether that MaskGIT-VQGAN's codes and decoder are in the state: after the second stage they are."""
    return PIXEL_CODES in state


def rules(*, two_stage: bool) -> tuple[Rule, ...]:
    """All names of the line in one of its layouts."""
    shared = (
        Rule("latent_tokens", "encoder.latent_tokens"),
        Rule("quantize.embedding.weight", "quantizer.codes", TABLES),
        *transformer_rules("encoder.", "encoder."),
        Rule("encoder.patch_embed.", "encoder.patch_embed."),
        Rule("encoder.conv_out.weight", "encoder.head.weight", ONE_BY_ONE),
        Rule("encoder.conv_out.bias", "encoder.head.bias"),
        *transformer_rules("decoder.", "decoder.trunk."),
        Rule("decoder.decoder_embed.", "decoder.trunk.embed."),
        Rule("decoder.mask_token", "decoder.trunk.mask_token", NO_BATCH),
    )
    if two_stage:
        return (*shared, *_one_by_one("decoder.ffn.0", "decoder.head.0"), *_one_by_one("decoder.ffn.2", "decoder.head.2"), *PIXEL_RULES)
    return (
        *shared,
        *_one_by_one("decoder.ffn.0", "decoder.head.patches"),
        Rule("decoder.conv_out.", "decoder.head.smooth."),
        Rule("decoder.text_guidance_proj.", "decoder.text_embed."),
        Rule("decoder.text_guidance_positional_embedding", "decoder.text_positions"),
    )


def transformer_rules(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Of a transformer with what stands before and behind it, under the prefixes that the names have; FQGAN has the same names."""
    same_shape = {
        "class_embedding": "class_token",
        "positional_embedding": "positions",
        "latent_token_positional_embedding": "latent_positions",
        "ln_pre.": "norm_in.",
        "ln_post.": "norm_out.",
    }
    ends = tuple(Rule(theirs + before, ours + after) for before, after in same_shape.items())
    return (*ends, *block_rules(f"{theirs}transformer.#.", f"{ours}transformer.blocks.#."))


def block_rules(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Of its blocks; CLIP's have the same names."""
    same_shape = {
        "ln_1.": "attention_norm.",
        "attn.in_proj_weight": "qkv.weight",
        "attn.in_proj_bias": "qkv.bias",
        "attn.out_proj.": "attention_out.",
        "ln_2.": "mlp_norm.",
        "mlp.c_fc.": "mlp_in.",
        "mlp.c_proj.": "mlp_out.",
    }
    return tuple(Rule(theirs + before, ours + after) for before, after in same_shape.items())


def family_and_config(state: Mapping[str, Tensor], hints: Hints) -> tuple[str, BaseModel]:
    """The family that a whole state belongs to, and its sizes.

    Args:
        state: upstream's; of a first stage with the MaskGIT-VQGAN's tensors added.

    Raises:
        KeyError: a tensor is missing that tells of sizes.
        ValueError: sizes that are none.
    """
    num_tokens = state["latent_tokens"].shape[0]
    pair = {"image_size": _image_size(state), "encoder": _encoder(state, hints), "decoder": _decoder(state, hints)}
    if is_two_stage(state):
        quantizer = _quantizer(state, num_tokens, l2=True if hints.l2 is None else hints.l2)
        nested = num_tokens == ONE_D_PIECE_TOKENS if hints.nested is None else hints.nested
        pixels = decoder_sizes(state, PIXEL_DECODER, PIXEL_CODES)
        return ("one_d_piece" if nested else "titok"), TitokConfig(**pair, quantizer=quantizer, pixels=pixels)
    text = {} if "decoder.text_guidance_proj.weight" not in state else {"text": _text(state)}
    if "quantize.embedding.weight" in state:
        quantizer = _quantizer(state, num_tokens, l2=bool(hints.l2))
        if text:
            return "tatitok", TaTitokConfig(**pair, quantizer=quantizer, **text)
        return "titok_pixel", PixelTitokConfig(**pair, quantizer=quantizer)
    latents = {"num_tokens": num_tokens, "dim": state["decoder.decoder_embed.weight"].shape[1]}
    if text:
        return "tatitok_vae", TaTitokVaeConfig(**pair, **latents, **text)
    return "titok_vae", TitokVaeConfig(**pair, **latents)


def _one_by_one(theirs: str, ours: str) -> tuple[Rule, Rule]:
    return Rule(f"{theirs}.weight", f"{ours}.weight", ONE_BY_ONE), Rule(f"{theirs}.bias", f"{ours}.bias", SAME)


def _image_size(state: Mapping[str, Tensor]) -> int:
    return _side(state["encoder.positional_embedding"]) * state["encoder.patch_embed.weight"].shape[2]


def _side(positions: Tensor) -> int:
    """Patches along a side of the picture, of a table of positions that begins with the class token's."""
    side = math.isqrt(positions.shape[0] - 1)
    if side < 1 or side**2 != positions.shape[0] - 1:
        raise ValueError(f"{positions.shape[0] - 1} patches are no square")
    return side


def _encoder(state: Mapping[str, Tensor], hints: Hints) -> VitConfig:
    return _vit(state, "encoder.", state["encoder.patch_embed.weight"].shape[2], hints)


def _decoder(state: Mapping[str, Tensor], hints: Hints) -> VitConfig:
    return _vit(state, "decoder.", _image_size(state) // _side(state["decoder.positional_embedding"]), hints)


def _vit(state: Mapping[str, Tensor], prefix: str, patch_size: int, hints: Hints) -> VitConfig:
    dim = state[f"{prefix}class_embedding"].shape[1]
    return VitConfig(
        dim=dim, depth=count(state, f"{prefix}transformer.#."), heads=hints.heads or max(1, dim // HEAD_WIDTH), patch_size=patch_size
    )


def _quantizer(state: Mapping[str, Tensor], num_tokens: int, *, l2: bool) -> VqConfig:
    codebook_size, dim = state["quantize.embedding.weight"].shape
    return VqConfig(kind="spherical_vq" if l2 else "vq", num_tokens=num_tokens, dim=dim, codebook_size=codebook_size)


def _text(state: Mapping[str, Tensor]) -> TextConfig:
    return TextConfig(
        length=state["decoder.text_guidance_positional_embedding"].shape[0], dim=state["decoder.text_guidance_proj.weight"].shape[1]
    )
