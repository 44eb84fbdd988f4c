"""`vtok convert`: upstream's weights to a model folder, or one line and nothing written."""

import pytest
import torch

from tests.cli.samples import files_under
from tests.weights.convert import flextok_states
from tests.weights.convert.states import proxy_state, state_of
from vtok.weights.convert import recognise, to_upstream
from vtok.weights.convert.official import OFFICIAL
from vtok.weights.load import load
from vtok.weights.table import TABLE, Upstream, Weights

MODEL = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tokenizer.bin"
    torch.save(state_of("titok"), path)
    return path


@pytest.fixture
def official(monkeypatch):
    """The tiny TiTok is an official model, in the table."""
    monkeypatch.setitem(OFFICIAL, "Tiny-6", ("titok", recognise(state_of("titok")).config))
    row = Weights("tiny.tests", "titok", Upstream("some/body", "a.bin"), "MIT", official="Tiny-6", paper="1234.56789", terms="for tests")
    monkeypatch.setitem(TABLE, "tiny.tests", row)


def test_a_file_becomes_a_model_folder(vtok, file, tmp_path):
    result = vtok("convert", file, "-o", tmp_path / "mine")
    assert (result.code, result.out) == (0, b"")
    sizes = "encoder 16 wide, 2 deep; decoder 16 wide, 2 deep; 6 tokens of 32 codes of 5 numbers; 32 x 32 pixels; 141,352 values"
    assert result.line == f"{file} -> {tmp_path / 'mine'}: titok of no official size; {sizes}"
    assert files_under(tmp_path / "mine") == MODEL
    own = to_upstream(load(tmp_path / "mine"))
    assert all(torch.equal(own[name], value) for name, value in state_of("titok").items())


def test_the_folder_codes_pictures(vtok, photo, file, tmp_path):
    assert vtok("convert", file, "-o", tmp_path / "mine", "-q").err == ""
    assert vtok("encode", photo, "-o", tmp_path / "photo.vtok", "--model", tmp_path / "mine").code == 0
    assert vtok("decode", tmp_path / "photo.vtok", "-o", tmp_path / "out.png", "--model", file).code == 0


def test_the_card_says_where_it_is_from_and_where_its_licence_is(vtok, file, tmp_path):
    vtok("convert", file, "-o", tmp_path / "mine")
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "`tokenizer.bin`, SHA-256 `" in card
    assert "look it up where the file is from" in card
    assert "license:" not in card


@pytest.mark.usefixtures("official")
def test_an_official_model_is_named_with_its_licence(vtok, file, tmp_path):
    result = vtok("convert", file, "-o", tmp_path / "mine")
    assert "mine: Tiny-6 (family titok); encoder 16 wide" in result.line
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "license: mit\n" in card
    for words in ("for tests", "https://huggingface.co/some/body", "https://arxiv.org/abs/1234.56789", "sizes do not prove"):
        assert words in card


def test_json_has_family_and_sizes(vtok, file, tmp_path):
    (record,) = vtok("convert", file, "-o", tmp_path / "mine", "--json").records
    assert (record["file"], record["output"]) == (str(file), str(tmp_path / "mine"))
    assert (record["family"], record["official"], record["values"]) == ("titok", None, 141_352)
    assert record["config"]["quantizer"]["num_tokens"] == 6


def test_continuous_weights_are_converted_too(vtok, tmp_path):
    torch.save(state_of("titok_vae"), tmp_path / "vae.bin")
    assert "6 latents of 5 numbers" in vtok("convert", tmp_path / "vae.bin", "-o", tmp_path / "mine").line


def test_a_first_stage_takes_its_proxy(vtok, tmp_path):
    torch.save(state_of("titok_proxy"), tmp_path / "first.bin")
    torch.save(proxy_state(), tmp_path / "proxy.bin")
    without = vtok("convert", tmp_path / "first.bin", "-o", tmp_path / "mine")
    assert without.code == 2
    assert "--proxy FILE" in without.line
    result = vtok("convert", tmp_path / "first.bin", "-o", tmp_path / "mine", "--proxy", tmp_path / "proxy.bin")
    assert "titok_proxy of no official size" in result.line


@pytest.fixture
def flextok(tmp_path):
    """A FlexTok with two tensors that only its training needed."""
    pytest.importorskip("diffusers")
    head = {f"decoder.module_dict.dec_repa_head.{name}": torch.zeros(2) for name in ("a", "b\nc")}
    return flextok_states.folder(tmp_path / "flextok", flextok_states.small() | head, config=flextok_states.tree_of())


def test_a_flextok_is_converted_and_what_is_left_out_is_said(vtok, flextok, tmp_path):
    result = vtok("convert", flextok, "-o", tmp_path / "mine")
    assert "mine: flextok of no official size; encoder 64 wide, 2 deep; decoder 128 wide, 1 deep; 6 tokens of 64,000 codes" in result.line
    left_out = "decoder.module_dict.dec_repa_head.a, decoder.module_dict.dec_repa_head.b?c"
    assert result.line.endswith(f"; left out 2 tensors that the model does not need ({left_out})")
    assert f"; left out 2 tensors that the model does not need ({left_out}).\n" in (tmp_path / "mine" / "README.md").read_text()
    (record,) = vtok("convert", flextok, "-o", tmp_path / "mine", "--json").records
    assert record["left_out"] == ["decoder.module_dict.dec_repa_head.a", "decoder.module_dict.dec_repa_head.b\nc"]
    assert record["config"]["sampling"]["guidance_rule"] == "apg"


