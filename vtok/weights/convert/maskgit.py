"""The masked generators of TiTok's and One-D-Piece's repositories: names and sizes of their tensors."""

from collections.abc import Mapping

from torch import Tensor

from vtok.models.mask_bert import MaskBertConfig
from vtok.models.mask_uvit import MaskUvitConfig
from vtok.weights.convert.names import NO_BATCH, Rule

_THEIRS, _OURS = "model.encoder.layer.#.", "blocks.#."
BERT = (
    Rule("model.embeddings.word_embeddings.", "table."),
    Rule("model.embeddings.position_embeddings.weight", "positions"),
    Rule("model.embeddings.token_type_embeddings.weight", "kinds"),
    Rule("model.embeddings.LayerNorm.", "norm."),
    *(Rule(f"{_THEIRS}attention.self.{name}.", f"{_OURS}qkv.", part=(i, 3)) for i, name in enumerate(("query", "key", "value"))),
    Rule(f"{_THEIRS}attention.output.dense.", f"{_OURS}attention_out."),
    Rule(f"{_THEIRS}attention.output.LayerNorm.", f"{_OURS}attention_norm."),
    Rule(f"{_THEIRS}intermediate.dense.", f"{_OURS}mlp_in."),
    Rule(f"{_THEIRS}output.dense.", f"{_OURS}mlp_out."),
    Rule(f"{_THEIRS}output.LayerNorm.", f"{_OURS}mlp_norm."),
    Rule("model.lm_head.", "head."),
)
IGNORED = frozenset({"model.embeddings.position_ids"})  # numbers from 0, which older versions of a library kept


def _uvit_block(theirs: str, ours: str) -> tuple[Rule, ...]:
    names = {
        "norm1.": "attention_norm.",
        "attn.qkv.": "qkv.",
        "attn.proj.": "attention_out.",
        "norm2.": "mlp_norm.",
        "mlp.fc1.": "mlp_in.",
        "mlp.fc2.": "mlp_out.",
        "skip_linear.": "join.",
    }
    return tuple(Rule(theirs + name, ours + own) for name, own in names.items())


UVIT = (
    Rule("embeddings.", "table."),
    Rule("pos_embed", "positions", NO_BATCH),
    *_uvit_block("in_blocks.#.", "early.#."),
    *_uvit_block("mid_block.", "middle."),
    *_uvit_block("out_blocks.#.", "late.#."),
    Rule("norm.", "norm."),
    Rule("lm_head.", "head."),
)


def is_bert(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors of a BERT, rather than of a U-ViT."""
    return "model.embeddings.word_embeddings.weight" in state


def sizes(state: Mapping[str, Tensor], *, heads: int = 16) -> MaskBertConfig | MaskUvitConfig:
    """The sizes of a generator.

    Args:
        heads: of the attention, which tensors do not say.

    Raises:
        KeyError: a tensor is missing that tells of sizes.
        ValueError: sizes that are none.
    """
    if is_bert(state):
        rows, dim = state["model.embeddings.word_embeddings.weight"].shape
        num_codes = state["model.lm_head.weight"].shape[0]
        return MaskBertConfig(
            num_codes=num_codes,
            num_tokens=state["model.embeddings.position_embeddings.weight"].shape[0] - 1,
            num_classes=rows - num_codes - 2,
            dim=dim,
            depth=_depth(state, "model.encoder.layer."),
            heads=heads,
            hidden=state["model.encoder.layer.0.intermediate.dense.weight"].shape[0],
        )
    rows, dim = state["embeddings.weight"].shape
    num_codes = state["lm_head.weight"].shape[0]
    return MaskUvitConfig(
        num_codes=num_codes,
        num_tokens=state["pos_embed"].shape[1] - 1,
        num_classes=rows - num_codes - 2,
        dim=dim,
        depth=2 * _depth(state, "in_blocks."),
        heads=heads,
        hidden=state["mid_block.mlp.fc1.weight"].shape[0],
    )


def _depth(state: Mapping[str, Tensor], under: str) -> int:
    return len({name.removeprefix(under).split(".")[0] for name in state if name.startswith(under)})
