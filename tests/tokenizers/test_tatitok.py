"""Decoders that read captions: what they take as text, and what it does. The text tower itself: `test_clip_text.py`."""

import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tokenizers.test_titok import given_to
from vtok.errors import MissingExtraError, UnsupportedError, WeightsError
from vtok.models.decoders import DecodeOptions
from vtok.models.decoders.text_vit_pixels import TextVitPixelDecoder
from vtok.tokenizers import tatitok
from vtok.tokenizers.clip_text import LENGTH, VARIABLE, WIDTH
from vtok.tokenizers.tatitok import TaTitok, TaTitokVae, TextConfig

Model = TaTitok | TaTitokVae
both = pytest.mark.parametrize("kind", [TaTitok, TaTitokVae])


def images(number: int = 2) -> Tensor:
    return torch.rand(number, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def texts(number: int = 2, length: int = 4, dim: int = 8) -> Tensor:
    return torch.randn(number, length, dim, generator=torch.Generator().manual_seed(1))


def decoded(tok: Model, text: Any) -> Tensor:
    strings: Any = tok.encode(images())
    return tok.decode(strings, DecodeOptions(text=text))


class NotedTower:
    """Stands for CLIP: each caption's embeddings are its own, and what was asked for is kept."""

    asked: list[list[str]]

    def __init__(self) -> None:
        self.asked = []

    def __call__(self, captions: Sequence[str]) -> Tensor:
        self.asked.append(list(captions))
        seeds = [sum(caption.encode()) for caption in captions]
        return torch.stack([torch.randn(LENGTH, WIDTH, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def of_clips_size(kind: type[Model]) -> Model:
    config = kind.tiny().config
    torch.manual_seed(0)
    return kind(config.model_copy(update={"text": TextConfig()})).eval()


# --- what text does


@both
@torch.no_grad()
def test_text_stands_behind_the_latents_with_positions_of_its_own(kind: type[Model]) -> None:
    tok = kind.tiny()
    decoder = tok.decoder
    assert isinstance(decoder, TextVitPixelDecoder)
    before, after = given_to(decoder.trunk.norm_in), given_to(decoder.trunk.norm_out)
    decoded(tok, texts())
    sequence = before()
    assert sequence.shape == (2, 1 + 16 + 6 + 4, 16)
    torch.testing.assert_close(sequence[:, 23:], decoder.text_embed(texts()) + decoder.text_positions)
    assert after().shape == (2, 16, 16)


@both
@torch.no_grad()
def test_every_position_of_a_text_moves_the_picture(kind: type[Model]) -> None:
    tok = kind.tiny()
    whole = decoded(tok, texts())
    for position in range(4):
        changed = texts()
        changed[:, position] = 0
        assert float((decoded(tok, changed) - whole).abs().max()) > 1e-4


@both
def test_no_text_is_a_text_of_zeros(kind: type[Model]) -> None:
    tok = kind.tiny()
    without: Any = tok.encode(images())
    assert torch.equal(tok.decode(without), decoded(tok, torch.zeros(2, 4, 8)))
    assert float((tok.decode(without) - decoded(tok, texts())).abs().max()) > 1e-3


@both
def test_text_says_nothing_to_the_encoder(kind: type[Model]) -> None:
    assert not any("text" in name for name, _ in kind.tiny().encoder.named_parameters())


@both
def test_each_picture_has_its_own_text(kind: type[Model]) -> None:
    tok = kind.tiny()
    together = decoded(tok, texts())
    for own in range(2):
        strings: Any = tok.encode(images()[own : own + 1])
        alone = tok.decode(strings, DecodeOptions(text=texts()[own : own + 1]))
        torch.testing.assert_close(together[own], alone[0], rtol=0, atol=1e-5)  # sums of another order


@both
def test_all_tiles_of_a_picture_have_its_text(kind: type[Model]) -> None:
    tok = kind.tiny()
    wide = torch.cat([images(), images().flip(0)], 3)
    grid: Any = tok.encode_grid(wide)
    shown = tok.decode_grid(grid, 1, 2, DecodeOptions(text=texts()))
    left: Any = tok.encode(wide[..., :32])
    torch.testing.assert_close(shown[..., :32], tok.decode(left, DecodeOptions(text=texts())), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="text of 4 pictures given, 2 are decoded"):
        tok.decode_grid(grid, 1, 2, DecodeOptions(text=texts(4)))


@both
def test_embeddings_of_other_types_are_taken(kind: type[Model]) -> None:
    tok = kind.tiny()
    rounded = texts().bfloat16()
    assert torch.equal(decoded(tok, rounded), decoded(tok, rounded.float()))


@both
@pytest.mark.parametrize("shape", [(1, 4, 8), (3, 4, 8), (2, 3, 8), (2, 4, 7), (2, 8)])
def test_embeddings_of_another_shape_are_refused(kind: type[Model], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"text must be 2 captions, or their embeddings \(2, 4, 8\); got"):
        decoded(kind.tiny(), torch.zeros(shape))


# --- captions


@both
def test_captions_are_embedded_each_once(kind: type[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    tower = NotedTower()
    monkeypatch.setattr(tatitok, "ClipText", lambda: tower)
    tok = of_clips_size(kind)
    same = decoded(tok, ["a cat", "a cat"])
    other = decoded(tok, ["a cat", "a dog"])
    assert tower.asked == [["a cat"], ["a cat", "a dog"]]
    assert torch.equal(same, decoded(tok, tower(["a cat", "a cat"])))
    torch.testing.assert_close(other[0], same[0], rtol=0, atol=1e-5)
    assert not torch.equal(other[1], same[1])


@both
def test_as_many_captions_as_pictures_are_needed(kind: type[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tatitok, "ClipText", NotedTower)
    with pytest.raises(ValueError, match="text must be 2 captions"):
        decoded(of_clips_size(kind), ["a cat"])


@both
def test_a_model_of_other_embeddings_takes_no_captions(kind: type[Model]) -> None:
    with pytest.raises(UnsupportedError, match="CLIP's embeddings are 77 x 768, this model takes 4 x 8"):
        decoded(kind.tiny(), ["a cat", "a dog"])


@both
def test_the_text_tower_is_no_part_of_the_model(kind: type[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tatitok, "ClipText", lambda: torch.nn.Linear(1, 1))
    tok = of_clips_size(kind)
    before = set(tok.state_dict())
    with pytest.raises(TypeError):  # what stands for CLIP here reads no captions
        decoded(tok, ["a cat", "a dog"])
    assert set(tok.state_dict()) == before


@both
def test_weights_of_clip_that_are_nowhere_are_named(kind: type[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("open_clip", reason='captions need open_clip: pip install "vtok[text]"')
    monkeypatch.setenv(VARIABLE, "nowhere.safetensors")
    with pytest.raises(WeightsError, match=r"no file nowhere\.safetensors: captions need CLIP ViT-L/14-336's weights"):
        decoded(of_clips_size(kind), ["a cat", "a dog"])


@both
def test_a_library_that_is_not_installed_is_named(kind: type[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("open_clip", "open_clip.tokenizer", "open_clip.transformer"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r'pip install "vtok\[text\]"'):
        decoded(of_clips_size(kind), ["a cat", "a dog"])
