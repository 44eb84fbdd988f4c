"""TokenFlow computes what the published implementation computes."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from tests.parity import Stored
from tests.tokenizers.titok_fixtures import gradients, watched
from vtok.models.quantizers.codebook_training import CodebookTrainingConfig
from vtok.models.quantizers.entropy import EntropyConfig
from vtok.models.quantizers.maps import as_map
from vtok.tokenizers.base import DecodeOptions, Tokens
from vtok.train.codebook_steps import CodebookSteps
from vtok.train.losses.tower_features import cosine_distance
from vtok.weights.convert import Hints, recognise
from vtok.weights.convert.upstream import build

pytestmark = pytest.mark.parity


def model_of(stored: Stored) -> Any:
    """The fixture's model, whose transformers have different numbers of heads."""
    sizes, state = stored.config["sizes"], {name: value.float() for name, value in stored.weights.items()}
    found = recognise(state, hints=Hints(heads=sizes["vit_heads"], scales=tuple(sizes["scales"])))
    config: Any = found.config
    teller = config.semantic_decoder.model_copy(update={"heads": sizes["semantic_decoder_heads"]})
    image_size = {"image_size": sizes["image_size"], "semantic_decoder": teller}
    model, extra = build(state, replace(found, config=config.model_copy(update=image_size)))
    assert extra == ()
    return model.requires_grad_(True)


def decoded(model: Any, vectors: Tensor) -> Tensor:
    """Pictures from -1 to 1."""
    lengths = torch.full((len(vectors),), model.spec.max_tokens)
    pictures: Tensor = 2 * model.reconstruct(vectors, lengths, DecodeOptions()).pictures - 1
    return pictures


def check_prefixes(stored: Stored, model: Any) -> None:
    """What is decoded of the stored ids of some scales."""
    ids = stored.outputs["eval/ids"][..., None]
    for num_scales, length in enumerate(model.spec.prefix_lengths, 1):
        if f"eval/recon_from_{num_scales}_scales" not in stored.outputs:
            continue
        for tokens in (Tokens.full(ids[:, :length], model.spec), Tokens.full(ids, model.spec).prefix(length)):
            vectors = model.lookup(tokens.ids, tokens.lengths)
            stored.check(f"eval/recon_from_{num_scales}_scales", decoded(model, vectors))
            stored.check(f"eval/semantic_from_{num_scales}_scales", model.semantics(vectors))
            torch.testing.assert_close(model.decode(tokens), ((decoded(model, vectors) + 1) / 2).clamp(0, 1))
            torch.testing.assert_close(model.semantic_features(tokens), vectors)


@torch.no_grad()
def check_use(stored: Stored, model: Any, latents: Tensor, ids: Tensor) -> None:
    """What upstream watches in training, means over scales."""
    table = model.quantizer.table
    ((coded, rows),) = model.quantizer.coded(latents, ids)
    counts = [len(latents) * count for count in model.quantizer.counts]
    usage, seen = [], {0}  # their window of ids begins with 0
    semantic: list[float] = []
    pixel: list[float] = []
    for own, taken in zip(coded.split(counts, 1), rows.split(counts, 1), strict=True):
        seen |= set(taken.flatten().tolist())
        usage.append(len(seen) / table.codebook_sizes[0])
        pairs = zip(table.parts(table.place(own[0])), table.parts(table.compared()[0]), strict=True)
        for found, (part, codes) in zip((semantic, pixel), pairs, strict=True):
            found.append(float(torch.cdist(part, codes).pow(4).sum(1).mean()))
    for name, values in (("codebook_usage", usage), ("sem_dist_norm", semantic), ("pix_dist_norm", pixel)):
        stored.check(f"train/{name}_mean", sum(values) / len(values))


@pytest.mark.parametrize("fixture", ["tokenflow_model"])
def test_the_whole_tokenizer_with_what_it_is_trained_by(fixture: str) -> None:
    stored = Stored.load(fixture)
    sizes, model = stored.config["sizes"], model_of(stored)
    grid = (model.config.side, model.config.side)
    images = (stored.inputs["image"] + 1) / 2

    semantic, pixels = watched(model.semantic_head), watched(model.head)
    latents = model.latents(images)
    stored.check("eval/semantic_prequant", semantic())
    stored.check("eval/pixel_prequant", pixels())
    quantized = model.quantize(latents)
    stored.check("eval/ids", quantized.ids[..., 0])
    stored.check("eval/quant", as_map(quantized.vectors, grid))
    stored.check("eval/recon", decoded(model, quantized.vectors))
    stored.check("eval/semantic_recon", model.semantics(quantized.vectors))
    assert torch.equal(model.encode(images).ids, quantized.ids)
    check_prefixes(stored, model)

    model.train()
    model.quantizer.table.entropy = EntropyConfig()
    weights = CodebookTrainingConfig(commitment=sizes["commit_loss_beta"], entropy=sizes["entropy_loss_ratio"])
    quantized = model.quantize(latents)
    losses = CodebookSteps(model.quantizer, weights).losses(latents, quantized)
    for own, theirs in (("codebook", "vq"), ("commitment", "commit"), ("entropy", "entropy")):
        stored.check(f"train/{theirs}_loss", losses[own])
    check_use(stored, model, latents, quantized.ids)
    distance = cosine_distance(model.semantics(quantized.vectors), stored.inputs["distill_target"])
    stored.check("train/distill_loss", distance)
    pictures = decoded(model, quantized.vectors)
    stored.check("train/recon", pictures)
    total = mse_loss(pictures, stored.inputs["image"]) + torch.stack(list(losses.values())).sum() + distance
    stored.check("train/total", total)
    total.backward()
    stored.check_gradients("train/grad/", gradients(model))
    assert stored.unchecked() == set()
