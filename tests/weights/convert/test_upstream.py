"""Upstream's tensors become a model and come back, bit by bit; what is wrong with them is named by upstream's names."""

import pytest
import torch
from torch import Tensor

from tests.weights.convert.states import HINTS, KINDS, PROXIES, proxy_state, state_of, tiny, with_proxy
from vtok.errors import WeightsError
from vtok.models.decoders import DecodeOptions
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.maskgit_vqgan import MaskgitVqgan, MaskgitVqganConfig
from vtok.weights.convert import Hints, from_upstream, recognise, to_upstream


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", KINDS)
def test_tensors_come_back_bit_by_bit(name: str) -> None:
    state = state_of(name)
    model = from_upstream(state, **with_proxy(name))
    assert model.family == name
    assert equal(to_upstream(model), state)


@pytest.mark.parametrize("name", [name for name in KINDS if name not in PROXIES])
def test_a_model_comes_back_bit_by_bit(name: str) -> None:
    model = tiny(name)
    back = from_upstream(to_upstream(model), hints=HINTS[name])
    assert type(back) is type(model)
    assert equal(dict(back.state_dict()), dict(model.state_dict()))


@pytest.mark.parametrize("name", PROXIES)
def test_a_first_stage_gets_codes_and_decoder_of_its_proxy(name: str) -> None:
    own = from_upstream(state_of(name), **with_proxy(name)).state_dict()
    proxy = proxy_state()
    assert torch.equal(own["decoder.pixel_quantizer.codes"][0], proxy["quantize.embedding.weight"])
    assert torch.equal(own["decoder.pixel_decoder.conv_out.weight"], proxy["decoder.conv_out.weight"])


@pytest.mark.parametrize("name", KINDS)
def test_a_converted_model_is_ready_for_use(name: str) -> None:
    model = from_upstream(state_of(name), **with_proxy(name))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(value.is_meta for value in model.state_dict().values())


def test_half_precision_becomes_float32() -> None:
    state = {key: value.half() for key, value in state_of("titok_pixel").items()}
    model = from_upstream(state, hints=HINTS["titok_pixel"])
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert equal({key: value.half() for key, value in to_upstream(model).items()}, state)


def test_the_running_mean_of_clustered_training_is_dropped() -> None:
    state = state_of("titok_pixel")
    model = from_upstream(state | {"quantize.embed_prob": torch.zeros(32)}, hints=HINTS["titok_pixel"])
    assert equal(to_upstream(model), state)


def test_tensors_that_share_memory_get_their_own() -> None:
    state = state_of("titok_pixel")
    state["decoder.ln_pre.weight"] = state["encoder.ln_pre.weight"]
    model = from_upstream(state, hints=HINTS["titok_pixel"])
    places = [value.untyped_storage().data_ptr() for value in model.state_dict().values()]
    assert len(set(places)) == len(places)


def test_hints_settle_what_tensors_do_not_say() -> None:
    state = state_of("titok")
    assert recognise(state).family == "titok"
    assert recognise(state, hints=Hints(nested=True)).family == "one_d_piece"
    assert recognise(state).config.model_dump()["quantizer"]["kind"] == "spherical_vq"
    assert recognise(state, hints=Hints(l2=False)).config.model_dump()["quantizer"]["kind"] == "vq"
    assert recognise(state_of("titok_pixel")).config.model_dump()["quantizer"]["kind"] == "vq"


def test_a_two_stage_string_of_256_tokens_is_taken_for_one_d_piece() -> None:
    state = state_of("titok")
    for key in ("latent_tokens", "encoder.latent_token_positional_embedding", "decoder.latent_token_positional_embedding"):
        state[key] = torch.zeros(256, 16)
    assert recognise(state).family == "one_d_piece"


def test_sizes_that_are_no_official_ones_are_said_to_be_none() -> None:
    found = recognise(state_of("titok_vae"))
    assert (found.official, found.name) == (None, "titok_vae of no official size")


def test_the_channels_of_a_maskgit_vqgan_are_those_it_begins_with() -> None:
    sizes = {"dim": 32, "multiples": (2, 4), "num_blocks": 1, "latent_dim": 4, "codebook_size": 16}
    config = MaskgitVqganConfig.model_validate(sizes)
    assert recognise(to_upstream(MaskgitVqgan(config))).config == config


