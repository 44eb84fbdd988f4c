"""Generators of others: what their tensors are recognised as, and whose strings they make."""

import json

import pytest
import torch

from vtok.errors import UnsupportedError, WeightsError
from vtok.generate.load import load_generator
from vtok.generate.permuted import RarOptions
from vtok.generate.sampling.choose import GREEDY
from vtok.models.rar import Rar
from vtok.tokenizers.linear import LinearTokenizer
from vtok.weights import TABLE, load_tokenizer
from vtok.weights.convert import from_upstream, recognise
from vtok.weights.convert.names import to_theirs
from vtok.weights.convert.rar import RAR, sizes

FILES = {
    "llamagen_b.c2i_256": ("llamagen_gpt_b", "c2i_B_256.pt"),
    "llamagen_b.c2i_384": ("llamagen_gpt_b", "c2i_B_384.pt"),
    "llamagen_l.c2i_256": ("llamagen_gpt_l", "c2i_L_256.pt"),
    "llamagen_xl.t2i_256": ("llamagen_gpt_xl_text", "t2i_XL_stage1_256.pt"),
    "llamagen_xl.t2i_512": ("llamagen_gpt_xl_text", "t2i_XL_stage2_512.pt"),
    "maskgit_titok_l32.imagenet": ("maskgit_titok_l32", "generator_titok_l32.bin"),
    "maskgit_titok_b64.imagenet": ("maskgit_titok_b64", "generator_titok_b64.bin"),
    "maskgit_titok_s128.imagenet": ("maskgit_titok_s128", "generator_titok_s128.bin"),
    "maskgit_one_d_piece_s256.imagenet": ("maskgit_one_d_piece_s256", "pytorch_model.bin"),
    "maskgit_one_d_piece_b256.imagenet": ("maskgit_one_d_piece_b256", "pytorch_model.bin"),
    "rar_b.imagenet": ("rar_b", "rar_b.bin"),
    "rar_l.imagenet": ("rar_l", "rar_l.bin"),
    "rar_xl.imagenet": ("rar_xl", "rar_xl.bin"),
    "rar_xxl.imagenet": ("rar_xxl", "rar_xxl.bin"),
}


def listed(shared, keys):
    names = json.loads((shared / "specs" / "keys" / f"{keys}.json").read_text())
    return {name: torch.empty(value if isinstance(value, list) else value["shape"], device="meta") for name, value in names.items()}


@pytest.mark.parametrize("name", FILES)
def test_official_tensors_are_those_of_their_row(shared, name):
    keys, file = FILES[name]
    row, state = TABLE[name], listed(shared, keys)
    found = recognise(state, tokenizer=row.tokenizer, file=file)
    assert (found.family, found.official) == (row.family, row.official)
    assert found.config.tokenizer == row.tokenizer
    assert sum(value.numel() for key, value in state.items() if not key.endswith("position_ids")) == row.num_values


def test_a_generator_is_over_the_strings_of_the_tokenizer_that_it_was_published_with(shared):
    for name, (keys, file) in FILES.items():
        if "one_d_piece" not in name:
            assert recognise(listed(shared, keys), file=file).config.tokenizer == TABLE[name].tokenizer
    with pytest.raises(WeightsError, match="say whose strings they make: --tokenizer"):
        recognise(listed(shared, "maskgit_one_d_piece_s256"))


@pytest.mark.parametrize(
    ("keys", "tokenizer"), [("far_dual_b", "fqgan_dual_vq16.imagenet"), ("far_triple_b", "fqgan_triple_vq16.imagenet")]
)
def test_fars_tensors_are_known_though_no_weights_are(shared, keys, tokenizer):
    found = recognise(listed(shared, keys))
    assert (found.family, found.official, found.config.tokenizer) == ("gpt", None, tokenizer)


@pytest.fixture
def small(tmp_path):
    """Upstream's tensors of a small RAR over the strings of a tiny tokenizer, and that one's folder."""
    LinearTokenizer.tiny().save_pretrained(tmp_path / "tiny")
    spec = LinearTokenizer.tiny().spec
    torch.manual_seed(0)
    from vtok.models.rar import RarConfig

    config = RarConfig(
        num_codes=spec.codebook_sizes[0], num_tokens=spec.max_tokens, num_classes=3, dim=16, depth=1, heads=2, hidden=16, rows=(40, 40)
    )
    model = Rar(config)
    torch.nn.init.normal_(model.blocks[0].modulation.weight)
    return to_theirs(model.state_dict(), RAR), tmp_path / "tiny", model


def test_a_converted_generator_is_saved_loaded_and_draws_what_its_network_draws(small, tmp_path, monkeypatch):
    state, tokenizer, network = small
    monkeypatch.setattr("vtok.weights.convert.generators.rar.sizes", lambda own: sizes(own, num_tokens=network.config.num_tokens))
    model = from_upstream(state, tokenizer=str(tokenizer))
    model.save_pretrained(tmp_path / "generator")
    again = load_generator(tmp_path / "generator")
    assert again.config.code_digest == load_tokenizer(tokenizer).code_digest
    drawn = again.sample(2, torch.tensor([0, 2]), seed=1, options=RarOptions(GREEDY))
    with torch.no_grad():
        logits = network.eval()(drawn.ids[..., 0], torch.tensor([0, 2]))[:, :-1]
    assert torch.equal(logits.argmax(-1), drawn.ids[..., 0])
    assert again.decoder().decode(drawn).shape[0] == 2
    with pytest.raises(UnsupportedError, match="is a generator"):
        load_tokenizer(tmp_path / "generator")


def test_a_network_that_does_not_fit_the_strings_is_refused(small):
    state, tokenizer, _ = small
    with pytest.raises(WeightsError, match="has tensors of sizes that no model has"):
        from_upstream(state, tokenizer=str(tokenizer))


def test_a_tokenizer_has_no_tokenizer():
    with pytest.raises(WeightsError, match="leave --tokenizer out"):
        recognise({"a": torch.zeros(1)}, tokenizer="photo64")
