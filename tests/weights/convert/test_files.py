"""Files and folders of upstream's weights; every fault is a line that names the file."""

import argparse
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.weights.convert.states import KINDS, PROXIES, proxy_state, state_of, tree_of
from vtok.errors import WeightsError
from vtok.tokenizers.linear import LinearTokenizer
from vtok.weights.convert import is_upstream, load_upstream, read_upstream, to_upstream
from vtok.weights.convert.tree import whose


def saved(file: Path, state: dict[str, Tensor]) -> Path:
    if file.suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save(state, file)
    return file


@pytest.fixture
def proxy(tmp_path: Path) -> Path:
    return saved(tmp_path / "maskgit-vqgan.bin", proxy_state())


def folder(parent: Path, tree: Any, kind: str = "titok_pixel", file: str = "model.safetensors") -> Path:
    """A folder as the hub has it; `tree` may also be the bytes of config.json, or None for no such file."""
    made = parent / "upstream"
    made.mkdir()
    saved(made / file, state_of(kind))
    if tree is not None:
        (made / "config.json").write_bytes(tree if isinstance(tree, bytes) else json.dumps(tree).encode())
    return made


def refusal(path: Path, *, proxy: Path | None = None) -> str:
    with pytest.raises(WeightsError) as error:
        load_upstream(path, proxy=proxy)
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", [name for name in KINDS if name != "tokenflow"])  # a small one's tensors do not tell its scales
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_file_becomes_a_model(tmp_path: Path, proxy: Path, name: str, suffix: str) -> None:
    file = saved(tmp_path / f"tokenizer{suffix}", state_of(name))
    converted = load_upstream(file, proxy=proxy if name in PROXIES else None)
    assert converted.file == file
    assert converted.found.family.removesuffix("_proxy").replace("one_d_piece", "titok") in name.replace("one_d_piece", "titok")
    assert all(torch.equal(value, state_of(name)[key]) for key, value in to_upstream(converted.model).items())


def test_a_checkpoint_of_a_training_becomes_a_model_without_what_only_the_training_needs(tmp_path: Path) -> None:
    beside = {"quantize_vis.codebook_used": torch.zeros(8), "feat_pred_head.ln_pre.weight": torch.zeros(4)}
    settings = argparse.Namespace(vq_model="VQ-16")
    torch.save({"model": state_of("fqgan") | beside, "steps": 7, "args": settings}, tmp_path / "fqgan.pt")
    converted = load_upstream(tmp_path / "fqgan.pt")
    assert converted.found.family == "fqgan"
    assert converted.extra == tuple(sorted(beside))


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_becomes_a_model(tmp_path: Path, file: str) -> None:
    made = folder(tmp_path, tree_of(), file=file)
    assert load_upstream(made).found.family == "titok_pixel"
    assert load_upstream(made).file == made / file
    assert is_upstream(made)


def test_a_folder_without_a_configuration_is_read_by_its_tensors(tmp_path: Path) -> None:
    made = folder(tmp_path, None, "titok", "pytorch_model.bin")
    assert is_upstream(made)
    assert load_upstream(made).found.family == "titok"


def test_the_configuration_says_what_tensors_do_not(tmp_path: Path) -> None:
    two_stage = {"is_legacy": None, "finetune_decoder": None}  # left out: true
    nested = folder(tmp_path, tree_of(strict_length_assertion=False, use_l2_norm=True, **two_stage), "titok")
    found = load_upstream(nested).found
    assert found.family == "one_d_piece"
    assert found.config.model_dump()["quantizer"]["kind"] == "spherical_vq"
    (nested / "config.json").write_text(json.dumps(tree_of(**two_stage)))
    found = load_upstream(nested).found
    assert found.family == "titok"
    assert found.config.model_dump()["quantizer"]["kind"] == "vq"


def test_a_first_stage_in_a_folder_is_loaded_beside_its_proxy(tmp_path: Path, proxy: Path) -> None:
    made = folder(tmp_path, tree_of(is_legacy=True), "titok_proxy")
    assert load_upstream(made, proxy=proxy).found.family == "titok_proxy"
    assert str(made / "model.safetensors") in refusal(made)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"num_latent_tokens": 7}, "model.vq_model.num_latent_tokens is 7, by the tensors it is 6"),
        ({"codebook_size": 64}, "model.vq_model.codebook_size is 64, by the tensors it is 32"),
        ({"token_size": 12}, "model.vq_model.token_size is 12, by the tensors it is 5"),
        (
            {"vit_enc_model_size": "small"},
            "model.vq_model.vit_enc_model_size is small, by the tensors it is none of small, base, large (16 wide",
        ),
        ({"vit_dec_model_size": "large"}, "model.vq_model.vit_dec_model_size is large"),
        ({"vit_enc_patch_size": 16}, "model.vq_model.vit_enc_patch_size is 16, by the tensors it is 8"),
        ({"is_legacy": True}, "model.vq_model.is_legacy is true, by the tensors it is false"),
        ({"is_legacy": None}, "model.vq_model.is_legacy is true (so it is when left out), by the tensors it is false"),
        ({"finetune_decoder": None}, "model.vq_model.finetune_decoder is true (so it is when left out), by the tensors it is false"),
        ({"quantize_mode": "vae"}, "model.vq_model.quantize_mode is vae, by the tensors it is vq"),
        ({"strict_length_assertion": False}, "model.vq_model.strict_length_assertion is false, by the tensors it is true"),
        ({"crop_size": 64}, "dataset.preprocessing.crop_size is 64, by the tensors it is 32"),
    ],
)
def test_a_configuration_that_contradicts_the_tensors_is_named_with_both_values(tmp_path: Path, own: dict[str, Any], words: str) -> None:
    made = folder(tmp_path, tree_of(**own))
    assert refusal(made).startswith(f"{made / 'config.json'}: {words}")


