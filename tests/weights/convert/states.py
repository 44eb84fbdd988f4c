"""Small tables of tensors as upstream's repositories store them."""

from typing import Any

import torch
from torch import Tensor

from vtok.tokenizers.maskgit_vqgan import MaskgitVqgan, MaskgitVqganConfig
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.registry import FAMILIES, family
from vtok.tokenizers.titok import TINY_PIXELS
from vtok.weights.convert import Hints, to_upstream

KINDS = [name for name in FAMILIES if name not in ("flextok", "linear", "nested", "vae")]  # the others have no upstream or one of its own
PROXIES = [name for name in KINDS if name.endswith("_proxy")]
HINTS = {name: Hints(nested=name.startswith("one_d_piece"), heads=2, scales=(1, 2, 4)) for name in KINDS}


def tiny(name: str) -> Any:
    """The family's model for tests."""
    return family(name).tiny()  # type: ignore[attr-defined]


def random_state(model: Pretrained, seed: int = 0) -> dict[str, Tensor]:
    """Upstream's tensors of such a model, all of them random."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(value.shape, generator=generator) for name, value in to_upstream(model).items()}


def state_of(name: str) -> dict[str, Tensor]:
    """Upstream's tensors of a family at its tiny size."""
    return random_state(tiny(name))


def proxy_state() -> dict[str, Tensor]:
    """The MaskGIT-VQGAN that the tiny first stages name codes of."""
    return random_state(MaskgitVqgan(MaskgitVqganConfig(image_size=32, **TINY_PIXELS.model_dump())), seed=1)


def with_proxy(name: str) -> dict[str, Any]:
    """What else goes to `from_upstream` beside the tensors of a family."""
    return {"hints": HINTS[name], "proxy": proxy_state() if name in PROXIES else None}


def tree_of(**own: Any) -> dict[str, Any]:
    """The configuration that upstream would store with the tiny one-stage TiTok, with some values of one's own; None leaves one out."""
    said = {
        "codebook_size": 32,
        "token_size": 5,
        "use_l2_norm": False,
        "commitment_cost": 0.25,
        "vit_enc_patch_size": 8,
        "vit_dec_patch_size": 8,
        "num_latent_tokens": 6,
        "finetune_decoder": False,
        "is_legacy": False,
        "quantize_mode": "vq",
    }
    model = {key: value for key, value in (said | own).items() if value is not None and key != "crop_size"}
    return {
        "experiment": {"project": "tests"},
        "model": {"vq_model": model},
        "dataset": {"preprocessing": {"crop_size": own.get("crop_size", 32)}},
    }
