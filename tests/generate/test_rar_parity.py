"""RAR's generators against stored values of the published implementation."""

import json

import pytest
import torch

from tests.parity import Stored
from vtok.generate.losses.permuted import permuted_loss, random_share
from vtok.generate.permuted import RarOptions, sample_rar
from vtok.generate.sampling.choose import GREEDY
from vtok.generate.sampling.guidance import Guidance
from vtok.models.flow.guidance import classifier_free
from vtok.models.rar import Rar
from vtok.weights.convert.names import to_ours, to_theirs
from vtok.weights.convert.rar import RAR, sizes

TABLES = ("pos_embed", "timesteps_embeddings")  # of which the first rows are stored

pytestmark = pytest.mark.parity


def test_rar_is_met():
    stored = Stored.load("rar")
    sizes_of = stored.config["sizes"]
    model = Rar(sizes({name: value.float() for name, value in stored.weights.items()}, num_tokens=sizes_of["image_seq_len"]))
    model.load_state_dict(to_ours({name: value.float() for name, value in stored.weights.items()}, RAR))
    model.eval()
    classes, ids, order = (stored.inputs[name].long() for name in ("classes", "tokens", "orders"))
    stored.check("conditions", model.config.ids.of_classes(classes, 3))
    stored.check("none_condition", model.config.ids.of_classes(None, 3))
    stored.check("labels_orders", ids.gather(1, order))
    with torch.no_grad():
        stored.check("logits_raster", model(ids, classes))
        stored.check("logits_raster_uncond", model(ids, None))
        stored.check("logits_raster_uncond", model(ids, classes, dropped=torch.ones(3, dtype=torch.bool)))
    for number, run in enumerate(sizes_of["sampling_runs"]):
        _check_run(stored, model, classes, number, run)
    logits = model(ids, classes, order)
    stored.check("logits_orders", logits)
    loss = permuted_loss(logits, ids, order)
    stored.check("loss", loss)
    stored.check("correct_tokens", (logits[:, :-1].argmax(-1) == ids.gather(1, order)).float().mean())
    loss.backward()
    found = to_theirs({name: parameter.grad for name, parameter in model.named_parameters()}, RAR)
    used = {name: value[:, : stored.outputs[f"grad/{name}"].shape[1]] for name, value in found.items() if name.endswith(TABLES)}
    assert not any(bool(found[name][:, used[name].shape[1] :].any()) for name in used)
    stored.check_gradients("grad/", found | used)
    assert not stored.unchecked()


def _check_run(stored, model, classes, number, run):
    scale, num = run["guidance_scale"], model.config.num_tokens
    guidance = Guidance(scale, "cosine", run["guidance_scale_pow"])
    if scale:
        stored.check(f"greedy{number}/cfg", torch.tensor([guidance.at(token, num) for token in range(num)]))
    else:  # no guidance, for which upstream computes numbers that it does not use
        stored.checked.add(f"greedy{number}/cfg")
    drawn = sample_rar(model, 3, classes, num, RarOptions(GREEDY, guidance), 0)
    stored.check(f"greedy{number}/ids", drawn)
    with torch.no_grad():
        with_class, without = model(drawn, classes)[:, :-1], model(drawn, None)[:, :-1]
        scales = torch.tensor([guidance.at(token, num) for token in range(num)])[:, None]
        logits = with_class if scale <= 1 else classifier_free(with_class, without, scales)
    stored.check(f"greedy{number}/probs", (logits / run["randomize_temperature"]).softmax(-1))


def test_orders_are_annealed_as_published():
    stored = Stored.load("rar")
    sizes_of = stored.config["sizes"]
    for step, share in sizes_of["anneal_table"]:
        assert random_share(step, sizes_of["anneal_start"], sizes_of["anneal_end"]) == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize("keys", ["rar_b", "rar_l", "rar_xl", "rar_xxl"])
def test_every_tensor_of_the_official_lists_has_its_place(shared, keys):
    listed = json.loads((shared / "specs" / "keys" / f"{keys}.json").read_text())
    state = {name: torch.empty(value if isinstance(value, list) else value["shape"], device="meta") for name, value in listed.items()}
    with torch.device("meta"):
        model = Rar(sizes(state))
    ours = to_ours(state, RAR)
    assert {name: value.shape for name, value in ours.items()} == {name: value.shape for name, value in model.state_dict().items()}
    back = to_theirs({name: torch.empty_like(value) for name, value in ours.items()}, RAR)
    assert {name: value.shape for name, value in back.items()} == {name: value.shape for name, value in state.items()}