def refusal(state: dict[str, Tensor], **others: object) -> str:
    with pytest.raises(WeightsError) as error:
        from_upstream(state, **({"hints": HINTS["titok_pixel"]} | others))  # type: ignore[arg-type]
    text = str(error.value)
    assert "\n" not in text
    return text


def test_missing_unknown_misshapen_and_undefined_tensors_are_named_at_once() -> None:
    state = state_of("titok_pixel")
    del state["decoder.ln_post.bias"]
    state["decoder.extra"] = torch.zeros(1)
    state["encoder.transformer.0.ln_1.weight"] = torch.zeros(17)
    state["decoder.mask_token"][0, 0, 0] = torch.nan
    state["encoder.ln_pre.bias"] = torch.zeros(16, dtype=torch.int64)
    text = refusal(state)
    for words in (
        "lacks decoder.ln_post.bias",
        "has unknown decoder.extra",
        "has wrong shapes for encoder.transformer.0.ln_1.weight",
        "has no floats in encoder.ln_pre.bias",
        "has values that are not finite in decoder.mask_token",
    ):
        assert words in text


@pytest.mark.parametrize("name", ["encoder.conv_out.weight", "decoder.mask_token", "quantize.embedding.weight", "latent_tokens"])
@pytest.mark.parametrize("shape", [(), (3,), (16, 4, 2, 2), (0, 16)])
def test_a_tensor_of_any_other_shape_is_one_line(name: str, shape: tuple[int, ...]) -> None:
    refusal(state_of("titok_pixel") | {name: torch.zeros(shape)})


@pytest.mark.parametrize("kind", KINDS)
def test_any_missing_tensor_is_named_by_its_upstream_name(kind: str) -> None:
    state, others = state_of(kind), with_proxy(kind)
    for name in state:
        if name in ("decoder.ffn.2.weight", "decoder.text_guidance_proj.weight", "quantize.embedding.weight", "latent_tokens"):
            continue  # without these it is taken for another kind
        assert refusal({key: value for key, value in state.items() if key != name}, **others)


def test_a_gap_in_the_blocks_is_named() -> None:
    state = {key.replace("encoder.transformer.1.", "encoder.transformer.2."): value for key, value in state_of("titok_pixel").items()}
    text = refusal(state)
    assert "lacks encoder.transformer.1." in text
    assert "has unknown encoder.transformer.2." in text


@pytest.mark.parametrize("state", [{}, {"model.layers.0.weight": torch.zeros(2)}], ids=["empty", "another model"])
def test_tensors_of_something_else_are_said_to_be(state: dict[str, Tensor]) -> None:
    assert "is no model of those that are known here (TiTok, One-D-Piece, " in refusal(state)


def test_a_first_stage_without_its_proxy_says_what_it_needs() -> None:
    text = refusal(state_of("titok_proxy"))
    assert "first stage" in text
    assert "--proxy" in text


@pytest.mark.parametrize("name", ["titok", "titok_pixel", "maskgit_vqgan"])
def test_a_proxy_that_nothing_needs_is_refused(name: str) -> None:
    assert "in its first stage only" in refusal(state_of(name), proxy=proxy_state())


def test_a_size_beyond_all_bounds_is_refused_before_it_is_made() -> None:
    huge = torch.zeros(1).expand(2**40, 2**20)
    assert "sizes that no model has" in refusal(state_of("titok_pixel") | {"quantize.embedding.weight": huge})


def test_a_model_that_upstream_does_not_have_has_no_way_back() -> None:
    with pytest.raises(WeightsError, match="family linear"):
        to_upstream(LinearTokenizer.tiny())


def test_a_converted_tokenizer_computes_as_the_one_it_came_from() -> None:
    model = tiny("one_d_piece")
    back = from_upstream(to_upstream(model), hints=HINTS["one_d_piece"])
    assert isinstance(back, Tokenizer)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tokens = model.encode(images)
    assert torch.equal(back.encode(images).ids, tokens.ids)
    assert torch.equal(back.decode(tokens.prefix(3), DecodeOptions()), model.decode(tokens.prefix(3)))
