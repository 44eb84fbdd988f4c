"""The convolutional networks of LlamaGen's VQ, FQGAN and TokenFlow as their repositories have them: tensors and sizes."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vtok.weights.convert.names import Rule
from vtok.weights.convert.sizes import count

ENCODER, DECODER = "encoder.", "decoder."  # what names of both begin with, upstream's and ours


def head_rules(norm: str, conv: str, project: str, ours: str) -> tuple[Rule, ...]:
    """Of what follows the encoder: upstream's names of its three parts, and what ours begin with."""
    return Rule(f"{norm}.", f"{ours}norm."), Rule(f"{conv}.", f"{ours}conv."), Rule(f"{project}.", f"{ours}project.")


def _block_rules(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Of a residual block and of an attention block, which share no names."""
    same = {"norm1.": "norm1.", "norm2.": "norm2.", "conv1.": "conv1.", "conv2.": "conv2.", "nin_shortcut.": "shortcut."}
    return (
        *(Rule(theirs + before, ours + after) for before, after in (same | {"norm.": "norm.", "proj_out.": "out."}).items()),
        *(Rule(f"{theirs}{name}.", f"{ours}qkv.", part=(number, 3)) for number, name in enumerate("qkv")),
    )


def _network_rules(network: str) -> tuple[Rule, ...]:
    """Of what encoder and decoder share."""
    return (
        Rule(f"{network}conv_in.", f"{network}conv_in."),
        *_block_rules(f"{network}conv_blocks.#.res.#.", f"{network}levels.#.residual.#."),
        *_block_rules(f"{network}conv_blocks.#.attn.#.", f"{network}levels.#.attention.#."),
        *_block_rules(f"{network}mid.#.", f"{network}middle.#."),
    )


ENCODER_RULES = (*_network_rules(ENCODER), Rule(f"{ENCODER}conv_blocks.#.downsample.conv.", f"{ENCODER}downsamples.#."))
DECODER_RULES = (
    Rule("post_quant_conv.", f"{DECODER}project."),
    *_network_rules(DECODER),
    Rule(f"{DECODER}conv_blocks.#.upsample.conv.", f"{DECODER}upsamples.#."),
    Rule(f"{DECODER}norm_out.", f"{DECODER}norm_out."),
    Rule(f"{DECODER}conv_out.", f"{DECODER}conv_out."),
)


def is_conv(state: Mapping[str, Tensor]) -> bool:
    """Whether a state has such an encoder."""
    return f"{ENCODER}conv_blocks.0.res.0.conv1.weight" in state


def encoder_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The sizes that the encoder's tensors have, by the names of `ConvConfig`.

    Raises:
        KeyError: a tensor is missing that tells of sizes.
        ValueError: sizes that are none.
    """
    num_levels = count(state, f"{ENCODER}conv_blocks.#.")
    dim = state[f"{ENCODER}conv_in.weight"].shape[0]
    widths = [state[f"{ENCODER}conv_blocks.{level}.res.0.conv2.weight"].shape[0] for level in range(num_levels)]
    if dim < 1:
        raise ValueError("an encoder of no channels")
    return {
        "dim": dim,
        "multiples": tuple(width // dim for width in widths),
        "num_blocks": count(state, f"{ENCODER}conv_blocks.0.res.#."),
        "z_dim": state["post_quant_conv.weight"].shape[0],
    }
