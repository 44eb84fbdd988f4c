"""What every registered family promises, at its `tiny` size."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.threads import threads
from vtok.errors import LengthError, UnsupportedError
from vtok.tokenizers.base import DecodeOptions, Tokenizer, Tokens
from vtok.tokenizers.registry import FAMILIES, family
from vtok.tokenizers.spec import TokenSpec
from vtok.tokenizers.tiles import cut_tiles, stitch_tiles

ROUNDED = 1e-5  # convolutions add up in another order for another batch, and norms enlarge that

OPTIONS: dict[str, Any] = {"steps": 2, "solver": "euler", "guidance": 2.0, "guidance_rule": "cfg", "seed": 1, "text": ["a"] * 4}


@pytest.fixture(params=[name for name in FAMILIES if issubclass(family(name), Tokenizer)])
def tok(request: pytest.FixtureRequest) -> Tokenizer:
    chosen = family(request.param)
    assert issubclass(chosen, Tokenizer)
    return chosen.tiny().eval()


def pictures(tok: Tokenizer, count: int = 4, rows: int = 1, cols: int = 1) -> Tensor:
    """Smooth random pictures (count, 3, rows * h, cols * w) in [0, 1], seeded."""
    height, width = tok.spec.input_size
    coarse = torch.rand(count, 3, 2 * rows, 2 * cols, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(coarse, (rows * height, cols * width), mode="bilinear")


def shortest(tok: Tokenizer) -> int:
    if len(tok.spec.prefix_lengths) == 1:
        pytest.skip("this family has no prefixes")
    return tok.spec.prefix_lengths[len(tok.spec.prefix_lengths) // 2 - 1]


def test_the_string_is_what_the_spec_says(tok: Tokenizer) -> None:
    spec = tok.spec
    tokens = tok.encode(pictures(tok))
    assert tokens.spec == spec
    assert tokens.ids.shape == (4, spec.max_tokens, len(spec.codebook_sizes))
    assert tokens.lengths.tolist() == [spec.max_tokens] * 4
    assert bool((tokens.ids >= 0).all())
    assert bool((tokens.ids < torch.tensor(spec.codebook_sizes)).all())


def test_the_spec_goes_through_json(tok: Tokenizer) -> None:
    assert TokenSpec.from_json(tok.spec.to_json()) == tok.spec


def test_the_spec_for_the_own_size_is_the_spec(tok: Tokenizer) -> None:
    assert tok.spec_for(*tok.spec.input_size) == tok.spec


def test_a_size_it_does_not_take_is_an_error_that_names_one_it_takes(tok: Tokenizer) -> None:
    with pytest.raises(UnsupportedError, match=str(tok.spec.input_size[0])):
        tok.spec_for(1, 1)


def test_pictures_of_a_string_have_the_promised_shape_and_range(tok: Tokenizer) -> None:
    decoded = tok.decode(tok.encode(pictures(tok)))
    assert decoded.shape == (4, 3, *tok.spec.output_size)
    assert decoded.is_floating_point()
    assert float(decoded.min()) >= 0
    assert float(decoded.max()) <= 1


def test_any_ids_decode_into_the_range(tok: Tokenizer) -> None:
    generator = torch.Generator().manual_seed(2)
    columns = [torch.randint(size, (4, tok.spec.max_tokens), generator=generator) for size in tok.spec.codebook_sizes]
    decoded = tok.decode(Tokens.full(torch.stack(columns, 2), tok.spec))
    assert not decoded.isnan().any()
    assert 0 <= float(decoded.min()) <= float(decoded.max()) <= 1


def test_different_pictures_have_different_strings(tok: Tokenizer) -> None:
    ids = tok.encode(pictures(tok)).ids
    assert not torch.equal(ids[0], ids[1])


def test_ids_do_not_depend_on_the_batch(tok: Tokenizer) -> None:
    images = pictures(tok)
    alone = torch.cat([tok.encode(image[None]).ids for image in images])
    assert torch.equal(tok.encode(images).ids, alone)


def test_ids_do_not_depend_on_the_number_of_threads(tok: Tokenizer) -> None:
    images = pictures(tok)
    with threads(1):
        one = tok.encode(images).ids
    with threads(2):
        two = tok.encode(images).ids
    assert torch.equal(one, two)


def test_encoding_is_deterministic(tok: Tokenizer) -> None:
    images = pictures(tok)
    first = tok.encode(images).ids
    torch.manual_seed(99)
    assert torch.equal(first, tok.encode(images).ids)


def test_decoding_with_the_same_seed_is_deterministic(tok: Tokenizer) -> None:
    tokens = tok.encode(pictures(tok))
    first = tok.decode(tokens)
    torch.manual_seed(99)
    assert torch.equal(first, tok.decode(tokens))


def test_pictures_given_are_left_as_they_are(tok: Tokenizer) -> None:
    images = pictures(tok)
    before = images.clone()
    tok.encode(images)
    tok.encode_grid_with_errors(images)
    assert torch.equal(images, before)


def test_ids_given_are_left_as_they_are(tok: Tokenizer) -> None:
    tokens = tok.encode(pictures(tok))
    before = tokens.ids.clone()
    tok.decode(tokens)
    assert torch.equal(tokens.ids, before)


def test_eval_mode_changes_no_state(tok: Tokenizer) -> None:
    before = {name: value.clone() for name, value in tok.state_dict().items()}
    tok.decode(tok.encode(pictures(tok)))
    tok.encode_grid_with_errors(pictures(tok))
    assert all(torch.equal(before[name], value) for name, value in tok.state_dict().items())


def test_bfloat16_pictures_give_no_nan(tok: Tokenizer) -> None:
    images = pictures(tok).bfloat16()
    tokens, errors = tok.encode_grid_with_errors(images)
    assert not errors.isnan().any()
    assert not tok.decode(tok.encode(images)).isnan().any()
    assert not tok.decode(tokens).isnan().any()


def test_a_request_for_fewer_tokens_is_a_prefix(tok: Tokenizer) -> None:
    n = shortest(tok)
    images = pictures(tok)
    asked, cut = tok.encode(images, n), tok.encode(images).prefix(n)
    assert torch.equal(asked.ids, cut.ids)
    assert asked.lengths.tolist() == [n] * 4


def test_a_prefix_ignores_what_was_cut(tok: Tokenizer) -> None:
    n = shortest(tok)
    full = tok.encode(pictures(tok))
    lengths = torch.full_like(full.lengths, n)
    changed = full.ids.clone()
    changed[:, n:] = (changed[:, n:] + 1) % torch.tensor(tok.spec.codebook_sizes)
    expected = tok.decode(full.prefix(n))
    assert torch.equal(expected, tok.decode(Tokens(full.ids, lengths, tok.spec)))
    assert torch.equal(expected, tok.decode(Tokens(changed, lengths, tok.spec)))


def test_each_string_of_a_batch_has_its_own_length(tok: Tokenizer) -> None:
    n = shortest(tok)
    full = tok.encode(pictures(tok, 2))
    together = tok.decode(full.prefix(torch.tensor([n, tok.spec.max_tokens])))
    torch.testing.assert_close(together[0], tok.decode(full[0].prefix(n))[0], rtol=0, atol=ROUNDED)
    torch.testing.assert_close(together[1], tok.decode(full[1])[0], rtol=0, atol=ROUNDED)


def test_more_tokens_than_there_are_is_an_error(tok: Tokenizer) -> None:
    with pytest.raises(LengthError, match=str(tok.spec.max_tokens)):
        tok.encode(pictures(tok), tok.spec.max_tokens + 1)


def test_no_tokens_is_an_error(tok: Tokenizer) -> None:
    with pytest.raises(LengthError):
        tok.encode(pictures(tok), 0)


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
@pytest.mark.parametrize("method", ["encode", "encode_grid", "encode_grid_with_errors"])
def test_images_of_another_kind_are_refused(tok: Tokenizer, method: str, spoil: Any) -> None:
    with pytest.raises(ValueError, match="images"):
        getattr(tok, method)(spoil(pictures(tok)))


def test_a_grid_that_is_no_whole_number_of_tiles_is_refused(tok: Tokenizer) -> None:
    with pytest.raises((ValueError, UnsupportedError)):
        tok.encode_grid(pictures(tok)[..., :-1])


def test_tokens_of_another_spec_are_refused(tok: Tokenizer) -> None:
    spec = TokenSpec((2,) * (len(tok.spec.codebook_sizes) + 1), 1, (1,), (8, 8), (8, 8))
    with pytest.raises(ValueError, match="spec"):
        tok.decode(Tokens.full(torch.zeros(1, 1, len(spec.codebook_sizes), dtype=torch.int64), spec))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("method", ["decode", "decode_grid"])
def test_an_option_it_lacks_is_an_error_that_names_it(tok: Tokenizer, method: str, option: str) -> None:
    if option in tok.decode_options:
        pytest.skip("this family has the option")
    tokens = tok.encode(pictures(tok))
    place = (1, 1) if method == "decode_grid" else ()
    with pytest.raises(UnsupportedError, match=option):
        getattr(tok, method)(tokens, *place, DecodeOptions(**{option: OPTIONS[option]}))


def test_a_grid_is_its_tiles_one_by_one(tok: Tokenizer) -> None:
    if getattr(tok, "sees_neighbours", False):
        pytest.skip("this family sees across tiles")
    images = pictures(tok, 2, rows=2, cols=3)
    grid = tok.encode_grid(images)
    assert torch.equal(grid.ids, tok.encode(cut_tiles(images, tok.spec.input_size)).ids)


def test_a_grid_of_one_tile_is_the_tile(tok: Tokenizer) -> None:
    images = pictures(tok)
    tokens = tok.encode(images)
    assert torch.equal(tok.encode_grid(images).ids, tokens.ids)
    torch.testing.assert_close(tok.decode_grid(tokens, 1, 1), tok.decode(tokens), rtol=0, atol=ROUNDED)


def test_a_grid_decodes_to_the_size_of_the_picture(tok: Tokenizer) -> None:
    height, width = tok.spec.output_size
    tokens = tok.encode_grid(pictures(tok, 2, rows=2, cols=3))
    assert len(tokens) == 2 * 2 * 3
    decoded = tok.decode_grid(tokens, 2, 3)
    assert decoded.shape == (2, 3, 2 * height, 3 * width)
    assert 0 <= float(decoded.min()) <= float(decoded.max()) <= 1


def overlapping(tok: Tokenizer) -> tuple[Tensor, int]:
    """Two pictures of 2 rows and 3 columns of tiles that overlap, and by how much."""
    if tok.sees_neighbours:
        pytest.skip("this family sees across tiles")
    overlap = min(tok.spec.input_size) // 4
    return pictures(tok, 2, rows=2, cols=3)[..., :-overlap, : -2 * overlap], overlap


def test_a_grid_that_overlaps_is_its_tiles_one_by_one(tok: Tokenizer) -> None:
    images, overlap = overlapping(tok)
    tiles = cut_tiles(images, tok.spec.input_size, overlap)
    assert torch.equal(tok.encode_grid(images, overlap=overlap).ids, tok.encode(tiles).ids)
    tokens, errors = tok.encode_grid_with_errors(images, overlap=overlap)
    alone, errors_alone = tok.encode_grid_with_errors(tiles)
    assert torch.equal(tokens.ids, alone.ids)
    torch.testing.assert_close(errors, errors_alone)


def test_a_grid_that_overlaps_decodes_to_its_blended_tiles(tok: Tokenizer) -> None:
    images, overlap = overlapping(tok)
    tokens = tok.encode_grid(images, overlap=overlap)
    decoded = tok.decode_grid(tokens, 2, 3, overlap=overlap)
    shown = tok.decoded_overlap(overlap)
    height, width = tok.spec.output_size
    assert decoded.shape == (2, 3, 2 * height - shown, 3 * width - 2 * shown)
    down, across = (side - overlap for side in tok.spec.input_size)
    places = [(row * down, col * across) for row in range(2) for col in range(3)] * 2
    tiles = tok.decode_at(tokens, DecodeOptions(), places)
    torch.testing.assert_close(decoded, stitch_tiles(tiles, 2, 3, shown), rtol=0, atol=ROUNDED)


def test_the_overlap_of_a_family_by_itself_is_one_that_it_takes(tok: Tokenizer) -> None:
    tok.decoded_overlap(tok.default_overlap)


def test_tiles_that_see_their_neighbours_do_not_overlap(tok: Tokenizer) -> None:
    if not tok.sees_neighbours:
        pytest.skip("this family sees each tile alone")
    images = pictures(tok, 1, rows=2, cols=2)
    tokens = tok.encode_grid(images)
    for refused in (
        lambda: tok.encode_grid(images, overlap=2),
        lambda: tok.encode_grid_with_errors(images, overlap=2),
        lambda: tok.decode_grid(tokens, 2, 2, overlap=2),
    ):
        with pytest.raises(UnsupportedError, match=f"tiles of {tok.family} see their neighbours and need no overlap"):
            refused()


def test_the_pictures_of_a_batch_of_grids_do_not_mix(tok: Tokenizer) -> None:
    images = pictures(tok, 2, rows=2, cols=3)
    tokens = tok.encode_grid(images)
    assert torch.equal(tokens.ids[:6], tok.encode_grid(images[:1]).ids)
    torch.testing.assert_close(tok.decode_grid(tokens, 2, 3)[1:], tok.decode_grid(tokens[6:], 2, 3), rtol=0, atol=ROUNDED)


def test_errors_of_prefixes_come_with_the_ids_of_the_grid(tok: Tokenizer) -> None:
    images = pictures(tok, 2, rows=2, cols=3)
    tokens, errors = tok.encode_grid_with_errors(images)
    assert torch.equal(tokens.ids, tok.encode_grid(images).ids)
    assert errors.shape == (12, 1 + len(tok.spec.prefix_lengths))
    assert errors.dtype == torch.float32
    assert bool((errors >= 0).all())


def test_errors_of_prefixes_are_what_a_lookup_leaves(tok: Tokenizer) -> None:
    if tok.errors_of_decodes:
        pytest.skip("this family measures them in what it decodes")
    images = pictures(tok)
    tokens, errors = tok.encode_grid_with_errors(images)
    latents = tok.latents(images)
    for column, n in enumerate(tok.spec.prefix_lengths, start=1):
        left = latents - tok.lookup(tokens.ids, torch.full_like(tokens.lengths, n))
        torch.testing.assert_close(errors[:, column], left.square().flatten(1).sum(1), rtol=1e-4, atol=1e-4)


def test_a_longer_prefix_leaves_less_on_average(tok: Tokenizer) -> None:
    if not tok.spec.nested:
        pytest.skip("this family has no prefixes")
    _, errors = tok.encode_grid_with_errors(pictures(tok, 16))
    mean = errors.mean(0)
    assert bool((mean[1:] <= mean[:-1] * (1 + 1e-5)).all()), mean.tolist()


def test_the_digest_is_64_hex_digits_and_stays(tok: Tokenizer) -> None:
    first = tok.code_digest
    tok.decode(tok.encode(pictures(tok)))
    assert len(bytes.fromhex(first)) == 32
    assert tok.code_digest == first == type(tok).tiny().code_digest


def test_the_digest_changes_with_what_gives_ids_their_meaning(tok: Tokenizer) -> None:
    before = tok.code_digest
    names = list(tok.code_state())
    assert names
    with torch.no_grad():
        for value in tok.state_dict().values():
            value.add_(1)
    assert tok.code_digest != before


def test_a_saved_model_comes_back_the_same(tok: Tokenizer, tmp_path: Path) -> None:
    tok.save_pretrained(tmp_path / "model")
    loaded = Tokenizer.from_pretrained(tmp_path / "model")
    tokens = tok.encode(pictures(tok))
    assert type(loaded) is type(tok)
    assert loaded.spec == tok.spec
    assert loaded.code_digest == tok.code_digest
    assert torch.equal(loaded.encode(pictures(tok)).ids, tokens.ids)
    assert torch.equal(loaded.decode(tokens), tok.decode(tokens))


def test_saving_a_loaded_model_writes_the_same_bytes(tok: Tokenizer, tmp_path: Path) -> None:
    tok.save_pretrained(tmp_path / "one")
    Tokenizer.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
