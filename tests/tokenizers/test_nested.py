"""`nested`: its start as `linear`, grids, tails, quantizers, what is stored and what is refused."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.threads import threads
from tests.tokenizers.starts import awake, linear_in_photo64, linear_on_taef2
from vtok.errors import ConfigError, VtokError, WeightsError
from vtok.models import tile_bands
from vtok.models.autoencoders.registry import PixelsConfig
from vtok.models.quantizers.config import FsqConfig, VqConfig
from vtok.models.quantizers.grouped_trained import TrainedGroupedQuantizer
from vtok.models.transformer import TransformerConfig
from vtok.tokenizers.base import DecodeOptions, Tokenizer, Tokens
from vtok.tokenizers.folder import SCALE
from vtok.tokenizers.linear import LinearConfig, LinearTokenizer
from vtok.tokenizers.nested import NestedConfig, NestedTokenizer
from vtok.tokenizers.tiles import cut_tiles

PIXELS = PixelsConfig(size=16, bright=4, colour=2)
SIZES = TransformerConfig(dim=8, depth=2, heads=2)
ON_PIXELS: dict[str, Any] = {"patch_size": 4, "num_registers": 5, "encoder": SIZES, "decoder": SIZES}
ON_LATENTS: dict[str, Any] = ON_PIXELS | {"patch_size": 1}
QUANTIZERS = {
    "one table": VqConfig(num_tokens=6, dim=3, codebook_size=16),
    "a table for each token": VqConfig(num_tokens=6, dim=3, codebook_size=16, shared=False),
    "on the sphere": VqConfig(kind="spherical_vq", num_tokens=6, dim=3, codebook_size=16),
    "levels": FsqConfig(num_tokens=6, levels=(4, 3)),
}
both_tails = pytest.mark.parametrize("tail", ["fill", "truncate"])
both_kinds = pytest.mark.parametrize("neighbours", [True, False])
every_quantizer = pytest.mark.parametrize("quantizer", QUANTIZERS)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The maps of these tests are small: more threads gain little, and lose much where the processor is shared."""
    with threads(1):
        yield


def pictures(rows: int = 1, cols: int = 1, count: int = 2, seed: int = 0) -> Tensor:
    """Smooth pictures of rows x cols tiles of 16 pixels."""
    coarse = torch.rand(count, 3, 4 * rows, 4 * cols, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, (16 * rows, 16 * cols), mode="bilinear")


def on_pixels(**sizes: Any) -> NestedTokenizer:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return awake(NestedTokenizer.start_from(LinearTokenizer.tiny(), **ON_PIXELS | sizes))


def from_nothing(quantizer: str, **sizes: Any) -> NestedTokenizer:
    """No linear part, random weights."""
    config = ON_PIXELS | {"autoencoder": PIXELS, "tile_size": 16, "linear": False} | sizes
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = NestedTokenizer(NestedConfig(quantizer=QUANTIZERS[quantizer], **config))
        nn.init.normal_(model.encoder.head)  # so that latents spread over the codes
        nn.init.normal_(model.decoder.head.weight)
        nn.init.normal_(model.decoder.length_in.octaves)
    return model.eval()


@pytest.fixture(scope="module", name="linear_on_taef2")
def a_linear_tokenizer_on_taef2() -> LinearTokenizer:
    return linear_on_taef2()


@pytest.fixture(scope="module")
def on_latents(linear_on_taef2: LinearTokenizer) -> NestedTokenizer:
    return awake(NestedTokenizer.start_from(linear_on_taef2, **ON_LATENTS)).requires_grad_(False)


@pytest.fixture(scope="module")
def photograph(shared: Path) -> Tensor:
    with Image.open(shared / "data" / "demo" / "astronaut.jpg") as opened:
        pixels = np.array(opened.convert("RGB").resize((256, 192)))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255


@pytest.fixture(scope="module")
def of_full_size() -> LinearTokenizer:
    return linear_in_photo64()


@pytest.fixture(scope="module")
def started(of_full_size: LinearTokenizer) -> NestedTokenizer:
    return NestedTokenizer.start_from(of_full_size, encoder=SIZES, decoder=SIZES).eval().requires_grad_(False)


def psnr(found: Tensor, expected: Tensor) -> float:
    return float(-10 * (found - expected).square().mean().log10())


# --- the start


