"""`linear`: what it keeps of a picture, token by token."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.threads import threads
from vtok.errors import ConfigError, LengthError, WeightsError
from vtok.models.autoencoders.registry import PixelsConfig, Taef2Config
from vtok.tokenizers.base import DecodeOptions, Tokenizer, Tokens
from vtok.tokenizers.linear import LinearConfig, LinearTokenizer
from vtok.tokenizers.tiles import cut_tiles

PIXELS = PixelsConfig(size=16, bright=4, colour=2)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The maps of these tests are small: more threads gain little, and lose much where the processor is shared."""
    with threads(1):
        yield


@pytest.fixture
def tok() -> LinearTokenizer:
    return LinearTokenizer.tiny()


@pytest.fixture(scope="module")
def on_taef2() -> LinearTokenizer:
    """Tiles of 16 pixels, 2 x 2 cells of a taef2 with random weights."""
    torch.manual_seed(0)
    made = LinearTokenizer(LinearConfig(autoencoder=Taef2Config(), tile_size=16, num_components=6, codebook_size=8, widths=(1, 2, 3)))
    basis = torch.linalg.qr(torch.randn(128, 6)).Q
    made.fill(torch.zeros(128), basis.T, basis)
    made.quantizer.components = torch.arange(6).short()
    made.quantizer.fill([torch.randn(8, width) * 0.05 for width in (1, 2, 3)])
    return made.eval().requires_grad_(False)


def pictures(rows: int = 1, cols: int = 1, count: int = 4, seed: int = 0) -> Tensor:
    """Smooth pictures of rows x cols tiles of 16 pixels."""
    coarse = torch.rand(count, 3, 2 * rows, 2 * cols, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (16 * rows, 16 * cols), mode="bilinear")


def unclamped(tok: LinearTokenizer, tokens: Tokens) -> Tensor:
    return tok.reconstruct(tok.lookup(tokens.ids, tokens.lengths), tokens.lengths, DecodeOptions()).pictures


def test_a_string_has_a_token_a_width() -> None:
    config = LinearConfig(autoencoder=PIXELS, tile_size=48, num_components=20, codebook_size=32, widths=(3, 8, 9))
    spec = LinearTokenizer(config).spec
    assert (spec.codebook_sizes, spec.max_tokens, spec.prefix_lengths) == ((32,), 3, (1, 2, 3))
    assert spec.input_size == spec.output_size == (48, 48)


def test_a_tile_of_broken_cells_is_refused() -> None:
    config = LinearConfig(autoencoder=PIXELS, tile_size=40, num_components=4, widths=(4,))
    with pytest.raises(ConfigError, match="tile_size 40 is not a multiple of the autoencoder's 16 pixels"):
        LinearTokenizer(config)


@pytest.mark.parametrize(
    "changes", [{"widths": ()}, {"widths": (1, 0)}, {"codebook_size": 1}, {"num_components": 0}, {"tile_size": 3}, {"tiles": 3}]
)
def test_sizes_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    values = {"autoencoder": PIXELS, "tile_size": 16, "num_components": 4, "codebook_size": 16, "widths": (2, 2)}
    with pytest.raises(ValidationError):
        LinearConfig.model_validate(values | changes)


def test_a_missing_token_is_the_mean(tok: LinearTokenizer) -> None:
    latents = tok.latents(pictures())
    ids = tok.quantize(latents).ids
    none = tok.lookup(ids, torch.zeros(4, dtype=torch.int64))
    assert not none.any()
    decoded = tok.reconstruct(none, torch.zeros(4, dtype=torch.int64), DecodeOptions()).pictures
    mean = tok.autoencoder.decode(tok.mean.float().view(1, -1, 1, 1))
    torch.testing.assert_close(decoded, mean.expand(4, -1, -1, -1))


def test_errors_of_prefixes_are_those_of_the_pixels_but_for_what_no_token_codes(tok: LinearTokenizer) -> None:
    images = pictures()
    tokens, errors = tok.encode_grid_with_errors(images)
    left = torch.stack([(images - unclamped(tok, tokens.prefix(n))).square().sum((1, 2, 3)) for n in tok.spec.prefix_lengths], 1)
    uncoded = left - errors[:, 1:]  # the same for every prefix of a picture
    spread = uncoded.amax(1) - uncoded.amin(1)
    assert bool((spread < 0.02 * errors[:, 0]).all())  # bases are rounded to bytes


def test_more_tokens_lose_less(tok: LinearTokenizer) -> None:
    images = pictures(count=32)
    tokens = tok.encode(images)
    losses = [float((tok.decode(tokens.prefix(n)) - images).square().mean()) for n in tok.spec.prefix_lengths]
    assert losses[-1] < losses[3] < losses[0]


def test_tiles_of_plain_pixels_are_coded_as_if_alone(tok: LinearTokenizer) -> None:
    images = pictures(2, 3)
    tokens = tok.encode_grid(images)
    assert torch.equal(tokens.ids, tok.encode(cut_tiles(images, (16, 16))).ids)
    alone = tok.decode(tokens)
    torch.testing.assert_close(cut_tiles(tok.decode_grid(tokens, 2, 3), (16, 16)), alone, rtol=0, atol=1e-6)


def test_tiles_of_a_network_see_their_neighbours(on_taef2: LinearTokenizer) -> None:
    tokens = on_taef2.encode_grid(pictures(2, 3, count=1))
    together = cut_tiles(on_taef2.decode_grid(tokens, 2, 3), (16, 16))
    assert on_taef2.sees_neighbours
    assert not torch.allclose(together, on_taef2.decode(tokens), atol=1e-4)


