"""FlexTok's tensors become a model and come back, bit by bit; what is wrong with them is named by upstream's names."""

import pytest
import torch
from einops import rearrange
from torch import Tensor

from tests.weights.convert.flextok_states import CONFIG, small, without
from tests.weights.convert.states import proxy_state
from vtok.errors import WeightsError
from vtok.models.decoders import DecodeOptions
from vtok.tokenizers.flextok import FlextokTokenizer
from vtok.weights.convert import FlextokHints, from_upstream, recognise, to_upstream
from vtok.weights.convert.flextok import DECODER_POSITIONS, ENCODER_POSITIONS, VAE

pytest.importorskip("diffusers")
STATE = small()
NAMES = [name for name in STATE if ".resnets." not in name or ".0.conv1.weight" in name]  # one of each block of the autoencoder
TELLING = [name for name in NAMES if name.endswith(("posembs", "proj.weight", "registers", "conv1.weight", "quant_conv.weight"))]


def converted(state: dict[str, Tensor], hints: FlextokHints | None = None) -> FlextokTokenizer:
    model = from_upstream(state, hints=hints)
    assert isinstance(model, FlextokTokenizer)
    return model


def refusal(state: dict[str, Tensor], hints: FlextokHints | None = None) -> str:
    with pytest.raises(WeightsError) as error:
        from_upstream(state, hints=hints)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_tensors_come_back_bit_by_bit() -> None:
    back = to_upstream(converted(STATE))
    assert back.keys() == STATE.keys()
    assert all(torch.equal(back[name], value) for name, value in STATE.items())


def test_its_configuration_follows_from_the_tensors_and_the_official_models() -> None:
    assert recognise(STATE).config == CONFIG
    assert recognise(STATE).name == "flextok of no official size"


def test_it_computes_as_the_model_whose_tensors_it_has() -> None:
    model = FlextokTokenizer(CONFIG).eval()
    model.load_state_dict(converted(STATE).state_dict())
    model.after_load()
    back = converted(to_upstream(model))
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    tokens = model.encode(images)
    assert torch.equal(back.encode(images).ids, tokens.ids)
    options = DecodeOptions(steps=1)
    assert torch.equal(back.decode(tokens.prefix(3), options), model.decode(tokens.prefix(3), options))


def test_it_is_ready_for_use() -> None:
    model = converted({name: value.half() for name, value in STATE.items()})
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(value.is_meta for value in [*model.parameters(), *model.buffers()])
    assert {value.dtype for value in model.state_dict().values() if value.is_floating_point()} == {torch.float32}


def test_hints_settle_what_tensors_do_not_say() -> None:
    hints = FlextokHints(levels=(7, 5, 5, 5, 5, 3), max_time=1.0, scaling_factor=0.5, encoder_head_dim=16, decoder_head_dim=32)
    found = converted(STATE, hints).config
    assert found.quantizer.levels == hints.levels
    assert (found.max_time, found.autoencoder.settings["scaling_factor"]) == (1.0, 0.5)
    assert (found.encoder.heads, found.decoder.heads) == (4, 4)


def test_an_official_size_is_one_whatever_scales_its_configuration_has(monkeypatch: pytest.MonkeyPatch) -> None:
    from vtok.weights.convert.official import OFFICIAL

    monkeypatch.setitem(OFFICIAL, "Small", ("flextok", CONFIG))
    assert recognise(STATE, hints=FlextokHints(max_time=1.0, scaling_factor=0.5)).official == "Small"
    assert recognise(STATE, hints=FlextokHints(levels=(7, 5, 5, 5, 5, 3))).official is None


@pytest.mark.parametrize("name", NAMES)
def test_any_missing_tensor_is_named(name: str) -> None:
    assert name in refusal({key: value for key, value in STATE.items() if key != name})


@pytest.mark.parametrize("name", TELLING)
@pytest.mark.parametrize("shape", [(), (7,), (0, 16)])
def test_a_tensor_of_any_other_shape_is_one_line(name: str, shape: tuple[int, ...]) -> None:
    refusal(STATE | {name: torch.zeros(shape)})