def test_the_codebook_of_a_continuous_model_is_not_asked_for(tmp_path: Path) -> None:
    made = folder(tmp_path, tree_of(quantize_mode="vae", codebook_size=4096), "titok_vae")
    assert load_upstream(made).found.family == "titok_vae"


@pytest.mark.parametrize(("own", "fits"), [({"text_context_length": 4, "text_embed_dim": 8}, True), ({}, False)])
def test_the_sizes_of_texts_are_compared(tmp_path: Path, own: dict[str, Any], fits: bool) -> None:
    made = folder(tmp_path, tree_of(**own), "tatitok")
    if fits:
        assert load_upstream(made).found.family == "tatitok"
    else:
        assert "text_context_length is 77 (so it is when left out), by the tensors it is 4" in refusal(made)


def test_a_titoks_configuration_beside_a_maskgit_vqgan_is_a_contradiction(tmp_path: Path) -> None:
    assert "MaskGIT-VQGAN" in refusal(folder(tmp_path, tree_of(), "maskgit_vqgan"))


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"model": {"vq_model": ["small"]}}, "model.vq_model: "),
        ({"model": 3}, "model: "),
        ({"model": {}}, "model.vq_model: "),
        ([], "config.json: "),
        (b"\xff{", "config.json: "),
        (b"[" * 100_000, "config.json: "),
        (b" " * 1_000_001, "larger than 1 MB"),
        (tree_of(num_latent_tokens="many"), "model.vq_model.num_latent_tokens: "),
        (tree_of(num_latent_tokens=6.5), "model.vq_model.num_latent_tokens: "),
        (tree_of(use_l2_norm="yes"), "model.vq_model.use_l2_norm: "),
        (tree_of(vit_enc_model_size="giant"), "model.vq_model.vit_enc_model_size: "),
        (tree_of(quantize_mode="fsq"), "model.vq_model.quantize_mode: "),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_a_configuration_that_is_none_is_one_line(tmp_path: Path, tree: Any, words: str) -> None:
    text = refusal(folder(tmp_path, tree))
    assert "config.json: " in text
    assert words in text


def test_what_is_wrong_with_tensors_is_said_of_their_file(tmp_path: Path) -> None:
    state = state_of("titok_pixel")
    del state["encoder.ln_pre.bias"]
    file = saved(tmp_path / "tokenizer.bin", state)
    assert refusal(file) == f"{file}: lacks encoder.ln_pre.bias"


def test_what_is_wrong_with_a_proxy_is_said_of_its_file(tmp_path: Path) -> None:
    first = saved(tmp_path / "first.bin", state_of("titok_proxy"))
    state = proxy_state()
    del state["decoder.norm_out.bias"]
    lacking = saved(tmp_path / "lacking.bin", state)
    assert refusal(first, proxy=lacking) == f"{lacking}: lacks decoder.norm_out.bias"
    other = saved(tmp_path / "other.bin", state_of("titok"))
    assert "a first stage goes with a MaskGIT-VQGAN" in refusal(first, proxy=other)


def test_a_cut_file_is_one_line(tmp_path: Path) -> None:
    file = saved(tmp_path / "tokenizer.bin", state_of("titok"))
    file.write_bytes(file.read_bytes()[:10_000])
    assert str(file) in refusal(file)


class Harmful:
    """A pickle with this in it would make a file."""

    def __init__(self, trace: Path):
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._trace,)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.bin").write_bytes(pickle.dumps({"latent_tokens": Harmful(tmp_path / "trace")}))
    assert str(tmp_path / "tokenizer.bin") in refusal(tmp_path / "tokenizer.bin")
    assert not (tmp_path / "trace").exists()


def test_a_vtok_model_needs_no_converting(tmp_path: Path) -> None:
    LinearTokenizer.tiny().save_pretrained(tmp_path / "mine")
    for path in (tmp_path / "mine", tmp_path / "mine" / "model.safetensors"):
        assert refusal(path) == f"{tmp_path / 'mine'}: is a vtok model already; give that folder as the model"
    assert not is_upstream(tmp_path / "mine")
    assert whose(tmp_path / "mine" / "config.json") == "vtok"


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photo.jpg").touch()
    assert "no such file or folder" in refusal(tmp_path / "none")
    assert "has neither model.safetensors nor pytorch_model.bin" in refusal(tmp_path / "empty")
    assert "their names end in .safetensors" in refusal(tmp_path / "photo.jpg")
    assert not is_upstream(tmp_path / "empty")


def test_safetensors_are_taken_where_both_kinds_are_there(tmp_path: Path) -> None:
    made = folder(tmp_path, tree_of())
    (made / "pytorch_model.bin").touch()
    assert read_upstream(made).file == made / "model.safetensors"