def test_strings_of_a_network_are_those_of_the_tiles_of_its_map(on_taef2: LinearTokenizer) -> None:
    images = pictures(2, 3, count=2)
    tiles = cut_tiles(on_taef2.autoencoder.encode(images), (2, 2)).flatten(1)
    components = tiles @ on_taef2.analysis.float().mul(on_taef2.analysis_scales).T
    torch.testing.assert_close(on_taef2.latents(images)[:, 0], components)
    assert torch.equal(on_taef2.encode_grid(images).ids, on_taef2.quantizer.search(components[:, None])[0])


def test_the_pictures_given_are_left_as_they_are(tok: LinearTokenizer) -> None:
    images = pictures(2, 2)
    before = images.clone()
    tok.encode_grid(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_kinds_of_floats_are_taken(tok: LinearTokenizer, dtype: torch.dtype) -> None:
    images = pictures().to(dtype)
    assert torch.equal(tok.encode(images).ids, tok.encode(images.float()).ids)


@pytest.mark.parametrize("num_tokens", [0, 9])
def test_more_tokens_than_there_are_is_an_error(tok: LinearTokenizer, num_tokens: int) -> None:
    with pytest.raises(LengthError, match=str(num_tokens)):
        tok.encode(pictures(), num_tokens)
    with pytest.raises(LengthError, match=str(num_tokens)):
        tok.encode_grid(pictures(2, 2), num_tokens)


def test_a_picture_of_broken_tiles_is_refused(tok: LinearTokenizer) -> None:
    with pytest.raises(ValueError, match="40 x 16 is not a whole number of 16 x 16 tiles"):
        tok.encode_grid(torch.zeros(1, 3, 40, 16))


def test_strings_that_fill_no_grid_are_refused(tok: LinearTokenizer) -> None:
    with pytest.raises(ValueError, match="2"):
        tok.decode_grid(tok.encode(pictures()), 2, 3)


def test_bases_are_kept_within_half_a_step(tok: LinearTokenizer) -> None:
    generator = torch.Generator().manual_seed(0)
    mean, analysis, synthesis = torch.randn(24, generator=generator), torch.randn(12, 24, generator=generator), torch.zeros(24, 12)
    analysis *= torch.logspace(-3, 2, 12)[:, None]
    synthesis.copy_(analysis.pinverse())
    tok.fill(mean, analysis, synthesis)
    assert torch.equal(tok.mean, mean.half())
    kept = tok.analysis.float() * tok.analysis_scales
    assert bool(((kept - analysis).abs() <= 0.501 * analysis.abs().amax(1, keepdim=True) / 127).all())
    kept = tok.synthesis.float() * tok.synthesis_scales
    assert bool(((kept - synthesis).abs() <= 0.501 * synthesis.abs().amax(0) / 127).all())


@pytest.mark.parametrize("name", ["mean", "synthesis", "synthesis_scales", "quantizer.components", "quantizer.tables", "quantizer.scales"])
def test_what_gives_ids_their_meaning_is_in_the_digest(tok: LinearTokenizer, name: str) -> None:
    before = tok.code_digest
    tok.get_buffer(name)[0] += 1
    assert tok.code_digest != before


@pytest.mark.parametrize("name", ["analysis", "analysis_scales"])
def test_how_ids_are_found_is_not_in_the_digest(tok: LinearTokenizer, name: str) -> None:
    before = tok.code_digest
    tok.get_buffer(name)[0] += 1
    assert tok.code_digest == before


def test_the_network_is_stored_in_half_precision_and_runs_in_single(on_taef2: LinearTokenizer, tmp_path: Path) -> None:
    on_taef2.save_pretrained(tmp_path / "model")
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert {value.dtype for name, value in stored.items() if name.startswith("autoencoder.")} == {torch.float16}
    assert stored["synthesis"].dtype == stored["quantizer.tables"].dtype == torch.int8
    loaded = Tokenizer.from_pretrained(tmp_path / "model")
    assert isinstance(loaded, LinearTokenizer)
    assert {parameter.dtype for parameter in loaded.autoencoder.parameters()} == {torch.float32}
    for name, value in on_taef2.autoencoder.state_dict().items():
        assert torch.equal(loaded.autoencoder.state_dict()[name], value.half().float())
    assert loaded.code_digest == on_taef2.code_digest
    torch.testing.assert_close(loaded.latents(pictures()), on_taef2.latents(pictures()), rtol=0, atol=2e-2)


@pytest.mark.parametrize("index", [-1, 12, 32767])
def test_a_damaged_list_of_components_is_found_when_loaded(tok: LinearTokenizer, tmp_path: Path, index: int) -> None:
    tok.save_pretrained(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    state = {name: value.clone() for name, value in load_file(file).items()}
    state["quantizer.components"][3] = index
    save_file(state, file)
    with pytest.raises(WeightsError, match="components"):
        Tokenizer.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize("wrong", [-1, 16])
def test_ids_outside_the_codebook_do_not_decode(wrong: int) -> None:
    tokenizer = LinearTokenizer.tiny()
    ids = torch.full((1, 2, 1), wrong)
    with pytest.raises(ValueError, match="codebooks of"):
        tokenizer.decode(Tokens.full(ids, tokenizer.spec))
    with pytest.raises(ValueError, match="codebooks of"):
        tokenizer.decode_grid(Tokens.full(ids, tokenizer.spec), 1, 1)


@pytest.mark.parametrize("widths", [(2**40,), (10**9,) * 16])
def test_tables_without_measure_are_refused_before_they_are_made(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at most"):
        LinearConfig(autoencoder=PIXELS, tile_size=16, num_components=4, codebook_size=16, widths=widths)
