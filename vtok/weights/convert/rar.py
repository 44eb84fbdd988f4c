"""RAR's generators: names and sizes of their tensors."""

from collections.abc import Mapping

from torch import Tensor

from vtok.models.rar import RarConfig
from vtok.weights.convert.names import NO_BATCH, Rule, Shape

_VECTOR = Shape(lambda x: x[0, 0], lambda x: x[None, None])
_NAMES = {
    "norm1.": "attention_norm.",
    "norm2.": "mlp_norm.",
    "attn.qkv.": "qkv.",
    "attn.q_norm.": "q_norm.",
    "attn.k_norm.": "k_norm.",
    "attn.proj.": "attention_out.",
    "mlp.fc1.": "mlp_in.",
    "mlp.fc2.": "mlp_out.",
    "adaLN_modulation.1.": "modulation.",
}
RAR = (
    Rule("cls_token", "start", _VECTOR),
    Rule("embeddings.", "table."),
    Rule("pos_embed", "positions", NO_BATCH),
    Rule("target_aware_pos_embed", "next_positions", NO_BATCH),
    Rule("timesteps_embeddings", "steps", NO_BATCH),
    *(Rule(f"blocks.#.{theirs}", f"blocks.#.{ours}") for theirs, ours in _NAMES.items()),
    Rule("adaln_before_head.adaLN_modulation.1.", "modulation."),
    Rule("lm_head.", "head."),
)


def sizes(state: Mapping[str, Tensor], *, num_tokens: int = 256) -> RarConfig:
    """The sizes of a generator.

    Args:
        num_tokens: of a string, which tensors do not say.

    Raises:
        KeyError: a tensor is missing that tells of sizes.
        ValueError: sizes that are none.
    """
    rows, dim = state["embeddings.weight"].shape
    num_codes = state["lm_head.weight"].shape[0]
    return RarConfig(
        num_codes=num_codes,
        num_tokens=num_tokens,
        num_classes=rows - num_codes - 2,
        dim=dim,
        depth=len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
        heads=dim // state["blocks.0.attn.q_norm.weight"].shape[0],
        hidden=state["blocks.0.mlp.fc1.weight"].shape[0],
        rows=(state["pos_embed"].shape[1], state["timesteps_embeddings"].shape[1]),
    )
