"""FQGAN, dual and triple, as its repository has it: tensors and sizes."""

import math
from collections.abc import Iterable, Mapping

from torch import Tensor

from vtok.errors import WeightsError
from vtok.models.quantizers.part_config import VqPart
from vtok.tokenizers.fqgan import BranchConfig, FqganConfig
from vtok.weights.convert.conv import DECODER_RULES, ENCODER_RULES, encoder_sizes, head_rules, is_conv
from vtok.weights.convert.names import TABLES, Rule
from vtok.weights.convert.sizes import count
from vtok.weights.convert.titok import HEAD_WIDTH, Hints, transformer_rules

# Branches in the order of their sub-tokens, which is that of the decoder's channels: upstream's name, and what it calls the adapter.
DUAL = {"vis": "visual_head", "sem": "semantic_head"}
TRIPLE = {"vis": "visual_head", "sem_mid": "semantic_head_mid", "sem_high": "semantic_head_high"}
QUANTIZERS = [f"quantize_{name}." for name in (*DUAL, *TRIPLE)]
# Heads that predict a frozen network's features, and the ids that were last used: of the training alone.
NOT_NEEDED = ("feat_pred_head.", "mid_sem_feat_pred.", "high_sem_feat_pred.", *(f"{name}codebook_used" for name in QUANTIZERS))


def is_fqgan(state: Mapping[str, Tensor]) -> bool:
    """Whether a state is one."""
    return is_conv(state) and "quantize_vis.embedding.weight" in state


def rules(names: Iterable[str]) -> tuple[Rule, ...]:
    """All names of the dual or the triple model.

    Args:
        names: upstream's or ours, of which they are told.

    Raises:
        WeightsError: another number of branches.
    """
    found = list(names)
    num_branches = count(found, "branches.#.") or (3 if "quantize_sem_mid.embedding.weight" in found else 2)
    if num_branches not in (2, 3):
        raise WeightsError(f"has {num_branches} branches, upstream's models have 2 or 3")
    return (*ENCODER_RULES, *_branch_rules(DUAL if num_branches == 2 else TRIPLE), *DECODER_RULES)


def sizes(state: Mapping[str, Tensor], hints: Hints) -> FqganConfig:
    """The sizes of a whole FQGAN.

    Raises:
        KeyError: a tensor is missing that tells of sizes.
        ValueError: sizes that are none.
    """
    adapters = DUAL if "quantize_sem.embedding.weight" in state else TRIPLE
    own = encoder_sizes(state)
    places, width = state[f"encoder.{adapters['vis']}.0.positional_embedding"].shape
    image_size = math.isqrt(places) * 2 ** (len(own["multiples"]) - 1)
    branches = []
    for name, adapter in adapters.items():
        codebook_size, dim = state[f"quantize_{name}.embedding.weight"].shape
        quantizer = VqPart(kind="spherical_vq", dim=dim, codebook_size=codebook_size)
        depth = count(state, f"encoder.{adapter}.0.transformer.#.")
        branches.append(BranchConfig(name=name, depth=depth, heads=hints.heads or max(1, width // HEAD_WIDTH), quantizer=quantizer))
    return FqganConfig(**own, image_size=image_size, branches=tuple(branches))


def _branch_rules(adapters: Mapping[str, str]) -> tuple[Rule, ...]:
    return tuple(
        rule
        for number, (name, adapter) in enumerate(adapters.items())
        for rule in (
            *transformer_rules(f"encoder.{adapter}.0.", f"branches.{number}.adapter."),
            *head_rules(f"encoder.norm_out_{name}", f"encoder.conv_out_{name}", f"quant_conv_{name}", f"branches.{number}.head."),
            Rule(f"quantize_{name}.embedding.weight", f"quantizer.parts.{number}.codes", TABLES),
        )
    )
