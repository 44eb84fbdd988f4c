"""LlamaGen's and FAR's generators against stored values of the published implementations."""

import json
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.parity import Stored
from vtok.generate.autoregressive import Sampling, sample
from vtok.generate.sampling.choose import GREEDY, Choice, kept
from vtok.generate.sampling.guidance import Guidance
from vtok.generate.steps import CachedSteps, WholeSteps
from vtok.models.causal_transformer import whole
from vtok.models.conditions import Captions, condition_mask
from vtok.models.gpt import Gpt
from vtok.weights.convert.llamagen_gpt import num_codebooks, rules, sizes
from vtok.weights.convert.names import to_ours, to_theirs

pytestmark = pytest.mark.parity


def built(stored):
    """The network of a fixture, and its table of names."""
    sizes_of = stored.config["sizes"]
    side = math.isqrt(sizes_of["block_size"])
    state = {name: value.float() for name, value in stored.weights.items()}
    table = rules(num_codebooks(state))
    model = Gpt(sizes(state, heads=sizes_of["n_head"], shape=(side, side)))
    model.load_state_dict(to_ours(state, table))
    return model.eval(), table


def stepwise(model, ids, classes):
    """Logits (B, N, K, V) of strings that are given token by token, with keys and values kept."""
    steps = CachedSteps(model, len(ids), ids.shape[1] - 1, None)
    found, x = [], model.condition(classes, len(ids))
    for number in range(ids.shape[1]):
        found.append(model.head.logits(0, steps(x)))
        x = model.embeddings.next(ids[:, number], number)
    return torch.stack(found, 1)


def test_llamagen_is_met():
    stored = Stored.load("llamagen_gpt")
    sizes_of = stored.config["sizes"]
    model, table = built(stored)
    classes, ids = stored.inputs["class"].long(), stored.inputs["tokens"].long()[..., None]
    with torch.no_grad():
        stored.check("logits_full_pass", model(ids, classes)[0])
        stored.check("logits_full_pass_null_class", model(ids, None)[0])
        stored.check("logits_kv_cache", stepwise(model, ids, classes))
    _check_table(stored, model)
    for name, guidance in {
        "greedy_no_cfg": Guidance(),
        "greedy_cfg": Guidance(sizes_of["cfg_scale"]),
        "greedy_cfg_interval": Guidance(sizes_of["cfg_scale"], stop=sizes_of["cfg_interval"] + 2),
    }.items():
        for steps in (CachedSteps, WholeSteps):
            drawn, _ = sample(model, len(classes), classes, sampling=Sampling(GREEDY, guidance), new_steps=steps)
            stored.check(name, drawn[..., 0])
    _check_filters(stored)
    logits = model(ids, classes)[0]
    stored.check("train_logits", logits)
    loss = cross_entropy(logits.flatten(0, 1), ids.flatten())
    stored.check("train_loss", loss)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    stored.check_gradients("grad/", to_theirs(gradients, table))
    assert not stored.unchecked()


def _check_table(stored, model):
    """Cosines and sines of the pairs of each token; all 0 for the condition."""
    turns = model.turns(len(stored.outputs["rope_table"]))
    stored.check("rope_table", torch.view_as_real(turns))


def _check_filters(stored):
    logits = stored.inputs["filter_logits"]
    for name, choice in {
        "kept_topk0_topp0.7": Choice(top_p=0.7),
        "kept_topk0_topp1.0": Choice(),
        "kept_topk10_topp0.5": Choice(top_k=10, top_p=0.5),
        "kept_topk5_topp1.0": Choice(top_k=5),
    }.items():
        stored.check(name, kept(logits, choice).isfinite().to(stored.outputs[name].dtype))
    stored.check("probs_topk10_topp0.5_temp0.7", kept(logits, Choice(0.7, 10, 0.5)).softmax(-1))


