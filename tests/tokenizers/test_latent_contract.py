"""What every registered continuous family promises, at its `tiny` size."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.threads import threads
from vtok.errors import LengthError, MissingExtraError, UnsupportedError
from vtok.models.decoders import DecodeOptions
from vtok.tokenizers.latents import Latents, LatentTokenizer
from vtok.tokenizers.registry import FAMILIES, family
from vtok.tokenizers.spec import LatentSpec
from vtok.tokenizers.tiles import cut_tiles, stitch_tiles

ROUNDED = 1e-5  # matrix products add up in another order for another batch or another number of threads, and norms enlarge that

OPTIONS: dict[str, Any] = {"steps": 2, "solver": "euler", "guidance": 2.0, "guidance_rule": "cfg", "seed": 1, "text": ["a"] * 4}


@pytest.fixture(params=[name for name in FAMILIES if issubclass(family(name), LatentTokenizer)])
def tok(request: pytest.FixtureRequest) -> LatentTokenizer:
    chosen = family(request.param)
    assert issubclass(chosen, LatentTokenizer)
    try:
        return chosen.tiny().eval()
    except MissingExtraError as error:
        pytest.skip(str(error))


def pictures(tok: LatentTokenizer, count: int = 4, rows: int = 1, cols: int = 1) -> Tensor:
    """Smooth random pictures (count, 3, rows * h, cols * w) in [0, 1], seeded."""
    height, width = tok.spec.input_size
    coarse = torch.rand(count, 3, 2 * rows, 2 * cols, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(coarse, (rows * height, cols * width), mode="bilinear")


def numbers(latents: Latents) -> Tensor:
    """All that a string of latents says, (B, N, D or 2 D)."""
    return latents.mean if latents.logvar is None else torch.cat([latents.mean, latents.logvar], 2)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=ROUNDED, atol=ROUNDED)


# --- strings


def test_the_string_is_what_the_spec_says(tok: LatentTokenizer) -> None:
    latents, spec = tok.encode(pictures(tok)), tok.spec
    assert latents.spec == spec
    assert len(latents) == 4
    assert latents.mean.shape == (4, spec.num_tokens, spec.dim)
    assert latents.mean.dtype == torch.float32
    assert latents.logvar is None or latents.logvar.shape == latents.mean.shape
    assert latents.lengths is None
    assert latents.all_lengths().tolist() == [spec.num_tokens] * 4


def test_the_spec_goes_through_json(tok: LatentTokenizer) -> None:
    values = json.loads(json.dumps(tok.spec.to_json()))
    back: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    assert LatentSpec(**back) == tok.spec


def test_the_lengths_that_decode_end_with_all_latents(tok: LatentTokenizer) -> None:
    lengths = tok.spec.prefix_lengths
    assert list(lengths) == sorted(set(lengths))
    assert 1 <= lengths[0] <= lengths[-1] == tok.spec.num_tokens


def test_the_spec_for_the_own_size_is_the_spec(tok: LatentTokenizer) -> None:
    assert tok.spec_for(*tok.spec.input_size) == tok.spec


def test_a_size_it_does_not_take_is_an_error_that_names_one_it_takes(tok: LatentTokenizer) -> None:
    with pytest.raises(UnsupportedError, match=str(tok.spec.input_size[0])):
        tok.spec_for(1, 1)


def test_different_pictures_have_different_strings(tok: LatentTokenizer) -> None:
    mean = tok.encode(pictures(tok)).mean
    assert float((mean[0] - mean[1]).abs().max()) > 0.01


def test_strings_do_not_depend_on_the_batch(tok: LatentTokenizer) -> None:
    images = pictures(tok)
    alone = torch.cat([numbers(tok.encode(image[None])) for image in images])
    close(numbers(tok.encode(images)), alone)


def test_strings_and_pictures_do_not_depend_on_the_number_of_threads(tok: LatentTokenizer) -> None:
    images = pictures(tok)
    with threads(1):
        one = tok.encode(images)
        shown = tok.decode(one)
    with threads(2):
        close(numbers(tok.encode(images)), numbers(one))
        close(tok.decode(one), shown)


def test_encoding_and_decoding_are_deterministic(tok: LatentTokenizer) -> None:
    latents = tok.encode(pictures(tok))
    shown = tok.decode(latents)
    torch.manual_seed(99)
    assert torch.equal(numbers(tok.encode(pictures(tok))), numbers(latents))
    assert torch.equal(tok.decode(latents), shown)


def test_what_is_given_is_left_as_it_is(tok: LatentTokenizer) -> None:
    images = pictures(tok)
    latents = tok.encode(images)
    before = numbers(latents).clone()
    latents.sample(torch.Generator().manual_seed(0))
    tok.decode(latents)
    assert torch.equal(images, pictures(tok))
    assert torch.equal(numbers(latents), before)


def test_eval_mode_changes_no_state(tok: LatentTokenizer) -> None:
    before = {name: value.clone() for name, value in tok.state_dict().items()}
    tok.decode(tok.encode(pictures(tok)))
    assert all(torch.equal(before[name], value) for name, value in tok.state_dict().items())


def test_bfloat16_pictures_and_latents_give_no_nan(tok: LatentTokenizer) -> None:
    latents = tok.encode(pictures(tok).bfloat16())
    assert latents.mean.dtype == torch.float32
    assert not numbers(latents).isnan().any()
    assert not tok.decode(latents).isnan().any()
    assert not tok.decode(latents.at(latents.mode().bfloat16())).isnan().any()


# --- pictures


def test_pictures_of_a_string_have_the_promised_shape_and_range(tok: LatentTokenizer) -> None:
    shown = tok.decode(tok.encode(pictures(tok)))
    assert shown.shape == (4, 3, *tok.spec.output_size)
    assert shown.dtype == torch.float32
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 1


def test_any_latents_decode_into_the_range(tok: LatentTokenizer) -> None:
    latents = tok.encode(pictures(tok))
    wild = latents.at(100 * torch.randn(latents.mean.shape, generator=torch.Generator().manual_seed(2)))
    shown = tok.decode(wild)
    assert not shown.isnan().any()
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 1


def test_decoding_takes_the_most_probable_latents_unless_points_are_given(tok: LatentTokenizer) -> None:
    latents = tok.encode(pictures(tok))
    assert torch.equal(tok.decode(latents), tok.decode(latents.at(latents.mode())))
    other = latents.at(latents.mode() + 1)
    assert other.logvar is None
    assert float((tok.decode(other) - tok.decode(latents)).abs().max()) > 1e-3


# --- samples


def test_the_same_seed_gives_the_same_sample_and_another_seed_another(tok: LatentTokenizer) -> None:
    latents = tok.encode(pictures(tok))
    if latents.logvar is None:
        pytest.skip("this family has points")
    first, again, other = (latents.sample(torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert first.shape == latents.mean.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, latents.mean)


def test_noise_moves_a_sample_by_standard_deviations(tok: LatentTokenizer) -> None:
    latents = tok.encode(pictures(tok))
    if latents.logvar is None:
        pytest.skip("this family has points")
    assert torch.equal(latents.with_noise(torch.zeros_like(latents.mean)), latents.mean)
    by_two = latents.with_noise(torch.full_like(latents.mean, 2.0)) - latents.mean
    torch.testing.assert_close(by_two, 2 * latents.logvar.exp().sqrt())


def test_a_sample_does_not_spend_the_global_generator(tok: LatentTokenizer) -> None:
    latents = tok.encode(pictures(tok))
    before = torch.get_rng_state()
    latents.sample(torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_points_have_no_noise(tok: LatentTokenizer) -> None:
    points = tok.encode(pictures(tok)).at(torch.ones(4, tok.spec.num_tokens, tok.spec.dim))
    assert torch.equal(points.sample(torch.Generator().manual_seed(0)), points.mean)


def test_variances_stay_numbers(tok: LatentTokenizer) -> None:
    """However wild the encoder is: logarithms of variances are cut at -30 and 20."""
    with torch.no_grad():
        for name, parameter in tok.named_parameters():
            if name.startswith(("encoder.head", "autoencoder.model.encoder.conv_out")):
                parameter.mul_(1e6)
    latents = tok.encode(pictures(tok))
    if latents.logvar is None:
        pytest.skip("this family has points")
    assert -30 <= float(latents.logvar.min()) <= float(latents.logvar.max()) <= 20
    assert bool(latents.sample(torch.Generator().manual_seed(0)).isfinite().all())


# --- prefixes and batches


def test_a_length_that_does_not_decode_is_refused(tok: LatentTokenizer) -> None:
    latents = tok.encode(pictures(tok))
    for length in (0, -1, tok.spec.num_tokens + 1, *set(range(1, tok.spec.num_tokens)).difference(tok.spec.prefix_lengths)):
        with pytest.raises(LengthError, match=rf"{length} tokens do not decode here; lengths that do: .*{tok.spec.num_tokens}"):
            latents.prefix(length)


def test_a_prefix_of_all_latents_is_the_string(tok: LatentTokenizer) -> None:
    latents = tok.encode(pictures(tok))
    assert torch.equal(tok.decode(latents.prefix(tok.spec.num_tokens)), tok.decode(latents))


def test_parts_of_a_batch_join_to_the_batch(tok: LatentTokenizer) -> None:
    latents = tok.encode(pictures(tok))
    joined = Latents.cat([latents[:1], latents[1:]])
    assert torch.equal(numbers(joined), numbers(latents))
    assert joined.lengths is None
    cut = replace(latents[1:], lengths=torch.ones(3, dtype=torch.int64))
    assert Latents.cat([latents[:1], cut]).all_lengths().tolist() == [tok.spec.num_tokens, 1, 1, 1]


def test_strings_of_different_kinds_do_not_join(tok: LatentTokenizer) -> None:
    latents = tok.encode(pictures(tok))
    other = replace(latents, spec=replace(tok.spec, dim=tok.spec.dim + 1))
    for parts in ([], [latents, other], [latents, replace(latents, logvar=None if latents.logvar is not None else latents.mean)]):
        with pytest.raises(ValueError, match="cat needs"):
            Latents.cat(parts)


# --- what is refused


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda images: images[0], id="three axes"),
        pytest.param(lambda images: images[:, :1], id="one channel"),
        pytest.param(lambda images: images[:0], id="no pictures"),
        pytest.param(lambda images: (images * 255).to(torch.uint8), id="bytes"),
        pytest.param(lambda images: images * 2 - 1, id="from -1 to 1"),
        pytest.param(lambda images: images * 255, id="up to 255"),
        pytest.param(lambda images: images * torch.nan, id="not a number"),
    ],
)
@pytest.mark.parametrize("method", ["encode", "encode_grid"])
def test_images_of_another_kind_are_refused(tok: LatentTokenizer, method: str, spoil: Any) -> None:
    with pytest.raises(ValueError, match="images"):
        getattr(tok, method)(spoil(pictures(tok)))


def test_pictures_of_another_size_are_refused(tok: LatentTokenizer) -> None:
    with pytest.raises(UnsupportedError, match=tok.family):
        tok.encode(pictures(tok)[..., :-1])


def test_latents_of_another_spec_or_shape_are_refused(tok: LatentTokenizer) -> None:
    latents = tok.encode(pictures(tok))
    with pytest.raises(ValueError, match="another spec"):
        tok.decode(replace(latents, spec=replace(tok.spec, dim=tok.spec.dim + 1)))
    for points in (latents.mean[:, :-1], latents.mean[..., :-1], latents.mean.long()):
        with pytest.raises(ValueError, match="latents must be"):
            tok.decode(latents.at(points))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("method", ["decode", "decode_grid"])
def test_an_option_it_lacks_is_an_error_that_names_it(tok: LatentTokenizer, method: str, option: str) -> None:
    if option in tok.decode_options:
        pytest.skip("this family has the option")
    latents = tok.encode(pictures(tok))
    place = (1, 1) if method == "decode_grid" else ()
    with pytest.raises(UnsupportedError, match=option):
        getattr(tok, method)(latents, *place, DecodeOptions(**{option: OPTIONS[option]}))


# --- grids


def test_a_grid_is_its_tiles_one_by_one(tok: LatentTokenizer) -> None:
    images = pictures(tok, 2, rows=2, cols=3)
    close(numbers(tok.encode_grid(images)), numbers(tok.encode(cut_tiles(images, tok.spec.input_size))))


def test_a_grid_of_one_tile_is_the_tile(tok: LatentTokenizer) -> None:
    latents = tok.encode(pictures(tok))
    close(numbers(tok.encode_grid(pictures(tok))), numbers(latents))
    close(tok.decode_grid(latents, 1, 1), tok.decode(latents))


def test_a_grid_decodes_to_the_size_of_the_picture(tok: LatentTokenizer) -> None:
    height, width = tok.spec.output_size
    latents = tok.encode_grid(pictures(tok, 2, rows=2, cols=3))
    assert len(latents) == 2 * 2 * 3
    shown = tok.decode_grid(latents, 2, 3)
    assert shown.shape == (2, 3, 2 * height, 3 * width)
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 1


def test_the_pictures_of_a_batch_of_grids_do_not_mix(tok: LatentTokenizer) -> None:
    images = pictures(tok, 2, rows=2, cols=3)
    latents = tok.encode_grid(images)
    close(numbers(latents[:6]), numbers(tok.encode_grid(images[:1])))
    close(tok.decode_grid(latents, 2, 3)[1:], tok.decode_grid(latents[6:], 2, 3))


def test_a_grid_that_overlaps_decodes_to_its_blended_tiles(tok: LatentTokenizer) -> None:
    overlap = min(tok.spec.input_size) // 4
    images = pictures(tok, 2, rows=2, cols=3)[..., :-overlap, : -2 * overlap]
    latents = tok.encode_grid(images, overlap=overlap)
    close(numbers(latents), numbers(tok.encode(cut_tiles(images, tok.spec.input_size, overlap))))
    shared = tok.decoded_overlap(overlap)
    shown = tok.decode_grid(latents, 2, 3, overlap=overlap)
    assert shown.shape == images.shape
    close(shown, stitch_tiles(tok.decode(latents), 2, 3, shared))


def test_the_overlap_of_a_family_by_itself_is_one_that_it_takes(tok: LatentTokenizer) -> None:
    assert 0 < tok.default_overlap == tok.decoded_overlap(tok.default_overlap)


def test_more_overlap_than_half_a_tile_is_refused(tok: LatentTokenizer) -> None:
    with pytest.raises(UnsupportedError, match="more than half a tile"):
        tok.encode_grid(pictures(tok), overlap=min(tok.spec.input_size) // 2 + 1)
    with pytest.raises(ValueError, match="at least 0"):
        tok.encode_grid(pictures(tok), overlap=-1)


def test_a_grid_that_is_no_whole_number_of_tiles_is_refused(tok: LatentTokenizer) -> None:
    with pytest.raises(ValueError, match="whole number"):
        tok.encode_grid(pictures(tok)[..., :-1])
    with pytest.raises(ValueError, match="do not fill"):
        tok.decode_grid(tok.encode(pictures(tok)), 3, 1)


# --- files


def test_a_saved_model_comes_back_the_same(tok: LatentTokenizer, tmp_path: Path) -> None:
    tok.save_pretrained(tmp_path / "model")
    loaded = LatentTokenizer.from_pretrained(tmp_path / "model")
    latents = tok.encode(pictures(tok))
    assert type(loaded) is type(tok)
    assert loaded.spec == tok.spec
    assert torch.equal(numbers(loaded.encode(pictures(tok))), numbers(latents))
    assert torch.equal(loaded.decode(latents), tok.decode(latents))


def test_saving_a_loaded_model_writes_the_same_bytes(tok: LatentTokenizer, tmp_path: Path) -> None:
    tok.save_pretrained(tmp_path / "one")
    LatentTokenizer.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_tiny_models_are_equal(tok: LatentTokenizer) -> None:
    torch.manual_seed(99)
    again = type(tok).tiny().state_dict()
    assert all(torch.equal(value, again[name]) for name, value in tok.state_dict().items())
