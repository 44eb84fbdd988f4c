"""FlexTok: what its options do, that a picture depends on its own string, seed and place alone, and what is refused."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from vtok.errors import ConfigError, UnsupportedError
from vtok.models.autoencoders.diffusers import DiffusersAutoencoder
from vtok.models.autoencoders.registry import PixelsConfig, Taef2Config
from vtok.models.decoders.flow import FlowDecoder
from vtok.models.quantizers.config import FsqConfig
from vtok.models.register_encoder import RegisterEncoder
from vtok.models.transformer import TransformerConfig
from vtok.tokenizers import tiles
from vtok.tokenizers.base import DecodeOptions, Place, Tokenizer, Tokens
from vtok.tokenizers.flextok import FlextokConfig, FlextokTokenizer
from vtok.tokenizers.tiles import stitch_tiles

SIDE, TOKENS = 16, 6
ROUNDED = 1e-5  # sums of another order
KL: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [8, 8],
    "latent_channels": 4,
    "norm_num_groups": 4,
    "scaling_factor": 0.4,
    "shift_factor": 0.25,
}
SMALL: dict[str, Any] = {
    "image_size": SIDE,
    "patch_size": 2,
    "quantizer": {"kind": "fsq", "num_tokens": TOKENS, "levels": (4, 5, 3)},
    "encoder": {"dim": 16, "depth": 1, "heads": 2},
    "decoder": {"dim": 16, "depth": 1, "heads": 2},
}
TOO_LARGE = "would have .* numbers, at most"
SAMPLED = ("steps", "solver", "guidance", "guidance_rule")  # options that a sampling configuration has too


@pytest.fixture
def tok() -> FlextokTokenizer:
    return FlextokTokenizer.tiny()


@pytest.fixture
def on_latents() -> Callable[..., FlextokTokenizer]:
    """Makes models on the latents of a KL autoencoder, a latent for every 2 pixels; random weights."""
    pytest.importorskip("diffusers", reason="needs the extra `models`")

    def make(**changes: Any) -> FlextokTokenizer:
        autoencoder = {"kind": "diffusers", "architecture": "AutoencoderKL", "settings": KL}
        torch.manual_seed(0)
        return FlextokTokenizer(FlextokConfig.model_validate(SMALL | {"autoencoder": autoencoder} | changes)).eval()

    return make


def strings(tok: Tokenizer, num: int = 4, seed: int = 0) -> Tokens:
    """Random strings of all tokens."""
    generator = torch.Generator().manual_seed(seed)
    return Tokens.full(torch.randint(tok.spec.codebook_sizes[0], (num, TOKENS, 1), generator=generator), tok.spec)


def images(num: int = 2, height: int = SIDE, width: int = SIDE) -> Tensor:
    return torch.rand(num, 3, height, width, generator=torch.Generator().manual_seed(0))


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[Any]:
    """What a method was given, call by call."""
    calls: list[Any] = []
    method = getattr(owner, name)

    def counting(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        return method(*arguments, **named)

    monkeypatch.setattr(owner, name, counting)
    return calls


# --- a picture depends on its string, its seed and its place


def test_a_picture_of_a_batch_is_the_one_that_its_string_makes_alone(tok: FlextokTokenizer) -> None:
    tokens = strings(tok, 5).prefix(torch.tensor([6, 1, 3, 6, 2]))
    for options in (DecodeOptions(seed=3), DecodeOptions(seed=3, solver="heun", guidance=4.0), DecodeOptions(guidance=1.0)):
        together = tok.decode(tokens, options)
        for own in range(5):
            assert apart(together[own], tok.decode(tokens[own], options)[0]) < ROUNDED


def test_pictures_of_a_batch_may_have_a_seed_each(tok: FlextokTokenizer) -> None:
    tokens, seeds = strings(tok, 3).prefix(torch.tensor([6, 1, 3])), [5, 2**63 - 1, 0]
    together = tok.decode(tokens, DecodeOptions(seed=seeds))
    for own, seed in enumerate(seeds):
        assert apart(together[own], tok.decode(tokens[own], DecodeOptions(seed=seed))[0]) < ROUNDED


def test_seeds_of_another_number_of_pictures_are_refused(tok: FlextokTokenizer) -> None:
    tokens = tok.encode(torch.rand(2, 3, 16, 16))
    with pytest.raises(ValueError, match="seeds of 3 strings given, 2 are decoded"):
        tok.decode(tokens, DecodeOptions(seed=[1, 2, 3]))


def test_the_same_seed_gives_the_same_picture_and_another_seed_another(tok: FlextokTokenizer) -> None:
    tokens = strings(tok)
    first = tok.decode(tokens, DecodeOptions(seed=1))
    assert torch.equal(tok.decode(tokens, DecodeOptions(seed=1)), first)
    assert torch.equal(tok.decode(tokens), tok.decode(tokens, DecodeOptions(seed=0)))
    for seed in (0, 2, 2**32 + 1):
        assert apart(tok.decode(tokens, DecodeOptions(seed=seed)), first) > 0.05


def test_the_same_string_with_two_seeds_is_two_pictures(tok: FlextokTokenizer) -> None:
    twice = Tokens.cat([strings(tok, 1)] * 2)
    one, other = tok.decode(twice, DecodeOptions(seed=[1, 2]))
    assert apart(one, other) > 0.05


def test_another_string_and_another_prefix_are_another_picture(tok: FlextokTokenizer) -> None:
    tokens = strings(tok)
    whole = tok.decode(tokens)
    assert apart(tok.decode(strings(tok, seed=1)), whole) > 0.01
    pictures = [tok.decode(tokens.prefix(length)) for length in range(1, TOKENS + 1)]
    assert all(apart(one, other) > 1e-3 for one, other in pairwise(pictures))


# --- options


@pytest.mark.parametrize(
    "changes", [{"steps": 3}, {"solver": "heun"}, {"guidance": 3.0}, {"guidance": 0.0}, {"guidance_rule": "cfg"}], ids=str
)
def test_an_option_changes_the_picture(tok: FlextokTokenizer, changes: dict[str, Any]) -> None:
    tokens = strings(tok)
    assert apart(tok.decode(tokens, DecodeOptions(**changes)), tok.decode(tokens)) > 1e-3


def test_options_that_are_not_given_are_those_of_the_model(tok: FlextokTokenizer) -> None:
    tokens = strings(tok)
    sampling: dict[str, Any] = {"steps": 3, "solver": "heun", "guidance": 3.0, "guidance_rule": "cfg"}
    other = FlextokTokenizer(FlextokConfig.model_validate(tok.config.model_dump() | {"sampling": sampling})).eval()
    other.load_state_dict(tok.state_dict())
    assert torch.equal(other.decode(tokens), tok.decode(tokens, DecodeOptions(**sampling)))
    assert torch.equal(other.decode(tokens, DecodeOptions(**tok.config.sampling.model_dump(include=set(SAMPLED)))), tok.decode(tokens))
    assert other.code_digest == tok.code_digest


def test_a_shift_moves_the_times_of_the_steps(tok: FlextokTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = {"steps": 2, "shift": 3.0}
    other = FlextokTokenizer(FlextokConfig.model_validate(tok.config.model_dump() | {"sampling": sampling})).eval()
    asked = counted(monkeypatch, other.decoder, "modulations")
    other.decode(strings(tok))
    assert asked[0][0].tolist()[:2] == [1.0, 0.75]


@pytest.mark.parametrize("rule", ["cfg", "apg"])
@pytest.mark.parametrize(("solver", "passes"), [("euler", 3), ("heun", 5)])
def test_without_guidance_the_network_is_never_asked_without_a_condition(
    tok: FlextokTokenizer, rule: Any, solver: str, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted(monkeypatch, tok.decoder, "forward")
    untold = tok.decoder.no_condition(1).registers.shape[1]
    tok.decode(strings(tok), DecodeOptions(steps=3, solver=solver, guidance=1.0, guidance_rule=rule))
    assert [condition.registers.shape[1] for _, _, condition in calls] == [TOKENS] * passes
    calls.clear()
    tok.decode(strings(tok), DecodeOptions(steps=3, solver=solver, guidance=2.0, guidance_rule=rule))
    assert [condition.registers.shape[1] for _, _, condition in calls] == [TOKENS, untold] * passes


@pytest.mark.parametrize("rule", ["cfg", "apg"])
def test_a_guidance_of_1_is_the_same_by_each_rule(tok: FlextokTokenizer, rule: Any) -> None:
    tokens = strings(tok)
    assert torch.equal(tok.decode(tokens, DecodeOptions(guidance=1.0, guidance_rule=rule)), tok.decode(tokens, DecodeOptions(guidance=1.0)))


def test_a_decode_remembers_nothing_of_the_one_before(tok: FlextokTokenizer) -> None:
    first = tok.decode(strings(tok), DecodeOptions(guidance=3.0))
    tok.decode(strings(tok, seed=1), DecodeOptions(guidance=3.0))
    assert torch.equal(tok.decode(strings(tok), DecodeOptions(guidance=3.0)), first)


def test_a_solver_that_there_is_not_is_refused_in_one_line(tok: FlextokTokenizer) -> None:
    with pytest.raises(UnsupportedError, match="no solver 'rk4'; there are: euler, heun") as error:
        tok.decode(strings(tok), DecodeOptions(solver="rk4"))
    assert "\n" not in str(error.value)


def test_captions_are_refused(tok: FlextokTokenizer) -> None:
    with pytest.raises(UnsupportedError, match="flextok has no option text"):
        tok.decode_grid(strings(tok), 2, 2, DecodeOptions(text=["a"]))


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_what_depends_on_no_map_is_computed_once_a_decode(tok: FlextokTokenizer, solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    times = counted(monkeypatch, tok.decoder.trunk, "modulations")
    told, untold = (counted(monkeypatch, tok.decoder, name) for name in ("condition", "no_condition"))
    embedded = counted(monkeypatch, tok.decoder.registers_in, "forward")
    tok.decode(strings(tok), DecodeOptions(steps=4, solver=solver, guidance=3.0))
    assert [len(calls) for calls in (times, told, untold, embedded)] == [1, 1, 1, 1]
    assert set(times[0][0].tolist()) >= {1.0, 0.75, 0.5, 0.25}


def test_progress_rises_to_1(tok: FlextokTokenizer) -> None:
    told: list[float] = []
    tok.decode(strings(tok), DecodeOptions(steps=4, progress=told.append))
    assert told == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("at_once", [1, 4, 64])
def test_progress_rises_to_1_over_all_parts_of_a_grid(tok: FlextokTokenizer, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "PIXELS_AT_ONCE", at_once * SIDE**2)
    told: list[float] = []
    tok.decode_grid(strings(tok, 6), 2, 3, DecodeOptions(steps=2, progress=told.append))
    assert len(told) == 2 * -(-6 // at_once)
    assert told == sorted(told)
    assert told[-1] == 1.0


# --- grids


def grid_of_tiles(pictures: Tensor, rows: int, cols: int) -> Tensor:
    return tiles.cut_tiles(pictures, (SIDE, SIDE)).unflatten(0, (-1, rows, cols))


def test_tiles_of_a_grid_are_decoded_by_their_place(tok: FlextokTokenizer) -> None:
    tokens = Tokens.cat([strings(tok, 1)] * 6)  # the same string everywhere
    found = grid_of_tiles(tok.decode_grid(tokens, 2, 3), 2, 3).flatten(0, 2)
    assert apart(found[0], tok.decode(strings(tok, 1))[0]) < ROUNDED
    assert min(apart(found[one], found[other]) for one in range(6) for other in range(one)) > 0.05


def test_a_part_of_a_grid_is_decoded_as_in_the_whole(tok: FlextokTokenizer) -> None:
    tokens, options = strings(tok, 12).prefix(torch.arange(12) % TOKENS + 1), DecodeOptions(seed=4, guidance=3.0)
    whole = grid_of_tiles(tok.decode_grid(tokens, 3, 4, options), 3, 4)
    for row, col in ((0, 0), (1, 2), (2, 0)):
        rows, cols = min(2, 3 - row), min(2, 4 - col)
        places = [4 * (row + down) + col + across for down in range(rows) for across in range(cols)]
        part = grid_of_tiles(tok.decode_grid(tokens[torch.tensor(places)], rows, cols, options, origin=(row, col)), rows, cols)
        assert apart(part, whole[:, row : row + rows, col : col + cols]) < ROUNDED


def test_a_part_of_a_grid_that_overlaps_is_decoded_as_in_the_whole(tok: FlextokTokenizer) -> None:
    tokens, overlap, step = strings(tok, 12), 4, SIDE - 4
    whole = tok.decode_grid(tokens, 3, 4, overlap=overlap)
    places = torch.tensor([6, 7, 10, 11])  # the last two rows and columns
    part = tok.decode_grid(tokens[places], 2, 2, origin=(1, 2), overlap=overlap)
    assert apart(part[..., overlap:, overlap:], whole[..., step + overlap :, 2 * step + overlap :]) < ROUNDED


def test_pictures_of_a_batch_of_grids_have_their_seeds(tok: FlextokTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "PIXELS_AT_ONCE", 3 * SIDE**2)  # a part of tiles of both
    tokens = strings(tok, 8)
    together = tok.decode_grid(tokens, 2, 2, DecodeOptions(seed=[5, 6]))
    for own, seed in enumerate((5, 6)):
        alone = tok.decode_grid(tokens[4 * own : 4 * own + 4], 2, 2, DecodeOptions(seed=seed))
        assert apart(together[own], alone[0]) < ROUNDED


def test_tiles_that_overlap_begin_with_the_same_noise_there(tok: FlextokTokenizer) -> None:
    places: list[Place] = [(0, 0), (0, 12), (12, 0), (12, 12)]
    first, right, below, across = tok.noise(3, places)
    assert torch.equal(first[:, :, 12:], right[:, :, :4])
    assert torch.equal(first[:, 12:], below[:, :4])
    assert torch.equal(first[:, 12:, 12:], across[:, :4, :4])
    assert not torch.equal(first, right)
    one, other = tok.noise([3, 4], places[:2])
    assert torch.equal(one, first)
    assert not torch.equal(other, right)


@torch.no_grad()
def test_noise_of_latents_is_placed_in_latents(on_latents: Callable[..., FlextokTokenizer]) -> None:
    tok = on_latents()
    first, right = tok.noise(3, [(0, 0), (4, 10)])
    assert first.shape == (4, SIDE // 2, SIDE // 2)
    assert torch.equal(first[:, 2:, 5:], right[:, :6, :3])


def test_blended_tiles_are_those_of_their_places(tok: FlextokTokenizer) -> None:
    tokens, options = strings(tok, 4), DecodeOptions(seed=9)
    alone = tok.decode_at(tokens, options, [(24, 36), (24, 48), (36, 36), (36, 48)])
    found = tok.decode_grid(tokens, 2, 2, options, origin=(2, 3), overlap=4)
    assert apart(found, stitch_tiles(alone, 2, 2, 4)) < ROUNDED


# --- errors of prefixes


@torch.no_grad()
def test_errors_are_those_of_what_the_decoder_expects_of_a_prefix(tok: FlextokTokenizer) -> None:
    pictures = images(3)
    tokens, errors = tok.encode_grid_with_errors(pictures)
    maps, noise = 2 * pictures - 1, tok.noise(0, [(0, 0)] * 3)
    vectors, at_noise = tok.lookup(tokens.ids, tokens.lengths), tok.decoder.modulations(torch.ones(3))

    def left(condition: Any) -> Tensor:
        return (noise - tok.decoder(noise, at_noise, condition)[0] - maps).square().flatten(1).sum(1)

    measured = torch.stack([left(tok.decoder.condition(vectors, torch.full((3,), n))) for n in (1, 2, 4, 6)], 1).cummin(1).values
    torch.testing.assert_close(errors[:, [1, 2, 4, 6]], measured)
    torch.testing.assert_close(errors[:, 0], torch.maximum(left(tok.decoder.no_condition(3)), measured[:, 0]))
    octaves = torch.tensor([1.0, 3.0, 2.0, 5.0, 4.0, 6.0]).log2()
    torch.testing.assert_close(errors[:, 3], torch.lerp(errors[:, 2], errors[:, 4], octaves[1] - 1))
    torch.testing.assert_close(errors[:, 5], torch.lerp(errors[:, 4], errors[:, 6], (octaves[3] - 2) / (octaves[5] - 2)))


def test_errors_never_rise_and_do_not_depend_on_how_tiles_are_batched(tok: FlextokTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = images(2, 2 * SIDE, 3 * SIDE)
    tokens, errors = tok.encode_grid_with_errors(pictures)
    assert errors.shape == (12, 1 + TOKENS)
    assert errors.dtype == torch.float32
    assert bool((errors.diff(dim=1) <= 0).all())
    assert bool((errors[:, -1] > 0).all())
    monkeypatch.setattr(tiles, "PIXELS_AT_ONCE", 5 * SIDE**2)
    again, in_parts = tok.encode_grid_with_errors(pictures)
    assert torch.equal(again.ids, tokens.ids)
    torch.testing.assert_close(in_parts, errors)


# --- the autoencoder


@torch.no_grad()
def test_the_map_is_the_picture_where_there_is_no_autoencoder(tok: FlextokTokenizer) -> None:
    assert torch.equal(tok.map_of(images()), 2 * images() - 1)
    torch.testing.assert_close(tok.pictures_of(tok.map_of(images())), images())
    assert tok.map_of(images().bfloat16()).dtype == torch.float32


@torch.no_grad()
def test_latents_are_the_most_probable_unless_a_draw_is_asked_for(on_latents: Callable[..., FlextokTokenizer]) -> None:
    tok, drawing = on_latents(), on_latents(sample_posterior=True)
    assert isinstance(drawing.autoencoder, DiffusersAutoencoder)
    posterior = drawing.autoencoder.model.encode(2 * images() - 1).latent_dist
    torch.testing.assert_close(tok.map_of(images()), (posterior.mode() - 0.25) * 0.4)
    torch.manual_seed(5)
    found = drawing.map_of(images())
    torch.manual_seed(5)
    torch.testing.assert_close(found, (posterior.sample() - 0.25) * 0.4)
    assert torch.equal(tok.map_of(images()), tok.map_of(images()))


@torch.no_grad()
def test_a_draw_is_spent_on_the_global_generator_each_time(on_latents: Callable[..., FlextokTokenizer]) -> None:
    tok = on_latents(sample_posterior=True)
    first, second = tok.latents(images()), tok.map_of(images())
    assert not torch.equal(second, tok.map_of(images()))
    torch.manual_seed(1)
    one = tok.map_of(images())
    torch.manual_seed(1)
    assert torch.equal(tok.map_of(images()), one)
    assert first.shape == (2, TOKENS, 3)


@torch.no_grad()
def test_pictures_are_decoded_from_latents(on_latents: Callable[..., FlextokTokenizer]) -> None:
    tok = on_latents()
    tokens = tok.encode(images())
    vectors = tok.lookup(tokens.ids, tokens.lengths)
    decoded = tok.reconstruct(vectors, tokens.lengths, DecodeOptions(steps=2))
    assert decoded.features["map"].shape == (2, 4, SIDE // 2, SIDE // 2)
    assert isinstance(tok.autoencoder, DiffusersAutoencoder)
    expected = tok.autoencoder.model.decode(decoded.features["map"] / 0.4 + 0.25).sample / 2 + 0.5
    torch.testing.assert_close(decoded.pictures, expected)
    assert torch.equal(tok.decode(tokens, DecodeOptions(steps=2)), decoded.pictures.clamp(0, 1))


def test_a_model_on_latents_comes_back_as_it_was_saved(on_latents: Callable[..., FlextokTokenizer], tmp_path: Path) -> None:
    tok = on_latents(sampling={"steps": 3, "solver": "heun", "guidance": 1.5, "guidance_rule": "cfg", "shift": 2.0}, max_time=1000.0)
    tok.save_pretrained(tmp_path / "model")
    loaded = Tokenizer.from_pretrained(tmp_path / "model")
    assert isinstance(loaded, FlextokTokenizer)
    assert loaded.config == tok.config
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in tok.state_dict().items())
    assert torch.equal(loaded.encode(images()).ids, tok.encode(images()).ids)
    torch.testing.assert_close(loaded.decode(strings(tok)), tok.decode(strings(tok)), rtol=0, atol=ROUNDED)  # of channels stored last


# --- strings


def test_the_digest_knows_the_codes_and_what_makes_them_and_nothing_of_the_decoder(tok: FlextokTokenizer) -> None:
    before = tok.code_digest
    with torch.no_grad():
        for parameter in tok.decoder.parameters():
            parameter.add_(1)
    assert tok.code_digest == before
    with torch.no_grad():
        tok.encoder.head.bias.add_(1)
    assert tok.code_digest != before


@torch.no_grad()
def test_the_first_tokens_do_not_depend_on_how_many_follow(tok: FlextokTokenizer) -> None:
    fewer = FlextokTokenizer(FlextokConfig.model_validate(tok.config.model_dump() | {"quantizer": {"num_tokens": 2, "levels": (4, 5, 3)}}))
    state = tok.state_dict()
    state["encoder.registers"] = state["encoder.registers"][:2]
    state["decoder.register_positions"] = state["decoder.register_positions"][:2]
    fewer.load_state_dict(state)
    assert torch.equal(fewer.eval().encode(images(8)).ids, tok.encode(images(8)).ids[:, :2])


def test_gradients_reach_the_encoder_through_the_rounding(tok: FlextokTokenizer) -> None:
    quantized = tok.quantize(tok.latents(images()))
    condition = tok.decoder.condition(quantized.vectors, torch.tensor([6, 3]))
    velocity, _ = tok.decoder(tok.map_of(images()), tok.decoder.modulations(torch.tensor([0.5])), condition)
    velocity.square().sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in tok.encoder.parameters())


# --- sizes


@pytest.mark.parametrize(
    ("part", "made", "depth", "expected"),
    [
        ("encoder", RegisterEncoder, 12, 85_382_406),
        ("encoder", RegisterEncoder, 18, 287_326_086),
        ("decoder", partial(FlowDecoder, max_time=1.0), 12, 172_448_320),
        ("decoder", partial(FlowDecoder, max_time=1.0), 18, 578_587_456),
        ("decoder", partial(FlowDecoder, max_time=1.0), 28, 2_169_735_744),
    ],
)
def test_networks_of_the_published_sizes_have_as_many_numbers(part: str, made: Callable[..., nn.Module], depth: int, expected: int) -> None:
    sizes = TransformerConfig(dim=64 * depth, depth=depth, heads=depth)
    config = FlextokConfig.model_validate({part: sizes})
    quantizer = config.quantizer
    assert isinstance(quantizer, FsqConfig)
    with torch.device("meta"):
        network = made(
            sizes, 16, config.patch_size, config.image_size // 8 // config.patch_size, quantizer.num_tokens, len(quantizer.levels)
        )
    assert sum(value.numel() for value in network.state_dict().values()) == expected
    assert getattr(FlextokConfig(), part).depth == 12


# --- what is refused


def test_the_autoencoder_of_low_frequencies_is_refused() -> None:
    with pytest.raises(ConfigError, match="leave the autoencoder out to code the pixels themselves") as error:
        FlextokTokenizer(FlextokConfig.model_validate(SMALL | {"autoencoder": PixelsConfig()}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_size": 18, "patch_size": 4}, "image_size 18 is not a multiple of the 4 pixels of a patch"),
        ({"image_size": 4, "patch_size": 8}, "image_size 4 is not a multiple of the 8 pixels of a patch"),
        ({"image_size": 24, "autoencoder": Taef2Config()}, "image_size 24 is not a multiple of the 16 pixels of a patch"),
    ],
)
def test_a_picture_that_is_no_whole_number_of_patches_is_refused(changes: dict[str, Any], words: str) -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match=words) as error:
        FlextokTokenizer(FlextokConfig.model_validate(SMALL | changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": {"dim": 18, "depth": 1, "heads": 1}}, "the encoder's dim 18 is not a multiple of 4"),
        ({"decoder": {"dim": 6, "depth": 1, "heads": 1}}, "the decoder's dim 6 is not a multiple of 4"),
        ({"encoder": {"dim": 8192, "depth": 128, "heads": 1}}, f"the encoder {TOO_LARGE}"),
        ({"decoder": {"dim": 8192, "depth": 64, "heads": 1}}, f"the decoder {TOO_LARGE}"),
        (
            {"image_size": 4096, "patch_size": 1, "encoder": {"dim": 512, "depth": 1, "heads": 1}},
            f"the encoder {TOO_LARGE}",
        ),
        ({"image_size": 4096, "patch_size": 1024}, "patch_size"),
        ({"max_time": 0}, "max_time"),
        ({"sampling": {"steps": 0}}, "sampling.steps"),
        ({"sampling": {"solver": "rk4"}}, "sampling.solver"),
        ({"sampling": {"guidance": -1}}, "sampling.guidance"),
        ({"sampling": {"shift": 0}}, "sampling.shift"),
        ({"quantizer": {"kind": "multiscale", "scales": [1, 4], "part": {"kind": "vq"}}}, "quantizer"),
        ({"depth": 3}, "depth"),
    ],
    ids=str,
)
def test_a_configuration_that_does_not_fit_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        FlextokConfig.model_validate(SMALL | changes)
