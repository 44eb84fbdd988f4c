"""The networks of official generators, by the names that their papers give them."""

from pydantic import BaseModel

from vtok.models.causal_transformer import CausalConfig
from vtok.models.conditions import CaptionConfig, ClassConfig
from vtok.models.gpt import GptConfig
from vtok.models.mask_bert import MaskBertConfig
from vtok.models.mask_uvit import MaskUvitConfig
from vtok.models.rar import RarConfig


def _gpt(dim: int, depth: int, heads: int, hidden: int, side: int, *, text: bool = False) -> GptConfig:
    trunk = CausalConfig(dim=dim, depth=depth, heads=heads, hidden=hidden)
    return GptConfig(trunk=trunk, shape=(side, side), condition=CaptionConfig() if text else ClassConfig())


def _rar(dim: int, depth: int, hidden: int) -> RarConfig:
    return RarConfig(dim=dim, depth=depth, heads=16, hidden=hidden)


OFFICIAL_GENERATORS: dict[str, BaseModel] = {
    "LlamaGen-B": _gpt(768, 12, 12, 2048, 16),
    "LlamaGen-B 384": _gpt(768, 12, 12, 2048, 24),
    "LlamaGen-L": _gpt(1024, 24, 16, 2816, 16),
    "LlamaGen-L 384": _gpt(1024, 24, 16, 2816, 24),
    "LlamaGen-XL 384": _gpt(1280, 36, 20, 3584, 24),
    "LlamaGen-XXL 384": _gpt(1536, 48, 24, 4096, 24),
    "LlamaGen-3B 384": _gpt(3200, 24, 32, 8704, 24),
    "LlamaGen-XL text": _gpt(1280, 36, 20, 3584, 16, text=True),
    "LlamaGen-XL text 512": _gpt(1280, 36, 20, 3584, 32, text=True),
    "MaskGIT TiTok-L-32": MaskBertConfig(num_tokens=32),
    "MaskGIT TiTok-B-64": MaskBertConfig(num_tokens=64),
    "MaskGIT TiTok-S-128": MaskUvitConfig(num_tokens=128, dim=1024, depth=20, hidden=4096),
    "MaskGIT One-D-Piece": MaskBertConfig(num_tokens=256),
    "RAR-B": _rar(768, 24, 3072),
    "RAR-L": _rar(1024, 24, 4096),
    "RAR-XL": _rar(1280, 32, 5120),
    "RAR-XXL": _rar(1408, 40, 6144),
}


def official_generator(network: BaseModel) -> str | None:
    """The official generator of a network."""
    return next((name for name, own in OFFICIAL_GENERATORS.items() if own == network), None)
