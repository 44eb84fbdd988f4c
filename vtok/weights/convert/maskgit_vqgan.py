"""MaskGIT-VQGAN as the TiTok repository has it: tensors and sizes."""

import math
from collections.abc import Mapping

from torch import Tensor

from vtok.models.maskgit_vqgan import MaskgitConfig
from vtok.weights.convert.names import TABLES, Rule
from vtok.weights.convert.sizes import count


def block_rules(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Of one block, whose names begin as given."""
    parts = {"norm1.": "norm1.", "norm2.": "norm2.", "conv1.": "conv1.", "conv2.": "conv2.", "nin_shortcut.": "shortcut."}
    return tuple(Rule(theirs + before, ours + after) for before, after in parts.items())


def ends_rules(theirs: str, ours: str) -> tuple[Rule, ...]:
    return (
        *block_rules(f"{theirs}mid.#.", f"{ours}middle.#."),
        *(Rule(theirs + name, ours + name) for name in ("conv_in.", "norm_out.", "conv_out.")),
    )


def decoder_rules(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Of the decoder and the codes, under the prefixes that the names have."""
    return (
        *block_rules(f"{theirs}up.#.block.#.", f"{ours}levels.#.blocks.#."),
        Rule(f"{theirs}up.#.upsample_conv.", f"{ours}levels.#.upsample."),
        *ends_rules(theirs, ours),
    )


RULES = (
    *block_rules("encoder.down.#.block.#.", "encoder.levels.#.#."),
    *ends_rules("encoder.", "encoder."),
    *decoder_rules("decoder.", "decoder."),
    Rule("quantize.embedding.weight", "quantizer.codes", TABLES),
)


def is_maskgit_vqgan(state: Mapping[str, Tensor]) -> bool:
    """Whether a state is one, with its encoder."""
    return "encoder.down.0.block.0.conv1.weight" in state


def sizes(state: Mapping[str, Tensor]) -> MaskgitConfig:
    """The sizes of a whole MaskGIT-VQGAN.

    Raises:
        KeyError: a tensor is missing that tells of sizes.
        ValueError: sizes that are none.
    """
    return decoder_sizes(state, "decoder.", "quantize.embedding.weight", dim=state["encoder.conv_in.weight"].shape[0])


def decoder_sizes(state: Mapping[str, Tensor], decoder: str, codes: str, *, dim: int | None = None) -> MaskgitConfig:
    """The sizes that a decoder's tensors have.

    Args:
        state: upstream's.
        decoder: what the names of the decoder's tensors begin with.
        codes: name of the codebook.
        dim: channels that the encoder begins with; None: the decoder does not say, any that divides its widths will do.

    Raises:
        KeyError, ValueError: as of `sizes`.
    """
    num_levels = max(1, count(state, f"{decoder}up.#."))
    widths = [state[f"{decoder}up.{level}.block.0.conv2.weight"].shape[0] for level in range(num_levels)]
    dim = dim or math.gcd(*widths)
    codebook_size, latent_dim = state[codes].shape
    return MaskgitConfig(
        dim=dim,
        multiples=tuple(width // dim for width in widths),
        num_blocks=count(state, f"{decoder}mid.#."),
        latent_dim=latent_dim,
        codebook_size=codebook_size,
    )