def test_llamagen_with_captions_is_met():
    stored = Stored.load("llamagen_gpt_text")
    model, _ = built(stored)
    ids = stored.inputs["tokens"].long()[..., None]
    captions = Captions(stored.inputs["caption"].float(), stored.inputs["caption_mask"].bool())
    length = model.condition.num_tokens + ids.shape[1]
    with torch.no_grad():
        before = model.condition(captions, len(ids))
        stored.check("caption_embeddings", before)
        stored.check("rope_table", torch.view_as_real(model.turns(length)))
        mask = condition_mask(captions.words, stored.outputs["attention_mask_cond_row"].shape[1])[:, 0]
        stored.check("attention_mask_cond_row", mask.to(stored.outputs["attention_mask_cond_row"].dtype))
        x = torch.cat([before, model.embeddings(ids)[:, :-1]], 1)
        stored.check("logits_full_pass_no_mask", model.head.logits(0, model.trunk(x, model.turns(length - 1), whole())))
    guidance = Guidance(stored.config["sizes"]["cfg_scale"])
    for steps in (CachedSteps, WholeSteps):
        drawn, _ = sample(model, len(ids), captions, sampling=Sampling(GREEDY, guidance), new_steps=steps)
        stored.check("greedy_cfg_masked", drawn[..., 0])
    with torch.no_grad():
        stored.check("logits_cond_masked", model(drawn, captions)[0])
        stored.check("logits_uncond_masked", model(drawn, captions, dropped=torch.ones(len(ids), dtype=torch.bool))[0])
    assert not stored.unchecked()


@pytest.mark.parametrize("fixture", ["fqgan_ar_head", "fqgan_ar_head_triple"])
def test_far_is_met(fixture):
    stored = Stored.load(fixture)
    sizes_of = stored.config["sizes"]
    model, table = built(stored)
    classes = stored.inputs["class_ids"].long()
    books = range(1, sizes_of["k"] + 1)
    ids = torch.stack([stored.inputs[f"idx_{number}"].long() for number in books], 2)
    with torch.no_grad():
        for name, given in (("cond", classes), ("uncond", None)):
            for number, logits in zip(books, model(ids, given), strict=True):
                stored.check(f"incremental/{name}/logits_{number}", logits)
    for name, guidance in (("guided", Guidance(sizes_of["greedy_cfg_scale"])), ("no_guidance", Guidance())):
        for steps in (CachedSteps, WholeSteps):
            drawn, _ = sample(model, len(classes), classes, sampling=Sampling(GREEDY, guidance), new_steps=steps)
            for number in books:
                stored.check(f"greedy/{name}/ids_{number}", drawn[..., number - 1])
    logits = model(ids, classes)
    for number, own in zip(books, logits, strict=True):
        stored.check(f"train/logits_{number}", own)
    loss = torch.stack([cross_entropy(own.flatten(0, 1), ids[..., number].flatten()) for number, own in enumerate(logits)]).mean()
    stored.check("train/loss", loss)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    stored.check_gradients("train/grad/", to_theirs(gradients, table))
    for name in [name for name in stored.outputs if name.startswith("filter/")]:
        k, p = name.split("/")[1].split("_")
        choice = Choice(top_k=int(k[1:]), top_p=float(p[1:]))
        stored.check(name, kept(stored.inputs["filter_logits"], choice).isfinite().to(stored.outputs[name].dtype))
    assert not stored.unchecked()


@pytest.mark.parametrize(
    ("keys", "heads", "shape"),
    [
        ("llamagen_gpt_b", 12, (16, 16)),
        ("llamagen_gpt_l", 16, (16, 16)),
        ("llamagen_gpt_xl_text", 20, (16, 16)),
        ("far_dual_b", 16, (16, 16)),
        ("far_triple_b", 16, (16, 16)),
    ],
)
def test_every_tensor_of_the_official_lists_has_its_place(shared, keys, heads, shape):
    listed = json.loads((shared / "specs" / "keys" / f"{keys}.json").read_text())
    state = {name: torch.empty(value if isinstance(value, list) else value["shape"], device="meta") for name, value in listed.items()}
    with torch.device("meta"):
        model = Gpt(sizes(state, heads=heads, shape=shape))
    table = rules(num_codebooks(state))
    ours = to_ours(state, table)
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in model.state_dict().items()}
    back = to_theirs({name: torch.empty_like(value) for name, value in ours.items()}, table)
    assert {name: value.shape for name, value in back.items()} == {name: value.shape for name, value in state.items()}