@both_tails
def test_a_start_on_pixels_is_the_linear_tokenizer(tail: str) -> None:
    start = LinearTokenizer.tiny()
    model = NestedTokenizer.start_from(start, tail=tail, **ON_PIXELS).eval()
    images = pictures(3, 2, count=8)
    tokens = start.encode_grid(images)
    assert torch.equal(model.encode_grid(images).ids, tokens.ids)
    for n in tokens.spec.prefix_lengths:
        torch.testing.assert_close(model.decode_grid(tokens.prefix(n), 3, 2), start.decode_grid(tokens.prefix(n), 3, 2), rtol=0, atol=1e-5)


@both_tails
def test_a_start_on_latents_is_the_linear_tokenizer(linear_on_taef2: LinearTokenizer, tail: str) -> None:
    model = NestedTokenizer.start_from(linear_on_taef2, tail=tail, **ON_LATENTS).eval()
    images = pictures(3, 2, count=8)
    tokens = linear_on_taef2.encode_grid(images)
    assert torch.equal(model.encode_grid(images).ids, tokens.ids)
    for n in tokens.spec.prefix_lengths:
        expected = linear_on_taef2.decode_grid(tokens.prefix(n), 3, 2)
        torch.testing.assert_close(model.decode_grid(tokens.prefix(n), 3, 2), expected, rtol=0, atol=1e-5)


def test_a_start_leaves_the_same_errors_for_rate_control(linear_on_taef2: LinearTokenizer) -> None:
    model = NestedTokenizer.start_from(linear_on_taef2, **ON_LATENTS).eval()
    found, expected = (tok.encode_grid_with_errors(pictures(3, 2))[1] for tok in (model, linear_on_taef2))
    torch.testing.assert_close(found, expected)


def test_a_start_of_full_size_codes_a_photograph_as_the_linear_tokenizer(
    of_full_size: LinearTokenizer, started: NestedTokenizer, photograph: Tensor
) -> None:
    tokens = of_full_size.encode_grid(photograph)
    assert float((started.encode_grid(photograph).ids == tokens.ids).double().mean()) >= 0.999
    for n in (4, 128):
        expected = of_full_size.decode_grid(tokens.prefix(n), 3, 4)
        torch.testing.assert_close(started.decode_grid(tokens.prefix(n), 3, 4), expected, rtol=0, atol=1e-4)


def test_what_is_stored_of_such_a_start_costs_little(of_full_size: LinearTokenizer, started: NestedTokenizer, photograph: Tensor) -> None:
    stored = NestedTokenizer(started.config).eval()
    stored.load_state_dict(started.state_dict())
    stored.round_as_stored()
    stored.after_load()
    for n in (16, 128):
        before, after = (psnr(tok.decode_grid(tok.encode_grid(photograph, n), 3, 4), photograph) for tok in (of_full_size, stored))
        assert after > before - 0.15  # dB; measured: 0.08


def test_numbers_of_the_vectors_are_scaled_to_about_one() -> None:
    model = on_pixels()
    assert isinstance(model.quantizer, TrainedGroupedQuantizer)
    for components, table in model.quantizer.positions():
        assert bool(((table / model.component_scales[components]).square().mean(0) <= 1 + 1e-4).all())


def test_a_random_start_is_not_taken_for_a_linear_one() -> None:
    with pytest.raises(ValueError, match="linear part"):
        from_nothing("levels").take_linear(LinearTokenizer.tiny())


# --- grids


