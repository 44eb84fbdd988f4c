"""CLIP's text tower gives what TA-TiTok was trained with: all positions after the last norm, padding with id 0, no mask."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor, nn

from vtok.errors import WeightsError
from vtok.tokenizers import clip_text
from vtok.tokenizers.clip_text import LENGTH, VARIABLE, WIDTH, ClipText

pytest.importorskip("open_clip", reason='captions need open_clip: pip install "vtok[text]"')
transformers = pytest.importorskip("transformers", reason='the other implementation needs transformers: pip install "vtok[models]"')

START, END = 49406, 49407
LAYERS = 2  # of the twelve; the others are like these
CAPTIONS = ["a photo of a cat.", "Two  dogs &amp; a ball", "", "word " * 100]


@dataclass(frozen=True)
class Towers:
    """Ours and the other implementation's, with the same random weights."""

    ours: ClipText
    other: nn.Module


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Towers:
    torch.manual_seed(0)
    sizes = {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 12,
        "intermediate_size": 4 * WIDTH,
        "vocab_size": 49408,
    }
    other = transformers.CLIPTextModel(transformers.CLIPTextConfig(**sizes, hidden_act="quick_gelu")).eval()
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if parameter.ndim == 1:
                parameter.normal_(float("norm" in name and name.endswith("weight")), 0.2)
            elif "embedding" not in name:
                parameter.mul_(3)  # so that GELU is far from a line
    file = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    save_file(in_open_clips_names(other.state_dict()) | {"visual.proj": torch.zeros(2), "text_projection": torch.zeros(2)}, file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_text, "LAYERS", LAYERS)
        ours = ClipText(file)
    file.unlink()
    return Towers(ours, other)


def in_open_clips_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    own = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        **{f"ln_final.{kind}": state[f"final_layer_norm.{kind}"] for kind in ("weight", "bias")},
    }
    names = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    for layer in range(LAYERS):
        theirs, place = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            own |= {f"{place}{after}.{kind}": state[f"{theirs}{before}.{kind}"] for before, after in names.items()}
            own[f"{place}attn.in_proj_{kind}"] = torch.cat([state[f"{theirs}self_attn.{part}_proj.{kind}"] for part in "qkv"])
    return own


def ids_of(towers: Towers) -> Tensor:
    """The ids that captions become, as the tower is given them."""
    seen: list[Tensor] = []
    watch = towers.ours.tower.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    towers.ours(CAPTIONS)
    watch.remove()
    return seen[0]


def test_embeddings_are_all_hidden_states_after_the_last_norm(towers: Towers) -> None:
    embeddings = towers.ours(CAPTIONS)
    assert embeddings.shape == (len(CAPTIONS), LENGTH, WIDTH)
    with torch.no_grad():
        expected = towers.other(input_ids=ids_of(towers)).last_hidden_state
    torch.testing.assert_close(embeddings, expected, rtol=1e-4, atol=1e-4)


def test_the_activation_is_the_quick_one(towers: Towers) -> None:
    """Or the test above would not tell it from another."""
    mlp = towers.other.encoder.layers[0].mlp  # type: ignore[union-attr, index]
    x = torch.linspace(-3, 3, 50)
    torch.testing.assert_close(mlp.activation_fn(x), x * torch.sigmoid(1.702 * x))
    assert float((mlp.activation_fn(x) - nn.functional.gelu(x)).abs().max()) > 0.01


def test_captions_begin_and_end_with_their_signs_and_are_filled_up_with_0(towers: Towers) -> None:
    for ids in ids_of(towers):
        end = int((ids == END).nonzero()[0])
        assert int(ids[0]) == START
        assert not ids[end + 1 :].any()
    cat, _, nothing, long = ids_of(towers)
    assert cat[:8].tolist() == [START, 320, 1125, 539, 320, 2368, 269, END]
    assert nothing[:3].tolist() == [START, END, 0]
    assert int(long[-1]) == END
    assert len(set(long[1:-1].tolist())) == 1


def test_what_fills_up_takes_part(towers: Towers) -> None:
    """Padding with the end sign, as some tokenizers do, gives other embeddings behind it, and the same before."""
    ids = ids_of(towers)[:1]
    other = torch.where(ids == 0, END, ids)
    end = int((ids[0] == END).nonzero()[0])
    found, expected = (towers.ours.tower(given)[1] for given in (ids, other))
    torch.testing.assert_close(found[:, : end + 1], expected[:, : end + 1])
    assert float((found[:, end + 1 :] - expected[:, end + 1 :]).abs().mean()) > 0.1


def test_embeddings_are_float32_without_gradients_inside_autocast(towers: Towers) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        inside = towers.ours(CAPTIONS[:1])
    assert inside.dtype == torch.float32
    assert not inside.requires_grad
    assert not any(parameter.requires_grad for parameter in towers.ours.parameters())
    torch.testing.assert_close(inside, towers.ours(CAPTIONS[:1]))


def one_line(error: pytest.ExceptionInfo[WeightsError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_weights_that_are_nowhere_are_asked_for_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as error:
        ClipText()
    assert "CLIP" in one_line(error)
    assert VARIABLE in one_line(error)
    assert clip_text.REPO in one_line(error)


def test_a_file_of_the_variable_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere.safetensors"))
    with pytest.raises(WeightsError, match=r"no file .*nowhere\.safetensors: captions need CLIP ViT-L/14-336's weights") as error:
        ClipText()
    one_line(error)


def test_a_file_that_holds_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(WeightsError, match=r"text\.safetensors: cannot read CLIP's text tower") as error:
        ClipText(tmp_path / "text.safetensors")
    one_line(error)
    save_file({"positional_embedding": torch.zeros(77, 768)}, tmp_path / "half.safetensors")
    with pytest.raises(WeightsError, match=r"half\.safetensors lacks \d+ tensors of CLIP's text tower, ln_final\.bias among them") as error:
        ClipText(tmp_path / "half.safetensors")
    one_line(error)
