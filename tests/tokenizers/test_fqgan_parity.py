"""FQGAN, dual and triple, computes what the published implementations compute."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from tests.parity import Stored
from tests.tokenizers.titok_fixtures import gradients
from vtok.models.class_feature_head import ClassFeatureHead
from vtok.models.quantizers.codebook_training import CodebookTrainingConfig
from vtok.models.quantizers.entropy import EntropyConfig
from vtok.models.transformer import TransformerConfig
from vtok.tokenizers.fqgan import FqganTokenizer
from vtok.train.codebook_steps import CodebookSteps
from vtok.train.losses.class_features import contrast
from vtok.train.losses.class_teacher import KINDS, ClassTeacher
from vtok.weights.convert import Hints, recognise, to_upstream
from vtok.weights.convert.names import Rule, to_ours, to_theirs
from vtok.weights.convert.titok import transformer_rules
from vtok.weights.convert.upstream import build

pytestmark = pytest.mark.parity

# Of each head: upstream's name, what the pictures are prepared for, and the end of the names of what it gives.
HEADS = {
    "sem": ("feat_pred_head", "clip", ""),
    "sem_mid": ("mid_sem_feat_pred", "dino", "_mid"),
    "sem_high": ("high_sem_feat_pred", "clip", "_high"),
}
TOWERS = {"clip": "clip", "dino": "dinov2"}


def model_of(stored: Stored) -> Any:
    """The fixture's model; one without a decoder gets a random one."""
    state = {name: value.float() for name, value in stored.weights.items()}
    found = recognise(state, hints=Hints(heads=stored.config["sizes"]["adapter_heads"]))
    if "decoder.conv_in.weight" not in state:
        random = to_upstream(FqganTokenizer(found.config))  # type: ignore[arg-type]
        state = {name: value for name, value in random.items() if name.startswith("decoder.")} | state
    model, extra = build(state, found)
    assert all("feat_pred" in name for name in extra)
    return model.requires_grad_(True)


def head_rules(name: str) -> tuple[Rule, ...]:
    return (*transformer_rules(f"{name}.", ""), Rule(f"{name}.upscale.", "widen."))


def head_of(stored: Stored, name: str) -> ClassFeatureHead:
    sizes = stored.config["sizes"]
    state = to_ours({key: value.float() for key, value in stored.weights.items()}, head_rules(name))
    config = TransformerConfig(dim=state["class_token"].shape[1], depth=sizes["pred_head_layers"], heads=sizes["pred_head_heads"])
    head = ClassFeatureHead(config, sizes["codebook_embed_dim"], len(state["positions"]) - 1)
    head.load_state_dict(state)
    return head


def as_map(values: Tensor) -> Tensor:
    """(B, 4 * 4, D) as upstream has it, (B, D, 4, 4)."""
    return values.mT.unflatten(2, (4, 4))


def check_strings(stored: Stored, model: Any) -> None:
    latents = model.latents((stored.inputs["image"] + 1) / 2)
    quantized = model.quantize(latents)
    for number, branch in enumerate(model.config.branches):
        stored.check(f"eval/prequant_{branch.name}", as_map(model.quantizer.slices(latents)[number]))
        stored.check(f"eval/quant_{branch.name}", as_map(model.quantizer.slices(quantized.vectors)[number]))
        stored.check(f"eval/ids_{branch.name}", quantized.ids[..., number].flatten())
    if "eval/post_quant" in stored.outputs:
        stored.check("eval/post_quant", model.decoder.project(as_map(quantized.vectors)))
        return
    stored.check("eval/recon", 2 * model.decode_map(as_map(quantized.vectors)) - 1)
    ids = torch.stack([stored.outputs[f"eval/ids_{branch.name}"].view(2, 16) for branch in model.config.branches], 2)
    from_ids = model.decode_map(as_map(model.lookup(ids, torch.full((2,), 16))))
    stored.check("eval/recon_from_ids", 2 * from_ids - 1)


def quantizer_losses(stored: Stored, model: Any, latents: Tensor, quantized: Any) -> Tensor:
    """What the quantizer costs, each branch alone and all together."""
    sizes = stored.config["sizes"]
    chosen = {"commitment": sizes["commit_loss_beta"], "codebook": 1.0, "entropy": sizes["entropy_loss_ratio"]}
    for branch, part, own in zip(model.config.branches, model.quantizer.parts, model.quantizer.slices(latents), strict=True):
        found = CodebookSteps(part, CodebookTrainingConfig(**chosen)).losses(own, part(own))
        for name, theirs in (("codebook", "vq"), ("commitment", "commit"), ("entropy", "entropy")):
            stored.check(f"train/{theirs}_loss_{branch.name}", found[name])
    weights = CodebookTrainingConfig(**chosen, disentanglement=sizes["disentanglement_ratio"])
    together = CodebookSteps(model.quantizer, weights).losses(latents, quantized)
    stored.check("train/disentangle_loss", together["disentanglement"])
    return torch.stack(list(together.values())).sum()


@pytest.mark.parametrize("fixture", ["fqgan_model", "fqgan_model_triple"])
def test_the_whole_tokenizer_with_what_it_is_trained_by(fixture: str) -> None:
    stored = Stored.load(fixture)
    model = model_of(stored)
    check_strings(stored, model)
    model.train()
    for part in model.quantizer.parts:
        part.entropy = EntropyConfig()
    images = (stored.inputs["image"] + 1) / 2
    latents = model.latents(images)
    quantized = model.quantize(latents)
    total = quantizer_losses(stored, model, latents, quantized)
    if "train/recon" in stored.outputs:
        pictures = model.decode_map(as_map(quantized.vectors))
        stored.check("train/recon", 2 * pictures - 1)
        total = total + 4 * mse_loss(pictures, images)  # upstream's pictures reach from -1 to 1

    heads: dict[str, ClassFeatureHead] = {}
    for branch, vectors in zip(model.config.branches, model.quantizer.slices(quantized.vectors), strict=True):
        if branch.name not in HEADS:
            continue
        name, tower, ending = HEADS[branch.name]
        heads[name] = head = head_of(stored, name)
        predicted = head(vectors)
        stored.check(f"eval/pred_feat{ending}", predicted)
        loss = contrast(predicted[:, 0], stored.inputs[f"{tower}_hidden"][:, 0])
        stored.check(f"train/rep_loss_{tower}", loss)
        _, mean, std = KINDS[TOWERS[tower]]
        shown = ClassTeacher(nn.Identity(), mean, std, 1).shown(images)
        stored.check(f"train/{tower}_input_strided", shown[..., ::16, ::16])
        total = total + stored.config["sizes"]["semantic_weight"] * loss
    stored.check("train/total", total)

    total.backward()
    found = gradients(model)
    for name, head in heads.items():
        own = {key: value.grad for key, value in head.named_parameters() if value.grad is not None}
        found |= to_theirs(own, head_rules(name))
    stored.check_gradients("train/grad/", found)
    assert stored.unchecked() == set()
