"""LlamaGen's VQ computes what the published implementation computes."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from tests.parity import Stored
from tests.tokenizers.titok_fixtures import gradients, watched
from vtok.models.quantizers.codebook_training import CodebookTrainingConfig
from vtok.models.quantizers.entropy import EntropyConfig, entropy_penalty
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.llamagen_vq import LlamagenVq
from vtok.train.codebook_steps import CodebookSteps
from vtok.weights.convert import recognise
from vtok.weights.convert.upstream import build

pytestmark = pytest.mark.parity


def as_map(values: Tensor) -> Tensor:
    """(B, 16 * 16, D) as upstream has it, (B, D, 16, 16)."""
    return values.mT.unflatten(2, (16, 16))


@pytest.mark.parametrize("fixture", ["llamagen_vq"])
def test_the_whole_tokenizer(fixture: str) -> None:
    stored = Stored.load(fixture)
    sizes = stored.config["sizes"]
    found, _ = build(stored.weights, recognise(stored.weights))
    model = LlamagenVq(found.config.model_copy(update={"image_size": sizes["image"]}))
    model.load_state_dict(found.state_dict())
    model.requires_grad_(True)
    quantizer: Any = model.quantizer
    images = (stored.inputs["image"] + 1) / 2

    before_projection = watched(model.head.conv)
    latents = model.latents(images)
    stored.check("encoder_out", before_projection())
    stored.check("pre_quant", as_map(latents))
    quantized = model.quantize(latents)
    stored.check("tokens", quantized.ids[..., 0])
    stored.check("quantised", as_map(quantized.vectors))
    stored.check("reconstruction", 2 * model.decode_map(as_map(quantized.vectors)) - 1)
    tokens = Tokens.full(stored.outputs["tokens"][..., None], model.spec)
    vectors = model.lookup(tokens.ids, tokens.lengths)
    stored.check("codebook_entry", as_map(vectors))
    stored.check("reconstruction_from_tokens", 2 * model.decode_map(as_map(vectors)) - 1)
    torch.testing.assert_close(model.decode(tokens), model.decode_map(as_map(vectors)).clamp(0, 1))

    model.train()
    quantizer.entropy = EntropyConfig()
    weights = CodebookTrainingConfig(commitment=sizes["commit_loss_beta"], entropy=sizes["entropy_loss_ratio"])
    quantized = model.quantize(latents)
    losses = CodebookSteps(quantizer, weights).losses(latents, quantized)
    stored.check("train/vq_loss", losses["codebook"])
    stored.check("train/commit_loss", losses["commitment"])
    stored.check("train/entropy_loss", losses["entropy"])
    used = {0, *quantized.ids.flatten().tolist()}  # upstream counts the zeros of a queue that is not full
    stored.check("train/codebook_usage", len(used) / sizes["codebook_size"])
    error = 4 * mse_loss(model.decode_map(as_map(quantized.vectors)), images)  # upstream's pictures reach from -1 to 1
    stored.check("train/rec_l2", error)
    (error + torch.stack(list(losses.values())).sum()).backward()
    stored.check_gradients("grad/", gradients(model))

    affinity = stored.inputs["affinity"]
    stored.check("entropy_fn", entropy_penalty(affinity, torch.eye(affinity.shape[1]), EntropyConfig()))
    assert stored.unchecked() == set()