def test_a_flextok_codes_pictures(vtok, photo, flextok, tmp_path):
    assert vtok("convert", flextok, "-o", tmp_path / "mine", "-q").err == ""
    assert vtok("encode", photo, "-o", tmp_path / "photo.vtok", "--model", tmp_path / "mine").code == 0
    assert vtok("decode", tmp_path / "photo.vtok", "-o", tmp_path / "out.png", "--model", flextok, "--steps", "1").code == 0


def test_a_configuration_that_asks_for_something_else_is_refused(vtok, tmp_path):
    tree = flextok_states.tree_of(**{flextok_states.encoder_module("seq_packer__mask_mode"): "causal"})
    made = flextok_states.folder(tmp_path / "flextok", flextok_states.small(), config=tree)
    line = refused(vtok, tmp_path, made, "-o", tmp_path / "mine")
    assert line.startswith(f"vtok: {made / 'config.json'}: FlexTok's configuration: encoder.module_dict.enc_seq_packer.mask_mode: ")


def test_a_licence_that_has_no_spdx_name_is_named_in_the_card(vtok, flextok, tmp_path, monkeypatch):
    monkeypatch.setitem(OFFICIAL, "Flex", ("flextok", flextok_states.CONFIG))
    for name in ("one", "two"):
        row = Weights(f"{name}.tests", "flextok", Upstream(f"some/{name}", "a.bin"), "LicenseRef-Own-Terms", official="Flex", terms="own")
        monkeypatch.setitem(TABLE, f"{name}.tests", row)
    vtok("convert", flextok, "-o", tmp_path / "mine")
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "license: other\nlicense_name: own-terms\n" in card
    assert "Look it up at https://huggingface.co/some/one or https://huggingface.co/some/two." in card


def test_an_earlier_conversion_is_replaced(vtok, file, tmp_path):
    torch.save(state_of("titok_pixel"), tmp_path / "pixel.bin")
    vtok("convert", tmp_path / "pixel.bin", "-o", tmp_path / "mine")
    assert vtok("convert", file, "-o", tmp_path / "mine").code == 0
    assert load(tmp_path / "mine").family == "titok"
    assert files_under(tmp_path / "mine") == MODEL


def test_an_empty_folder_is_filled(vtok, file, tmp_path):
    (tmp_path / "mine").mkdir()
    assert vtok("convert", file, "-o", tmp_path / "mine").code == 0
    assert files_under(tmp_path / "mine") == MODEL


def refused(vtok, tmp_path, *arguments):
    """The line of a command that changes nothing."""
    before = files_under(tmp_path)
    result = vtok("convert", *arguments)
    assert result.code == 2
    assert files_under(tmp_path) == before
    assert "Traceback" not in result.err
    return result.line


@pytest.mark.parametrize("there", ["notes.txt", "config.json"])
def test_a_folder_that_holds_something_else_is_left_alone(vtok, file, tmp_path, there):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / there).write_text("{}")
    assert f"mine: holds something else than a vtok model ({there})" in refused(vtok, tmp_path, file, "-o", tmp_path / "mine")


def test_a_model_among_other_files_is_left_alone(vtok, file, tmp_path):
    vtok("convert", file, "-o", tmp_path / "mine")
    (tmp_path / "mine" / "log.jsonl").touch()
    assert "(log.jsonl)" in refused(vtok, tmp_path, file, "-o", tmp_path / "mine")


def test_a_file_is_no_folder_to_write(vtok, file, tmp_path):
    assert "is a file, expected a folder" in refused(vtok, tmp_path, file, "-o", file)


def test_a_missing_parent_is_named_before_the_work(vtok, tmp_path):
    line = refused(vtok, tmp_path, tmp_path / "none.bin", "-o", tmp_path / "deep" / "mine")
    assert f"the folder {tmp_path / 'deep'} does not exist" in line


def test_what_is_not_there_is_named(vtok, tmp_path):
    line = refused(vtok, tmp_path, tmp_path / "none.bin", "-o", tmp_path / "mine")
    assert line == f"vtok: {tmp_path / 'none.bin'}: no such file or folder"


def test_a_vtok_model_is_one_already(vtok, model, tmp_path):
    assert f"{model}: is a vtok model already" in refused(vtok, tmp_path, model, "-o", tmp_path / "mine")


def test_a_cut_file_leaves_nothing(vtok, file, tmp_path):
    file.write_bytes(file.read_bytes()[:-5000])
    assert str(file) in refused(vtok, tmp_path, file, "-o", tmp_path / "mine")


def test_an_empty_name_is_not_the_folder_at_hand(vtok, file, tmp_path):
    assert "empty name" in refused(vtok, tmp_path, file, "-o", "")


def test_a_continuous_model_has_nothing_to_encode(vtok, photo, tmp_path):
    torch.save(state_of("titok_vae"), tmp_path / "vae.bin")
    result = vtok("encode", photo, "-o", tmp_path / "photo.vtok", "--model", tmp_path / "vae.bin")
    assert result.code == 2
    assert "vae.bin is continuous (family titok_vae): it has no tokens to store" in result.line
