"""LlamaGen's generators, and FAR's on top of them, as their repositories have them: tensors and sizes."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from vtok.models.causal_transformer import CausalConfig
from vtok.models.conditions import CaptionConfig, ClassConfig
from vtok.models.gpt import GptConfig
from vtok.weights.convert.names import Rule

CLASSES, NO_CAPTION = "cls_embedding.embedding_table.weight", "cls_embedding.uncond_embedding"
_FIRST, _SECOND = "layers.#.", "ar_head.#."


def _block(theirs: str, ours: str) -> tuple[Rule, ...]:
    names = {
        "attention_norm.": "attention_norm.",
        "attention.wqkv.": "qkv.",
        "attention.wo.": "attention_out.",
        "ffn_norm.": "mlp_norm.",
        "feed_forward.w2.": "mlp_out.",
    }
    gate_value = [Rule(f"{theirs}feed_forward.{name}.", f"{ours}gate_value.", part=(part, 2)) for part, name in enumerate(("w1", "w3"))]
    return (*(Rule(theirs + name, ours + own) for name, own in names.items()), *gate_value)


def rules(num_codebooks: int) -> tuple[Rule, ...]:
    """The table of names for a number of codebooks; with several they are numbered from 1 upstream."""
    numbers = [""] if num_codebooks == 1 else [f"_{number}" for number in range(1, num_codebooks + 1)]
    tables = [Rule(f"tok_embeddings{number}.", f"embeddings.tables.{place}.") for place, number in enumerate(numbers)]
    outs = [Rule(f"output{number}.", f"head.outs.{place}.") for place, number in enumerate(numbers)]
    return (
        Rule(CLASSES, "condition.table.weight"),
        Rule(NO_CAPTION, "condition.null_caption"),
        Rule("cls_embedding.cap_proj.fc1.", "condition.embed."),
        Rule("cls_embedding.cap_proj.fc2.", "condition.out."),
        Rule("aggregation_layer.", "embeddings.join."),
        Rule("norm.", "head.norm."),
        *tables,
        *outs,
        *_block(_FIRST, "trunk.blocks.#."),
        *_block(_SECOND, "head.transformer.blocks.#."),
    )


def num_codebooks(state: Mapping[str, Tensor]) -> int:
    """Codebooks of a position."""
    return max(1, sum(name.startswith("output_") for name in state))


def sizes(state: Mapping[str, Tensor], *, heads: int, shape: Sequence[int]) -> GptConfig:
    """The sizes of a generator.

    Args:
        heads, shape: of the attention, and of a string, which tensors do not say.

    Raises:
        KeyError: a tensor is missing that tells of sizes.
        ValueError: sizes that are none.
    """
    count = num_codebooks(state)
    outs = ["output.weight"] if count == 1 else [f"output_{number}.weight" for number in range(1, count + 1)]
    trunk = CausalConfig(
        dim=state["norm.weight"].shape[0],
        depth=_depth(state, "layers"),
        heads=heads,
        hidden=state["layers.0.feed_forward.w1.weight"].shape[0],
    )
    head_depth = _depth(state, "ar_head")
    return GptConfig(
        trunk=trunk,
        codebook_sizes=tuple(state[name].shape[0] for name in outs),
        shape=tuple(shape),
        condition=_condition(state),
        head="autoregressive" if head_depth else "parallel",
        head_depth=head_depth,
    )


def _condition(state: Mapping[str, Tensor]) -> ClassConfig | CaptionConfig:
    if CLASSES in state:
        return ClassConfig(num_classes=state[CLASSES].shape[0] - 1)
    num_tokens, width = state[NO_CAPTION].shape
    return CaptionConfig(num_tokens=num_tokens, embedding_dim=width)


def _depth(state: Mapping[str, Tensor], under: str) -> int:
    """Blocks that are numbered from 0 under a name."""
    return len({name.split(".")[1] for name in state if name.startswith(f"{under}.")})
