"""Generators of others: what a table of tensors is, by which network, and over whose strings."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor

from vtok.errors import WeightsError
from vtok.models.gpt import GptConfig
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.registry import family
from vtok.tokenizers.spec import TokenSpec
from vtok.weights.convert import llamagen_gpt, maskgit, rar
from vtok.weights.convert.names import Rule
from vtok.weights.convert.official import OFFICIAL
from vtok.weights.table import TABLE

HEAD_WIDTH = 64  # of LlamaGen's and FAR's networks, but for those listed
_HEADS = {3200: 32, 4096: 32}
_MASKED = {32: "titok_l32.imagenet", 64: "titok_b64.imagenet", 128: "titok_s128.imagenet"}
_AMBIGUOUS = (
    "the files of One-D-Piece's three generators look alike; say whose strings they make: --tokenizer one_d_piece_b256.imagenet, say"
)
_SIDE = re.compile(r"_(256|384|512)(?:\D|$)")


def is_generator(state: Mapping[str, Tensor]) -> bool:
    """Whether these are tensors of a generator."""
    return any(name in state for name in ("layers.0.attention.wqkv.weight", "target_aware_pos_embed")) or _is_masked(state)


def found_generator(state: Mapping[str, Tensor], *, tokenizer: str | None, file: str) -> tuple[str, BaseModel, tuple[Rule, ...]]:
    """Family, configuration and names of a generator.

    Args:
        tokenizer: whose strings it makes, by name or folder; None for the one that it was published with.
        file: its name, in which LlamaGen says how large its pictures are.

    Raises:
        KeyError: a tensor is missing that tells of sizes.
        ValueError: sizes that are none.
        WeightsError: the tokenizer is not known, or makes other strings.
    """
    if "target_aware_pos_embed" in state:
        network: Any = rar.sizes(state)
        return _made("rar", network, rar.RAR, tokenizer or "maskgit_vqgan.imagenet", 256)
    if _is_masked(state):
        network = maskgit.sizes(state)
        own = tokenizer or _MASKED.get(network.num_tokens)
        if own is None:
            raise WeightsError(_AMBIGUOUS)
        return _made("maskgit", network, maskgit.BERT if maskgit.is_bert(state) else maskgit.UVIT, own, 256)
    told = _SIDE.search(file)
    side = int(told[1]) if told else 256
    dim = state["norm.weight"].shape[0]
    network = llamagen_gpt.sizes(state, heads=_HEADS.get(dim, dim // HEAD_WIDTH), shape=(side // 16, side // 16))
    published = {1: "llamagen_vq16.imagenet", 2: "fqgan_dual_vq16.imagenet", 3: "fqgan_triple_vq16.imagenet"}
    count = len(network.codebook_sizes)
    return _made("gpt", network, llamagen_gpt.rules(count), tokenizer or published.get(count, ""), side)


def network_of(config: BaseModel) -> BaseModel | None:
    """The network of a generator's configuration; None of a tokenizer's."""
    network = getattr(config, "network", None)
    return network if isinstance(network, BaseModel) else None


def network_in_words(config: Any) -> str:
    """`12 blocks, 768 wide, 12 heads; 256 tokens of 16,384 codes, those of llamagen_vq16.imagenet`."""
    spec, network = TokenSpec.from_json(config.spec), config.network
    sizes = network.trunk if isinstance(network, GptConfig) else network
    codes = " + ".join(f"{size:,}" for size in spec.codebook_sizes)
    blocks = f"{sizes.depth} blocks, {sizes.dim} wide, {sizes.heads} heads"
    return f"{blocks}; {spec.max_tokens:,} tokens of {codes} codes, those of {config.tokenizer}"


def _made(name: str, network: BaseModel, rules: tuple[Rule, ...], tokenizer: str, side: int) -> tuple[str, BaseModel, tuple[Rule, ...]]:
    spec, digest = _strings_of(tokenizer, side)
    config = family(name).Config(tokenizer=tokenizer, code_digest=digest, spec=spec.to_json(), network=network)
    return name, config, tuple(replace(rule, ours=f"network.{rule.ours}") for rule in rules)


def _strings_of(tokenizer: str, side: int) -> tuple[TokenSpec, str]:
    """The strings of a tokenizer at so many pixels a side, and its code digest where it is at hand."""
    row = TABLE.get(tokenizer)
    if row is None or row.official is None:
        from vtok.weights.load import load_tokenizer

        model = load_tokenizer(tokenizer)
        return model.spec_for(*(model.spec.input_size if model.spec.grid is None else (side, side))), model.code_digest
    name, config = OFFICIAL[row.official]
    with torch.device("meta"):
        made: Any = family(name)(config)
    if not isinstance(made, Tokenizer):
        raise WeightsError(f"{tokenizer} is no tokenizer with ids")
    return made.spec_for(*(made.spec.input_size if made.spec.grid is None else (side, side))), ""


def _is_masked(state: Mapping[str, Tensor]) -> bool:
    return maskgit.is_bert(state) or ("mid_block.attn.qkv.weight" in state and "pos_embed" in state)
