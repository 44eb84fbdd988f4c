"""What comes with a FlexTok's tensors: `config.json` in both its forms, and the header of their file. It is read as data only."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.weights.convert.flextok_states import (
    CONFIG,
    HEADER_ALONE,
    decoder_module,
    encoder_module,
    folder,
    header_of,
    small,
    tree_of,
)
from tests.weights.convert.states import state_of
from vtok.errors import WeightsError
from vtok.tokenizers.flextok import FlextokConfig
from vtok.weights.convert import Converted, is_upstream, load_upstream, to_upstream
from vtok.weights.convert.flextok import ENCODER_POSITIONS
from vtok.weights.convert.flextok_tree import FlextokTree, read_config

pytest.importorskip("diffusers")
STATE = small()
MAX_TIME = decoder_module("time_embedder__max_timestep")
OTHER = tree_of(**{MAX_TIME: 1.0})


def config_of(path: Path) -> FlextokConfig:
    converted = load_upstream(path)
    assert isinstance(converted.found.config, FlextokConfig)
    return converted.found.config


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as error:
        load_upstream(path)
    text = str(error.value)
    assert len(text.splitlines()) == 1
    assert len(text) < 700
    return text


def of_tree(place: Path, **changes: Any) -> Path:
    return folder(place / "flextok", STATE, config=tree_of(**changes))


def of_header(place: Path, **texts: str) -> Path:
    return folder(place / "flextok", STATE, header=header_of(tree_of()) | texts)


@pytest.mark.parametrize("config", [OTHER, {"config": OTHER}, dict(sorted(OTHER.items()))], ids=["at the top", "wrapped", "sorted"])
def test_a_folder_is_read_with_its_configuration(tmp_path: Path, config: dict[str, Any]) -> None:
    made = folder(tmp_path / "flextok", STATE, config=config)
    assert is_upstream(made)
    assert config_of(made) == CONFIG.model_copy(update={"max_time": 1.0})
    assert all(torch.equal(value, STATE[name]) for name, value in to_upstream(load_upstream(made).model).items())


def test_without_a_configuration_the_header_says_it(tmp_path: Path) -> None:
    made = folder(tmp_path / "flextok", STATE, header=header_of(OTHER))
    assert is_upstream(made)
    assert config_of(made).max_time == 1.0
    assert config_of(made / "model.safetensors").max_time == 1.0


def test_a_configuration_wins_over_the_header(tmp_path: Path) -> None:
    made = folder(tmp_path / "flextok", STATE, header=header_of(OTHER), config=tree_of())
    assert config_of(made).max_time == 1000.0
    assert config_of(made / "model.safetensors").max_time == 1000.0


@pytest.mark.parametrize("config", [{}, {"config": {}}, {"model_type": "flextok"}, {"config": "encoder"}, []])
def test_a_configuration_that_says_nothing_leaves_it_to_the_header(tmp_path: Path, config: Any) -> None:
    made = folder(tmp_path / "flextok", STATE, header=header_of(OTHER), config=config)
    assert is_upstream(made)
    assert config_of(made).max_time == 1.0


@pytest.mark.parametrize("header", [None, HEADER_ALONE, {"encoder_of": "{}"}])
def test_where_nobody_says_anything_it_is_as_in_the_official_models(tmp_path: Path, header: dict[str, str] | None) -> None:
    assert config_of(folder(tmp_path / "flextok", STATE, header=header)) == CONFIG


def test_a_file_saved_by_torch_is_read_too(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "flextok.bin")
    assert config_of(tmp_path / "flextok.bin") == CONFIG
    (tmp_path / "config.json").write_text(json.dumps(OTHER))
    assert config_of(tmp_path / "flextok.bin").max_time == 1.0


@pytest.mark.parametrize("data", [b"no JSON", b'{"model": {"vq_model": {}}}', b" " * 2_000_000])
def test_what_else_lies_beside_a_file_is_not_its_configuration(tmp_path: Path, data: bytes) -> None:
    save_file(STATE, tmp_path / "flextok.safetensors")
    (tmp_path / "config.json").write_bytes(data)
    assert config_of(tmp_path / "flextok.safetensors") == CONFIG


def test_values_of_the_configuration_are_used(tmp_path: Path) -> None:
    said = {
        "regularizer__levels": [7, 5, 5, 5, 5, 3],
        "vae__scaling_factor": 0.5,
        "vae__sample_posterior": True,
        encoder_module("transformer__head_dim"): 16,
        decoder_module("transformer__num_heads"): 8,
    }
    found = config_of(of_tree(tmp_path, **said)).model_dump()
    assert found["quantizer"]["levels"] == (7, 5, 5, 5, 5, 3)
    assert found["autoencoder"]["settings"]["scaling_factor"] == 0.5
    assert found["sample_posterior"] is False
    assert (found["encoder"]["heads"], found["decoder"]["heads"]) == (4, 8)


@pytest.mark.parametrize("factor", [None, 0, 0.0, ...])
def test_a_scale_that_is_not_given_is_the_librarys(tmp_path: Path, factor: Any) -> None:
    tree = tree_of(vae__scaling_factor=factor) if factor is not ... else tree_of(vae=None)
    assert config_of(folder(tmp_path / "flextok", STATE, config=tree)) == CONFIG


def test_learned_positions_are_added_or_multiplied_as_it_says(tmp_path: Path) -> None:
    table = torch.randn(2, 1, 64, 4, generator=torch.Generator().manual_seed(0))
    rows, columns = table.squeeze(1).mT
    for kind, expected in (("sum", rows[:, None] + columns), ("prod", rows[:, None] * columns)):
        tree = tree_of(**{encoder_module("posemb_module__posemb_type"): f"learnable_{kind}"})
        made = folder(tmp_path / kind, STATE | {ENCODER_POSITIONS: table}, config=tree)
        assert torch.equal(load_upstream(made).model.state_dict()["encoder.positions"], expected)


def test_what_only_training_asks_for_is_passed_over(tmp_path: Path) -> None:
    said = {
        decoder_module("nested_dropout__size_sampling_mode"): "uniform",
        decoder_module("latent_dropout__dropout_prob"): 0.5,
        decoder_module("repa_unpacker"): ...,
        decoder_module("repa_head"): {"_target_": "flextok.model.postprocessors.heads.MLPHead", "dim": 128, "num_layers": 3},
        "flow_matching_noise_module__ln": True,
        "vae__some_hub_id": "somebody/vae",
        "vae__rope": None,
        "regularizer__drop_quant_p": 0.1,
    }
    assert config_of(of_tree(tmp_path, **said)) == CONFIG


def test_tensors_beyond_the_models_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    head = {"decoder.module_dict.dec_repa_head.mlp.1.weight": torch.zeros(2, 2), "step": torch.zeros(1, dtype=torch.long)}
    converted = load_upstream(folder(tmp_path / "flextok", STATE | head))
    assert converted.extra == tuple(sorted(head))
    assert "left out what flextok of no official size does not need: decoder.module_dict.dec_repa_head.mlp.1.weight, step" in caplog.text
    assert to_upstream(converted.model).keys() == STATE.keys()
    assert load_upstream(folder(tmp_path / "whole", STATE)).extra == ()


ENCODER, DECODER = "encoder.module_dict.enc_", "decoder.module_dict.dec_"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("_target_", "os.system", "_target_: "),
        ("vae___target_", "subprocess.Popen", "vae: _target_ is 'subprocess.Popen', expected flextok.vae_wrapper"),
        ("encoder__module_dict", None, "encoder.module_dict: "),
        ("decoder", ..., "decoder: Field required"),
        (encoder_module("transformer___target_"), ..., f"{ENCODER}transformer: _target_ is None, expected"),
        (encoder_module("transformer"), ..., f"{ENCODER}transformer: Field required"),
        (encoder_module("transformer"), "exit()", f"{ENCODER}transformer: _target_ is 'exit()', expected"),
        (
            decoder_module("transformer___target_"),
            "flextok.model.trunks.transformers.FlexTransformerDecoder",
            f"{DECODER}transformer: _target_ is 'flextok.model.trunks.transformers.FlexTransformerDecoder', expected",
        ),
        (decoder_module("latent_dropout___target_"), "flextok.model.preprocessors.nullcond.ZeroNullCond", f"{DECODER}latent_dropout: "),
        (encoder_module("channels_to_last__per_sample_op___target_"), "os.remove", f"{ENCODER}channels_to_last.per_sample_op: _target_ is"),
        (decoder_module("more"), {"_target_": "os.remove"}, f"{DECODER}more: _target_ is 'os.remove', which vtok does not know there"),
        (encoder_module("transformer__rope_theta"), 10000.0, f"{ENCODER}transformer: rope_theta is 10000.0, which vtok does not know"),
        (decoder_module("transformer__rope"), {"_target_": "os.remove"}, f"{DECODER}transformer: rope is "),
        ("vae__shift_factor", 0.1, "vae: shift_factor is 0.1"),
        (encoder_module("seq_packer__mask_mode"), "causal", f"{ENCODER}seq_packer.mask_mode: Input should be 'causal_last'"),
        (decoder_module("seq_packer__mask_mode"), "causal_last", f"{DECODER}seq_packer.mask_mode: Input should be 'full'"),
        (encoder_module("to_latents__use_mup_readout"), True, f"{ENCODER}to_latents.use_mup_readout: "),
        (decoder_module("to_patches__use_mup_readout"), True, f"{DECODER}to_patches.use_mup_readout: "),
        (encoder_module("posemb_module__posemb_type"), "rope", f"{ENCODER}posemb_module.posemb_type: "),
        (decoder_module("registers_posemb_module__posemb_type"), "sincos", f"{DECODER}registers_posemb_module.posemb_type: "),
        (encoder_module("posemb_module__posemb_scaling"), "interpolate", f"{ENCODER}posemb_module.posemb_scaling: "),
        (encoder_module("patch_emb__flatten_patches"), True, f"{ENCODER}patch_emb.flatten_patches: "),
        (encoder_module("register_module__ordering_mode"), "grid", f"{ENCODER}register_module.ordering_mode: "),
        (decoder_module("transformer__adaLN_expansion"), 1, f"{DECODER}transformer.adaLN_expansion: "),
        (decoder_module("time_embedder__frequency_embedding_size"), 128, f"{DECODER}time_embedder.frequency_embedding_size: "),
        (MAX_TIME, 0, f"{DECODER}time_embedder.max_timestep: "),
        (MAX_TIME, "1000", f"{DECODER}time_embedder.max_timestep: "),
        (MAX_TIME, float("nan"), f"{DECODER}time_embedder.max_timestep: "),
        ("vae__scaling_factor", float("inf"), "vae.scaling_factor: "),
        ("regularizer__levels", [8, 8, 8, 5, 5, 1], "regularizer.levels.5: "),
        ("regularizer__levels", [8, 8, 8, 5, 5, 5.5], "regularizer.levels.5: "),
        ("regularizer__levels", "8,8,8,5,5,5", "regularizer.levels: "),
        (encoder_module("transformer__head_dim"), 0, f"{ENCODER}transformer.head_dim: "),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_a_configuration_that_asks_for_something_else_is_refused_by_its_key(tmp_path: Path, key: str, value: Any, words: str) -> None:
    made = of_tree(tmp_path, **{key: value})
    assert refusal(made).startswith(f"{made / 'config.json'}: FlexTok's configuration: {words}")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (encoder_module("transformer__depth"), 3, f"{ENCODER}transformer.depth is 3, by the tensors it is 2"),
        (encoder_module("transformer__dim"), 32, f"{ENCODER}transformer.dim is 32, by the tensors it is 64"),
        (encoder_module("patch_emb__patch_sizes"), [4, 4], f"{ENCODER}patch_emb.patch_sizes is [4, 4], by the tensors it is [2, 2]"),
        (encoder_module("posemb_module__max_sizes"), [4, 8], f"{ENCODER}posemb_module.max_sizes is [4, 8]"),
        (encoder_module("register_module__n_eval"), 3, f"{ENCODER}register_module.n_eval is 3, by the tensors it is 6"),
        (decoder_module("noise_patch_emb__channels_in"), 16, f"{DECODER}noise_patch_emb.channels_in is 16, by the tensors it is 4"),
        (decoder_module("registers_posemb_module__max_sizes"), [7], f"{DECODER}registers_posemb_module.max_sizes is [7]"),
        ("vae__latent_channels", 16, "vae.latent_channels is 16, by the tensors it is 4"),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_a_configuration_that_contradicts_the_tensors_is_named_with_both_values(tmp_path: Path, key: str, value: Any, words: str) -> None:
    made = of_tree(tmp_path, **{key: value})
    assert refusal(made).startswith(f"{made / 'config.json'}: {words}")


def test_levels_of_another_number_than_the_tokens_have_are_refused(tmp_path: Path) -> None:
    assert "tokens of 6 numbers, where levels are known for 2" in refusal(of_tree(tmp_path, regularizer__levels=[8, 5]))


@pytest.mark.parametrize(
    "data", [b"\xff{", b"[" * 100_000, b'{"encoder": "' + b" " * 1_000_000 + b'"}', b'{"encoder": ' + b"[" * 300 + b"]" * 300 + b"}"]
)
def test_a_configuration_that_cannot_be_read_is_one_line(tmp_path: Path, data: bytes) -> None:
    assert "config.json: " in refusal(folder(tmp_path / "flextok", STATE, config=data))


def test_line_breaks_and_lengths_of_a_configuration_do_not_reach_the_line(tmp_path: Path) -> None:
    key = decoder_module(f"x\x1b[31m\n{'y' * 10_000}")
    assert "\x1b" not in refusal(of_tree(tmp_path, **{key: {"_target_": "\n" * 10_000}}))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('pathlib').Path('trace').touch()",
        "open('trace', 'w')",
        "[x for x in ()]",
        "lambda: 0",
        "{" * 100_000,
        "[" * 150 + "]" * 150,
        "-" * 500_000 + "1",
        "1+" * 100_000 + "1",
        "{1, 2}",
        "{(1, 2): 3}",
        "{'_target_': {...}}",
        "b'bytes'",
        "1e999",
        "9" * 10_000,
        "'\\ud800'",
        "'\\d'",
        "",
        "None",
        "7",
    ],
    ids=lambda text: text[:20],
)
@pytest.mark.filterwarnings("error")
def test_a_header_with_something_else_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    made = of_header(tmp_path, encoder=text)
    assert refusal(made).startswith(f"{made / 'model.safetensors'}: FlexTok's configuration: ")
    assert not (tmp_path / "trace").exists()


def test_a_header_that_is_too_large_is_refused(tmp_path: Path) -> None:
    assert "more than 1 MB of metadata" in refusal(of_header(tmp_path, encoder="[" + "1," * 500_000 + "]"))


def test_a_text_that_is_no_literal_stays_a_text(tmp_path: Path) -> None:
    made = of_header(tmp_path, _target_="flextok.flextok_wrapper.FlexTok", format="pt", notes="f()", vae="None")
    assert config_of(made) == CONFIG
    assert "vae: _target_ is 'somebody/vae'" in refusal(
        folder(tmp_path / "b", STATE, header=header_of(tree_of()) | {"vae": "somebody/vae"})
    )


def test_a_value_of_a_header_is_refused_as_one_of_a_configuration_is(tmp_path: Path) -> None:
    made = folder(tmp_path / "flextok", STATE, header=header_of(tree_of(**{encoder_module("seq_packer__mask_mode"): "causal"})))
    assert f"model.safetensors: FlexTok's configuration: {ENCODER}seq_packer.mask_mode: " in refusal(made)


def test_nothing_that_a_file_names_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flextok").mkdir()
    (tmp_path / "flextok" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert config_of(folder(tmp_path / "a", STATE, config=tree_of())) == CONFIG
    assert config_of(folder(tmp_path / "b", STATE, header=header_of(tree_of()))) == CONFIG
    assert "flextok" not in sys.modules


def test_a_titoks_configuration_beside_a_flextok_is_not_taken_for_its_own(tmp_path: Path) -> None:
    made = folder(tmp_path / "titok", state_of("titok_pixel"), config=tree_of())
    assert "config.json: model: Field required" in refusal(made)


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    made = folder(tmp_path / "flextok", STATE, config=tree_of())
    file = made / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    assert str(file) in refusal(made)


def test_the_model_is_written_and_read_as_any_other(tmp_path: Path) -> None:
    from vtok.weights.load import load

    converted: Converted = load_upstream(folder(tmp_path / "flextok", STATE, config=OTHER))
    converted.model.save_pretrained(tmp_path / "mine")
    back = load(tmp_path / "mine")
    assert back.config == converted.found.config
    assert load_file(tmp_path / "mine" / "model.safetensors").keys() == converted.model.state_dict().keys()
    assert all(torch.equal(value, STATE[name]) for name, value in to_upstream(back).items())


@pytest.mark.parametrize("name", ["d12_d12_in1k", "d18_d18_in1k", "d18_d28_in1k", "d18_d28_dfn"])
def test_the_official_configurations_are_those_that_are_taken_without_one(shared: Path, name: str) -> None:
    file = shared / "specs" / "configs" / f"flextok_{name}.json"
    if not file.is_file():
        pytest.skip(f"needs the configuration {file}")
    told = read_config(file)
    assert told is not None
    assert told.hints == FlextokTree.of(tree_of(), file).hints
