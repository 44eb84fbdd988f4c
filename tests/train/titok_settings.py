"""The objectives of the TiTok line at sizes where a step takes milliseconds, and batches for them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from vtok.train import TABLE
from vtok.train.config import DataConfig, check
from vtok.train.samples.batch import Batch
from vtok.train.samples.pictures import open_pictures

SIDE, TOKENS, DIM = 32, 6, 5
VIT = {"dim": 16, "depth": 2, "heads": 2, "patch_size": 8}
PAIR = {"image_size": SIDE, "encoder": VIT, "decoder": VIT}
VQ = {"num_tokens": TOKENS, "dim": DIM, "codebook_size": 32}
PIXELS = {"dim": 32, "multiples": [1, 2, 1, 1], "num_blocks": 1, "latent_dim": 4, "codebook_size": 16}
DISCRIMINATOR = {"kind": "blur_pool", "dim": 32, "depth": 1}
ADVERSARY = {"discriminator": DISCRIMINATOR, "weight": 0.1, "first_step": 2, "warmup_steps": 0, "lecam": 0.5, "lecam_decay": 0.5}
TRAINED = {"network": {"learning_rate": 3e-3, "warmup_steps": 0}}
ON_PIXELS = TRAINED | {"pictures": {"l2": 1.0, "lpips": 0}}
STAGE1: dict[str, Any] = TRAINED | {
    "proxy": "random",
    "random_proxy": PIXELS | {"image_size": SIDE},
    "model": PAIR | {"quantizer": VQ | {"kind": "spherical_vq"}},
}


def stage2(family: str) -> dict[str, Any]:
    model = PAIR | {"quantizer": VQ | {"kind": "spherical_vq"}, "pixels": PIXELS}
    return ON_PIXELS | {"start": "random", "random_start": {"family": family, "model": model}}


TEXT = {"text": {"length": 40, "dim": 8}}
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "stage 1 of titok": ("titok_stage1", STAGE1 | {"prefix": "full"}),
    "stage 1 of one_d_piece": ("titok_stage1", STAGE1 | {"prefix": "tail_drop"}),
    "stage 2 of titok": ("titok_stage2", stage2("titok")),
    "stage 2 of one_d_piece": ("titok_stage2", stage2("one_d_piece")),
    "titok_pixel": ("titok_pixel", ON_PIXELS | {"model": PAIR | {"quantizer": VQ}}),
    "titok_vae": ("titok_vae", ON_PIXELS | {"model": PAIR | {"num_tokens": TOKENS, "dim": DIM}}),
    "tatitok": ("tatitok", ON_PIXELS | {"text": "random", "model": PAIR | {"quantizer": VQ} | TEXT, "vq": {"learning": "clustering"}}),
    "tatitok_vae": ("tatitok_vae", ON_PIXELS | {"text": "random", "model": PAIR | {"num_tokens": TOKENS, "dim": DIM} | TEXT}),
}  # fmt: skip
ON_PICTURES = [case for case, (name, _) in SETTINGS.items() if name != "titok_stage1"]
CONTINUOUS = ["titok_vae", "tatitok_vae"]
SYNTHETIC = DataConfig(kind="synthetic", num_synthetic=6, crop_size=SIDE, captions=True)


def an_objective(case: str, **changes: Any) -> Any:
    """An objective before it begins, with changes to its settings."""
    name, settings = SETTINGS[case]
    return made(name, settings | changes)


def made(name: str, settings: Mapping[str, Any]) -> Any:
    module, _, class_name = TABLE[name].partition(":")
    kind = getattr(import_module(module), class_name)
    return kind(check(kind.Config, settings, f"[{name}]"))


def begun(case: str, seed: int = 0, **changes: Any) -> Any:
    """An objective that has begun."""
    objective = an_objective(case, **changes)
    tokenizer = objective.prepare(open_pictures(SYNTHETIC, 0), torch.Generator().manual_seed(seed))
    torch.manual_seed(0)
    objective.begin(tokenizer, seed=seed)
    return objective


def a_batch(step: int = 0, num: int = 4) -> Batch:
    coarse = torch.rand(num, 3, 4, 4, generator=torch.Generator().manual_seed(step))
    images = nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
    return Batch(images, None, torch.arange(num), step, tuple(f"picture {i} of {num}" for i in range(num)))


def halves(batch: Batch) -> list[Batch]:
    half = len(batch.images) // 2
    parts = (slice(0, half), slice(half, None))
    texts = batch.captions or ()
    return [replace(batch, images=batch.images[part], indices=batch.indices[part], captions=texts[part]) for part in parts]


def total(losses: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
    return torch.stack([value for own in losses.values() for value in own.values()]).sum()


def figures(objective: Any, batch: Batch) -> dict[str, float]:
    """Losses as "group/name"; what the step coded is forgotten."""
    told = {f"{group}/{name}": float(value.detach()) for group, own in objective.losses(batch).items() for name, value in own.items()}
    forget(objective)
    return told


def forget(objective: Any) -> None:
    if hasattr(objective, "vq"):
        objective.vq._coded.clear()


def lengths_of(objective: Any, steps: Sequence[int], num: int = 4) -> list[list[int]]:
    """Tokens that each sample of a step is decoded from."""
    return [objective.lengths(a_batch(step, num), objective.model.spec)[0].tolist() for step in steps]