def test_values_that_are_no_numbers_are_named() -> None:
    name = "decoder.module_dict.dec_transformer.blocks.0.attn.wk.weight"
    spoilt = STATE[name].clone()
    spoilt[3, 3] = float("nan")
    assert refusal(STATE | {name: spoilt}) == f"has values that are not finite in {name}"


def test_whole_numbers_are_no_weights() -> None:
    name = "encoder.module_dict.enc_register_module.registers"
    assert refusal(STATE | {name: STATE[name].long()}) == f"has no floats in {name}"


def test_without_its_autoencoder_it_is_refused() -> None:
    assert refusal(without(STATE, VAE)).startswith("has no autoencoder (no tensors vae.vae.*)")


def test_levels_that_nobody_says_are_asked_for() -> None:
    state = STATE | {"encoder.module_dict.enc_to_latents.proj.weight": torch.zeros(5, 64)}
    assert "tokens of 5 numbers, where levels are known for 6" in refusal(state)


def test_levels_of_more_codes_than_ids_are_refused() -> None:
    assert "sizes that no model has" in refusal(STATE, FlextokHints(levels=(65536,) * 6))


def test_heads_that_do_not_fit_a_width_are_refused() -> None:
    assert "a width of 128 is no multiple of the 48 of a head" in refusal(STATE, FlextokHints(decoder_head_dim=48))


@pytest.mark.parametrize("name", ["encoder.down_blocks.{}.resnets.0.conv1.weight", "encoder.down_blocks.0.resnets.{}.conv1.weight"])
def test_an_autoencoder_beyond_all_bounds_is_refused_before_it_is_made(name: str) -> None:
    many = {f"{VAE}{name.format(number)}": torch.zeros(32, 32, 3, 3) for number in range(1000)}
    assert "sizes that no model has" in refusal(STATE | many)


def test_a_proxy_is_not_for_it() -> None:
    with pytest.raises(WeightsError, match="makes its pixels by itself"):
        from_upstream(STATE, proxy=proxy_state())


def test_an_autoencoder_of_old_names_is_read() -> None:
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, value in STATE.items():
        new = next((part for part in names if f".attentions.0.{part}." in name), None)
        old[name if new is None else name.replace(new, names[new])] = value
    assert old.keys() != STATE.keys()
    back = to_upstream(converted(old))
    assert all(torch.equal(back[name], value) for name, value in STATE.items())
    lacking = {name: value for name, value in old.items() if not name.endswith("decoder.mid_block.attentions.0.key.bias")}
    assert refusal(lacking) == f"lacks {VAE}decoder.mid_block.attentions.0.key.bias"


def learned(dim: int) -> Tensor:
    return torch.randn(2, 1, dim, 4, generator=torch.Generator().manual_seed(0))


def test_learned_positions_are_written_out() -> None:
    rows, columns = learned(64).squeeze(1)
    hints = FlextokHints(encoder_positions="learnable_sum", decoder_positions="learnable_prod")
    model = converted(STATE | {ENCODER_POSITIONS: learned(64), DECODER_POSITIONS: learned(128)}, hints)
    assert torch.equal(model.encoder.positions, rearrange(rows[:, :, None] + columns[:, None], "d r c -> r c d"))
    rows, columns = learned(128).squeeze(1)
    assert torch.equal(model.decoder.positions, rearrange(rows[:, :, None] * columns[:, None], "d r c -> r c d"))
    assert to_upstream(model)[ENCODER_POSITIONS].shape == (1, 64, 4, 4)


@pytest.mark.parametrize(("kind", "shape"), [("sincos", (2, 1, 64, 4)), ("learnable_sum", (1, 64, 4, 4)), ("learnable_sum", (3, 1, 64, 4))])
def test_positions_of_another_kind_are_refused(kind: str, shape: tuple[int, ...]) -> None:
    hints = FlextokHints(encoder_positions=kind)  # type: ignore[arg-type]
    assert refusal(STATE | {ENCODER_POSITIONS: torch.zeros(shape)}, hints) == f"has wrong shapes for {ENCODER_POSITIONS}"
