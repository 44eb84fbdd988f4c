"""The masked generators against stored values of the published implementation."""

import json

import pytest
import torch

from tests.parity import Stored
from vtok.generate.losses.masked import masked_accuracy, masked_loss, masks
from vtok.generate.masked import MaskedOptions, masked_steps
from vtok.models.mask_bert import MaskBert, MaskBertConfig
from vtok.models.mask_uvit import MaskUvit
from vtok.weights.convert.maskgit import BERT, IGNORED, UVIT, is_bert, sizes
from vtok.weights.convert.names import to_ours, to_theirs

pytestmark = pytest.mark.parity


def network_of(config):
    return MaskBert(config) if isinstance(config, MaskBertConfig) else MaskUvit(config)


@pytest.mark.parametrize("fixture", ["maskgit_bert", "maskgit_uvit"])
def test_the_network_its_loss_and_its_strings_are_met(fixture):
    stored = Stored.load(fixture)
    state = {name: value.float() for name, value in stored.weights.items()}
    table = BERT if is_bert(state) else UVIT
    model = network_of(sizes(state, heads=stored.config["sizes"]["num_attention_heads"]))
    model.load_state_dict(to_ours(state, table))
    model.eval()
    classes, ids = stored.inputs["classes"].long(), stored.inputs["tokens"].long()
    masked = masks(stored.inputs["mask_timesteps"], stored.inputs["mask_rand"])
    stored.check("masks", masked.to(torch.uint8))
    given = torch.where(masked, model.config.ids.mask, ids)
    stored.check("masked_tokens", given)
    with torch.no_grad():
        stored.check("logits_uncond", model(given, None))
        for name, rows in (
            ("logits_uncond", torch.ones(len(ids), dtype=torch.bool)),
            ("logits_cond", torch.zeros(len(ids), dtype=torch.bool)),
        ):
            stored.check(name, model(given, classes, dropped=rows))
    logits = model(given, classes)
    stored.check("logits_cond", logits)
    loss = masked_loss(logits, ids, masked)
    stored.check("loss", loss)
    stored.check("correct_tokens", masked_accuracy(logits, ids, masked))
    loss.backward()
    stored.check_gradients("grad/", to_theirs({name: parameter.grad for name, parameter in model.named_parameters()}, table))
    for number, run in enumerate(stored.config["sizes"]["sampling_runs"]):
        _check_run(stored, model, number, run)
    assert not stored.unchecked()


def _check_run(stored, model, number, run):
    options = MaskedOptions(
        steps=run["num_sample_steps"],
        guidance=run["guidance_scale"],
        decay=run["guidance_decay"],
        power=run.get("guidance_scale_pow", 3.0),
        temperature=run["randomize_temperature"],
        annealing=run["softmax_temperature_annealing"],
    )
    given = iter(
        stored.inputs[f"sample{number}/step{step}/{name}"].view(3, model.config.num_tokens, -1)
        for step in range(options.steps)
        for name in ("u_logits", "u_conf")
    )
    for step, found in enumerate(masked_steps(model, 3, stored.inputs["classes"].long(), options, lambda *_: next(given))):
        place = f"sample{number}/step{step}"
        stored.check(f"{place}/cfg", found.scale)
        stored.check(f"{place}/logits", found.logits)
        stored.check(f"{place}/chosen_ids", found.chosen)
        stored.check(f"{place}/confidence", found.confidence.clamp(max=1e30))
        stored.check(f"{place}/mask_len", torch.tensor(found.num_masked))
        stored.check(f"{place}/ids_after", found.ids)
    stored.check(f"sample{number}/ids", found.ids)


@pytest.mark.parametrize(
    "keys",
    [
        "maskgit_titok_l32",
        "maskgit_titok_b64",
        "maskgit_titok_s128",
        "maskgit_one_d_piece_s256",
        "maskgit_one_d_piece_b256",
        "maskgit_one_d_piece_l256",
    ],
)
def test_every_tensor_of_the_official_lists_has_its_place(shared, keys):
    listed = json.loads((shared / "specs" / "keys" / f"{keys}.json").read_text())
    state = {name: torch.empty(value if isinstance(value, list) else value["shape"], device="meta") for name, value in listed.items()}
    with torch.device("meta"):
        model = network_of(sizes(state))
    table = BERT if is_bert(state) else UVIT
    ours = to_ours(state, table)
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in model.state_dict().items()}
    back = to_theirs({name: torch.empty_like(value) for name, value in ours.items()}, table)
    assert {name: value.shape for name, value in back.items()} == {n: v.shape for n, v in state.items() if n not in IGNORED}


@pytest.mark.parametrize(
    ("num_tokens", "steps", "expected"),
    [
        (32, 8, [29, 26, 24, 21, 18, 14, 10, 0]),
        (64, 8, [58, 53, 48, 42, 36, 29, 20, 0]),
        (256, 16, [245, 235, 225, 214, 204, 193, 182, 170, 158, 145, 132, 117, 101, 82, 57, 0]),
    ],
)
def test_as_many_tokens_are_asked_again_as_published(num_tokens, steps, expected):
    config = MaskBertConfig(num_codes=8, num_tokens=num_tokens, num_classes=2, dim=8, depth=1, heads=1, hidden=8)
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.rand(*shape, generator=generator)

    found = masked_steps(MaskBert(config).eval(), 2, None, MaskedOptions(steps), noise)
    assert [int((step.ids[0] == config.ids.mask).sum()) for step in found] == expected
