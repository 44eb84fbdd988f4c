"""Which parameters of the TiTok line are decayed, by the names of the published lists."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from tests.parity import Stored
from tests.train.titok_settings import SETTINGS, VIT, an_objective, begun, stage2
from vtok.tokenizers.pretrained import Pretrained
from vtok.train.config import TrainConfig
from vtok.train.engine.steps import Stepper
from vtok.weights.convert import to_upstream

every_case = pytest.mark.parametrize("case", SETTINGS)


@torch.no_grad()
def upstream_names(model: Pretrained) -> dict[int, str]:
    """Upstream's name of each parameter by the parameter's identity."""
    numbered = deepcopy(model)
    for number, parameter in enumerate(numbered.parameters()):
        parameter.fill_(number)
    identities = [id(parameter) for parameter in model.parameters()]
    return {identities[int(value.flatten()[0])]: name for name, value in to_upstream(numbered).items()}


def decayed_and_not(objective: Any) -> tuple[set[str], set[str]]:
    by_identity = upstream_names(objective.model)
    (optimizer,) = Stepper(objective, TrainConfig(steps=1), Accelerator(cpu=True)).optimizers
    decayed: set[str] = set()
    plain: set[str] = set()
    for part in optimizer.param_groups:
        (decayed if part["weight_decay"] else plain).update(by_identity[id(parameter)] for parameter in part["params"])
    return decayed, plain


@pytest.mark.parity
@pytest.mark.parametrize("embeddings", [False, True])
def test_what_is_decayed_in_the_second_stage_is_as_published(embeddings: bool) -> None:
    lists = Stored.load("titok_schedules").config["sizes"]
    settings = stage2("titok")
    one_layer = VIT | {"depth": 1}
    pixels = {"dim": 32, "multiples": [1, 2], "num_blocks": 1, "latent_dim": 4, "codebook_size": 16}
    random_start = settings["random_start"]
    model = random_start["model"] | {"encoder": one_layer, "decoder": one_layer, "pixels": pixels}
    objective = begun("stage 2 of titok", random_start=random_start | {"model": model}, decay_embeddings=embeddings)
    decayed, plain = decayed_and_not(objective)
    moved = {"decoder.decoder_embed.weight"} if embeddings else set()
    assert decayed == set(lists["decayed"]) | moved
    assert plain == set(lists["not_decayed"]) - moved
    trained = {id(parameter) for parameter in objective.groups[0].parameters}
    assert {name for identity, name in upstream_names(objective.model).items() if identity not in trained} == set(lists["frozen"])


@every_case
@pytest.mark.parametrize("embeddings", [False, True])
def test_tables_and_what_has_one_axis_are_never_decayed(case: str, embeddings: bool) -> None:
    decayed, plain = decayed_and_not(begun(case, decay_embeddings=embeddings))
    words = ("ln_", "bias", "latent_tokens", "mask_token", "embedding", "norm")  # the published rule
    embeds = {name for name in decayed | plain if name.endswith(("patch_embed.weight", "decoder_embed.weight"))}
    assert plain == {name for name in decayed | plain if any(word in name for word in words)} | (set() if embeddings else embeds)
    assert len(embeds) == (1 if case.startswith("stage 2") else 2)


@every_case
def test_the_optimizers_settings_are_those_of_the_line(case: str) -> None:
    settings = an_objective(case, network={}).config.network
    assert settings.model_dump() == {
        "learning_rate": 1e-4,
        "warmup_steps": 10_000,
        "final_share": 0.1,
        "cooldown": 1.0,
        "betas": (0.9, 0.999),
        "weight_decay": 1e-4,
        "clip": 1.0,
    }