@both_kinds
def test_a_large_grid_in_bands_is_the_whole_on_pixels(neighbours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    check_bands(on_pixels(neighbours=neighbours), monkeypatch)


def test_a_large_grid_in_bands_is_the_whole_on_latents(on_latents: NestedTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    check_bands(on_latents, monkeypatch)


@every_quantizer
def test_a_large_grid_in_bands_is_the_whole_with_a_hidden_tail(quantizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_bands(from_nothing(quantizer, tail="truncate"), monkeypatch)


def check_bands(tok: NestedTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(7, 2, count=2)
    tokens = tok.encode_grid(images)
    lengths = torch.randint(1, tok.spec.max_tokens + 1, (28,), generator=torch.Generator().manual_seed(0))
    latents, decoded = tok.latents(images), tok.decode_grid(tokens.prefix(lengths), 7, 2)
    for tiles in (2, 6):
        monkeypatch.setattr(tile_bands, "TILES_AT_ONCE", tiles)
        torch.testing.assert_close(tok.latents(images), latents, rtol=1e-4, atol=1e-4)
        assert torch.equal(tok.encode_grid(images).ids, tokens.ids)
        torch.testing.assert_close(tok.decode_grid(tokens.prefix(lengths), 7, 2), decoded, rtol=0, atol=1e-5)


def test_no_more_tiles_than_a_band_has_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tok = on_pixels()
    monkeypatch.setattr(tile_bands, "TILES_AT_ONCE", 6)
    at_once: list[int] = []
    for network in (tok.encoder, tok.decoder):
        for block in network.transformer.blocks:
            norm = block.attention_norm
            assert isinstance(norm, nn.Module)
            norm.register_forward_hook(lambda module, given, made: at_once.append(made.shape[1] * made.shape[2]))  # noqa: ARG005
    tokens = tok.encode_grid(pictures(9, 2, count=1))
    assert max(at_once) == 6
    at_once.clear()
    tok.decode_grid(tokens, 9, 2)
    assert max(at_once) == 6


def test_without_neighbours_a_tile_of_pixels_is_coded_and_decoded_as_if_alone() -> None:
    tok = on_pixels(neighbours=False)
    tiles = cut_tiles(pictures(2, 3), (16, 16))
    tokens = tok.encode_grid(pictures(2, 3))
    assert torch.equal(tokens.ids, tok.encode(tiles).ids)
    torch.testing.assert_close(cut_tiles(tok.decode_grid(tokens, 2, 3), (16, 16)), tok.decode(tokens), rtol=0, atol=1e-5)


def test_with_neighbours_a_tile_is_coded_and_decoded_otherwise() -> None:
    tok = on_pixels()
    images = pictures(2, 3, count=8)
    tokens = tok.encode_grid(images)
    assert tok.sees_neighbours
    assert not torch.equal(tokens.ids, tok.encode(cut_tiles(images, (16, 16))).ids)
    assert not torch.allclose(cut_tiles(tok.decode_grid(tokens, 2, 3), (16, 16)), tok.decode(tokens), atol=1e-3)


# --- tails


@both_tails
@pytest.mark.parametrize("quantizer", ["grouped", *QUANTIZERS])
def test_what_was_cut_has_no_influence(tail: str, quantizer: str) -> None:
    tok = on_pixels(tail=tail) if quantizer == "grouped" else from_nothing(quantizer, tail=tail)
    full = tok.encode_grid(pictures(2, 2))
    other = tok.encode_grid(pictures(2, 2, seed=1))
    mixed = Tokens.full(torch.cat([full.ids[:, :3], other.ids[:, 3:]], 1), tok.spec)
    assert torch.equal(tok.decode_grid(full.prefix(3), 2, 2), tok.decode_grid(mixed.prefix(3), 2, 2))
    assert not torch.equal(tok.decode_grid(full, 2, 2), tok.decode_grid(mixed, 2, 2))


def test_a_learned_vector_stands_for_what_is_missing_and_for_nothing_else() -> None:
    tok = on_pixels(tail="fill")
    assert tok.fill is not None
    tokens = tok.encode(pictures())
    full, cut = tok.decode(tokens), tok.decode(tokens.prefix(3))
    covered = tok.covered(torch.tensor([3]))[0]
    assert 0 < int(covered.sum()) < len(covered)
    with torch.no_grad():
        tok.fill[covered] += 1
    assert torch.equal(tok.decode(tokens.prefix(3)), cut)
    with torch.no_grad():
        tok.fill[~covered] += 1
    assert not torch.allclose(tok.decode(tokens.prefix(3)), cut, atol=1e-3)
    assert torch.equal(tok.decode(tokens), full)  # all components are coded by some token


def test_a_hidden_tail_is_not_looked_at() -> None:
    """What missing tokens would say is zeros for the registers; with other zeros in their place nothing changes."""
    tok = from_nothing("levels", tail="truncate", num_registers=6)
    assert tok.fill is None
    lengths = torch.tensor([2])
    vectors = tok.lookup(tok.encode(pictures(count=1)).ids, lengths)
    expected = tok.reconstruct(vectors, lengths, DecodeOptions()).pictures
    changed = vectors.clone()
    changed[:, 2:] = 1
    assert torch.equal(tok.reconstruct(changed, lengths, DecodeOptions()).pictures, expected)
    changed[:, 1] = 1
    assert not torch.equal(tok.reconstruct(changed, lengths, DecodeOptions()).pictures, expected)


def test_a_number_is_covered_from_the_first_token_that_speaks_of_it() -> None:
    tok = on_pixels()
    assert isinstance(tok.quantizer, TrainedGroupedQuantizer)
    for n in range(1, 9):
        own = tok.quantizer.components[: sum(tok.quantizer.widths[:n])]
        assert tok.covered(torch.tensor([n]))[0].nonzero()[:, 0].tolist() == sorted(set(own.tolist()))


def test_registers_speak_and_read_in_units_of_what_is_usual() -> None:
    tok = from_nothing("one table")
    lengths = torch.full((2,), 6)
    latents = tok.latents(pictures())
    expected = tok.reconstruct(latents, lengths, DecodeOptions()).pictures
    units = torch.linspace(1, 3, 18)
    tok.component_scales *= units
    torch.testing.assert_close(tok.latents(pictures()), latents * units.view(6, 3))
    torch.testing.assert_close(tok.reconstruct(latents * units.view(6, 3), lengths, DecodeOptions()).pictures, expected)


# --- quantizers


@every_quantizer
@both_tails
def test_every_prefix_decodes_with_every_quantizer(quantizer: str, tail: str) -> None:
    tok = from_nothing(quantizer, tail=tail)
    tokens = tok.encode_grid(pictures(2, 3))
    assert tok.spec.prefix_lengths == (1, 2, 3, 4, 5, 6)
    assert tokens.ids.shape == (12, 6, 1)
    assert len(tokens.ids.unique()) > 4
    seen = []
    for n in tok.spec.prefix_lengths:
        cut = tok.decode_grid(tokens.prefix(n), 2, 3)
        assert cut.shape == (2, 3, 32, 48)
        torch.testing.assert_close(cut, tok.decode_grid(Tokens(tokens.ids, torch.full((12,), n), tok.spec), 2, 3), rtol=0, atol=1e-6)
        seen.append(cut)
    assert not any(torch.equal(a, b) for a, b in pairwise(seen))


@every_quantizer
def test_a_model_with_any_quantizer_is_saved_and_loaded_as_it_is(quantizer: str, tmp_path: Path) -> None:
    tok = from_nothing(quantizer)
    tok.round_as_stored()
    tok.save_pretrained(tmp_path / "model")
    loaded = Tokenizer.from_pretrained(tmp_path / "model")
    assert isinstance(loaded, NestedTokenizer)
    assert (loaded.config, loaded.spec, loaded.code_digest) == (tok.config, tok.spec, tok.code_digest)
    images = pictures(2, 3)
    tokens = tok.encode_grid(images)
    assert torch.equal(loaded.encode_grid(images).ids, tokens.ids)
    assert torch.equal(loaded.decode_grid(tokens.prefix(4), 2, 3), tok.decode_grid(tokens.prefix(4), 2, 3))


@every_quantizer
def test_errors_of_prefixes_fall_to_nothing(quantizer: str) -> None:
    tok = from_nothing(quantizer)
    tokens, errors = tok.encode_grid_with_errors(pictures(2, 3))
    assert torch.equal(tokens.ids, tok.encode_grid(pictures(2, 3)).ids)
    assert errors.shape == (12, 7)
    assert bool((errors[:, 1:] <= errors[:, :-1] + 1e-6).all())
    assert not errors[:, -1].any()


# --- what is stored


def large(name: str) -> NestedTokenizer:
    """Of sizes at which matrices are stored as bytes."""
    sizes = ON_PIXELS | {"encoder": TransformerConfig(dim=40, depth=1, heads=2), "decoder": TransformerConfig(dim=40, depth=1, heads=2)}
    if name == "linear":
        start = LinearTokenizer(
            LinearConfig(autoencoder=PixelsConfig(size=16, bright=8, colour=4), tile_size=16, num_components=90, widths=(40, 50))
        )
        start.fill(torch.randn(96), torch.randn(90, 96), torch.randn(96, 90) * torch.logspace(-2, 2, 90))
        start.quantizer.components = torch.randperm(90).short()
        start.quantizer.fill([torch.randn(4096, width) for width in (40, 50)])
        return awake(NestedTokenizer.start_from(start, **sizes))
    quantizer = VqConfig(kind="spherical_vq" if name == "sphere" else "vq", num_tokens=8, dim=4, codebook_size=1024, shared=name == "one")
    config = NestedConfig(autoencoder=PIXELS, tile_size=16, quantizer=quantizer, linear=False, **sizes)
    return NestedTokenizer(config).eval()


@pytest.mark.parametrize("name", ["linear", "one", "many", "sphere"])
def test_rounding_as_stored_twice_changes_nothing(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = large(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    digest = model.code_digest
    model.round_as_stored()
    once = {key: value.clone() for key, value in model.state_dict().items()}
    assert any(not torch.equal(once[key], before[key]) for key in once)
    assert model.code_digest == digest
    model.round_as_stored()
    assert all(torch.equal(value, once[key]) for key, value in model.state_dict().items())
    model.save_pretrained(tmp_path / "model")
    loaded = Tokenizer.from_pretrained(tmp_path / "model").state_dict()
    assert all(torch.equal(value, once[key]) for key, value in loaded.items())
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert {"quantizer.codes" + SCALE, "encoder.transformer.blocks.0.qkv.weight" + SCALE} <= stored.keys()


def test_each_component_of_the_linear_part_is_kept_within_half_of_its_own_step() -> None:
    torch.manual_seed(0)
    model = large("linear")
    assert model.linear is not None
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.round_as_stored()
    for name in ("quantizer.codes", "linear.synthesis"):
        step = before[name].abs().amax(0) / 127
        assert bool(((model.state_dict()[name] - before[name]).abs() <= 0.53 * step).all())  # the scale itself is rounded by up to 1/2048


def test_the_digest_is_of_the_codes_and_of_the_way_from_them_to_the_linear_map() -> None:
    tok = on_pixels()
    named = dict(tok.named_parameters()) | dict(tok.named_buffers())
    for name in ("quantizer.codes", "linear.synthesis", "linear.mean", "quantizer.components"):
        assert changes_digest(tok, named[name]), name
    for name in ("encoder.patch_in.weight", "decoder.head.weight", "decoder.registers_in", "fill", "component_scales", "linear.analysis"):
        assert not changes_digest(tok, named[name]), name


@torch.no_grad()
def changes_digest(tok: NestedTokenizer, tensor: Tensor) -> bool:
    before, digest = tensor.clone(), tok.code_digest
    tensor += 1
    changed = tok.code_digest != digest
    tensor.copy_(before)
    assert tok.code_digest == digest
    return changed


@every_quantizer
def test_the_digest_changes_with_any_code(quantizer: str) -> None:
    tok = from_nothing(quantizer)
    name = "quantizer.levels" if quantizer == "levels" else "quantizer.codes"
    assert set(tok.code_state()) == {name, "decoder.registers_in"}
    assert changes_digest(tok, tok.state_dict()[name])
    assert changes_digest(tok, tok.state_dict()["decoder.registers_in"])


# --- what is refused


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"patch_size": 3}, "tile_size 16 is not a whole number of patches of 3 pixels"),
        ({"patch_size": 32}, "tile_size 16 is not a whole number of patches of 32 pixels"),
        ({"tile_size": 24}, "tile_size 24 is not a whole number of latents of 16 pixels"),
    ],
)
def test_tiles_of_broken_patches_or_latents_are_refused(sizes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        from_nothing("levels", **sizes)


def test_patches_of_broken_latents_are_refused(linear_on_taef2: LinearTokenizer) -> None:
    with pytest.raises(ConfigError, match="tile_size 16 is not a whole number of patches of 24 pixels"):
        NestedTokenizer.start_from(linear_on_taef2, **ON_LATENTS | {"patch_size": 3})


@pytest.mark.parametrize(
    "sizes",
    [{"num_registers": 0}, {"patch_size": 0}, {"tile_size": 2000}, {"tail": "drop"}, {"encoder": {"dim": 9, "heads": 2}}, {"depth": 3}],
)
def test_sizes_out_of_range_are_refused(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        from_nothing("levels", **sizes)


@pytest.mark.parametrize(
    "sizes",
    [
        {"decoder": TransformerConfig(dim=8192, depth=128, heads=1)},
        {"encoder": TransformerConfig(dim=8192, depth=1, heads=1), "tile_size": 1024, "patch_size": 1},
        {"encoder": TransformerConfig(dim=8192, depth=1, heads=1), "tile_size": 1024, "patch_size": 1024},
        {"quantizer": VqConfig(num_tokens=4096, dim=4096), "decoder": TransformerConfig(dim=256, depth=0, heads=1)},
        {"linear": True, "tile_size": 256, "autoencoder": PixelsConfig(size=256, bright=256), "quantizer": VqConfig(num_tokens=4096)},
    ],
)
def test_networks_without_measure_are_refused_before_they_are_made(sizes: dict[str, Any]) -> None:
    values = ON_PIXELS | {"autoencoder": PIXELS, "tile_size": 16, "linear": False, "quantizer": QUANTIZERS["levels"]}
    with pytest.raises(ConfigError, match="numbers, at most"):
        NestedTokenizer(NestedConfig(**values | sizes))


def folder_of(model: NestedTokenizer, path: Path) -> tuple[Path, dict[str, Tensor]]:
    model.save_pretrained(path)
    return path / "model.safetensors", {name: value.clone() for name, value in load_file(path / "model.safetensors").items()}


CODES = "quantizer.codes"
CODES_SCALE = CODES + SCALE


def scale(change: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], object]:
    return lambda state: state.update({CODES_SCALE: change(state[CODES_SCALE]).contiguous()})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda state: state.pop(CODES_SCALE), "wrong shapes or types for quantizer.codes"),
        (lambda state: state.pop(CODES), "lacks quantizer.codes"),
        (scale(lambda own: own[..., :2]), "has unknown quantizer.codes.int8_scale"),
        (scale(lambda own: own[0]), "has unknown quantizer.codes.int8_scale"),
        (scale(lambda own: own.flatten()[:1]), "has unknown quantizer.codes.int8_scale"),
        (scale(lambda own: own.expand(2, -1, -1)), "has unknown quantizer.codes.int8_scale"),
        (scale(lambda own: own.half()), "has unknown quantizer.codes.int8_scale"),
        (scale(lambda own: own * torch.nan), "not finite in quantizer.codes"),
        (scale(lambda own: own * torch.inf), "not finite in quantizer.codes"),
        (lambda state: state.update({CODES: state[CODES].short()}), "quantizer.codes"),
        (lambda state: state.update({CODES: state[CODES][:, :5].contiguous()}), "wrong shapes or types for quantizer.codes"),
        (lambda state: state.update({"fill" + SCALE: torch.ones(1)}), "has unknown fill.int8_scale"),
        (lambda state: state.update({"what" + SCALE: torch.ones(1)}), "has unknown what.int8_scale"),
        (lambda state: state["component_scales"].zero_(), "component_scales must be above 0"),
        (lambda state: state["component_scales"].neg_(), "component_scales must be above 0"),
    ],
)
def test_a_damaged_file_of_bytes_and_scales_is_one_line(damage: Callable[[dict[str, Tensor]], object], words: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    file, state = folder_of(large("one"), tmp_path / "model")
    damage(state)
    save_file(state, file)
    with pytest.raises(WeightsError, match=words) as error:
        Tokenizer.from_pretrained(tmp_path / "model")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("index", [-1, 12, 32767])
def test_components_that_the_vector_does_not_have_are_one_line(index: int, tmp_path: Path) -> None:
    file, state = folder_of(on_pixels(), tmp_path / "model")
    state["quantizer.components"][3] = index
    save_file(state, file)
    with pytest.raises(WeightsError, match="components must be 0 to 11") as error:
        Tokenizer.from_pretrained(tmp_path / "model")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("level", [0, -3, 2**62])
def test_levels_that_the_configuration_does_not_have_are_one_line(level: int, tmp_path: Path) -> None:
    file, state = folder_of(from_nothing("levels"), tmp_path / "model")
    state["quantizer.levels"][1] = level
    save_file(state, file)
    with pytest.raises(WeightsError, match=r"levels must be those of config\.json"):
        Tokenizer.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("patch_size",), 3),
        (("patch_size",), "4"),
        (("tile_size",), 24),
        (("tile_size",), 32),
        (("num_registers",), 4),
        (("num_registers",), 10**9),
        (("tail",), "drop"),
        (("neighbors",), True),
        (("decoder", "dim"), 9),
        (("decoder", "depth"), 128),
        (("encoder", "dim"), 8192),
        (("quantizer", "kind"), "lfq"),
        (("quantizer", "levels"), [2, 2]),
        (("quantizer", "levels"), [10**9] * 9),
        (("quantizer", "num_tokens"), 7),
        (("linear",), True),
        (("autoencoder", "kind"), "taef2"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_line(place: tuple[str, ...], value: Any, tmp_path: Path) -> None:
    from_nothing("levels").save_pretrained(tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    whole = json.loads(file.read_text())
    table = whole["config"]
    for part in place[:-1]:
        table = table[part]
    table[place[-1]] = value
    file.write_text(json.dumps(whole))
    with pytest.raises(VtokError, match=r"config\.json") as error:
        Tokenizer.from_pretrained(tmp_path / "model")
    assert isinstance(error.value, ConfigError | WeightsError)
    assert "\n" not in str(error.value)
