"""FlexTok computes what the published implementation computes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.parity import Stored
from vtok.models.decoders.flow import FlowDecoder
from vtok.models.flow.guidance import RULES, AdaptiveProjected, classifier_free, guided
from vtok.models.flow.path import RECTIFIED
from vtok.models.flow.solvers import solve
from vtok.models.flow.times import ModeTimes, time_grid
from vtok.models.gated_transformer import patches_then_registers
from vtok.models.quantizers.fsq import FiniteScalarQuantizer
from vtok.models.register_encoder import RegisterEncoder
from vtok.models.transformer import TransformerConfig
from vtok.tokenizers.prefix import Pow2, Uniform, UniformPow2
from vtok.tokenizers.spec import TokenSpec
from vtok.train.losses.representation import ProjectionHead, alignment, resized
from vtok.weights.convert.flextok import RULES as NAMES
from vtok.weights.convert.names import to_ours, to_theirs

pytestmark = pytest.mark.parity


def encoder_of(stored: Stored) -> RegisterEncoder:
    own = stored.config["sizes"]
    config = TransformerConfig(dim=own["enc_dim"], depth=own["enc_depth"], heads=own["enc_dim"] // own["head_dim"])
    return filled(RegisterEncoder(config, *shape_of(own)), stored, "encoder.")


def decoder_of(stored: Stored, max_time: float | None = None) -> FlowDecoder:
    own = stored.config["sizes"]
    config = TransformerConfig(dim=own["dec_dim"], depth=own["dec_depth"], heads=own["dec_dim"] // own["head_dim"])
    return filled(FlowDecoder(config, *shape_of(own), max_time=max_time or own["max_timestep"]), stored, "decoder.")


def shape_of(own: dict[str, Any]) -> tuple[int, int, int, int, int]:
    return own["latent_channels"], own["patch_size"], own["posemb_grid"], own["n_registers"], len(own["fsq_levels"])


def filled(module: Any, stored: Stored, part: str) -> Any:
    state = {name.removeprefix(part): value for name, value in to_ours(stored.weights, NAMES).items() if name.startswith(part)}
    module.load_state_dict(state)
    return module.eval()


def quantizer_of(stored: Stored) -> FiniteScalarQuantizer:
    return FiniteScalarQuantizer(stored.config["sizes"]["fsq_levels"])


def vectors_of(stored: Stored) -> Tensor:
    return quantizer_of(stored).lookup(stored.inputs["tokens"][..., None])


def spread_out(decoder: FlowDecoder, tokens: Tensor, lengths: Tensor) -> Tensor:
    """The missing registers each by itself, (B, N, D), from tokens (B, longest + 1, D) of which the last stands for them."""
    rest = torch.arange(decoder.num_registers) >= lengths[:, None]
    known = torch.nn.functional.pad(tokens[:, :-1], (0, 0, 0, decoder.num_registers + 1 - tokens.shape[1]))
    return torch.where(rest[..., None], tokens[:, -1:], known)


def test_fsq() -> None:
    stored = Stored.load("flextok_fsq")
    for case, levels in enumerate(stored.config["sizes"]["levels"]):
        quantizer = FiniteScalarQuantizer(levels)
        z = stored.inputs[f"{case}/z"].clone().requires_grad_()
        quantized = quantizer(z)
        (grad_z,) = torch.autograd.grad((quantized.vectors * stored.inputs[f"{case}/grad_out"]).sum(), z)
        stored.check(f"{case}/basis", quantizer.strides)
        stored.check(f"{case}/tokens", quantized.ids[..., 0])
        stored.check(f"{case}/bounded", quantizer._bound(z))
        stored.check(f"{case}/quantised", quantized.vectors)
        stored.check(f"{case}/grad_z", grad_z)
        stored.check(f"{case}/codes_from_tokens", quantizer.lookup(quantized.ids))
        stored.check(f"{case}/codebook_rows", quantizer.lookup(stored.inputs[f"{case}/indices"][:, None, None])[:, 0])
    assert stored.unchecked() == set()


def test_the_encoder() -> None:
    stored = Stored.load("flextok_encoder")
    encoder, quantizer = encoder_of(stored), quantizer_of(stored)
    latents = stored.inputs["latents"]
    stored.check("patch_embeddings", encoder.embed(latents).unflatten(1, (encoder.positions.shape[0], -1)))
    found = encoder(latents)
    stored.check("pre_quant", found)
    stored.check("tokens", quantizer(found).ids[..., 0])
    stored.check("quantised", quantizer(found).vectors)
    for name in (name for name in stored.inputs if name.startswith("mixed/")):
        quantized = quantizer(encoder(stored.inputs[name]))
        stored.check(name.replace("latents", "tokens"), quantized.ids[..., 0])
        stored.check(name.replace("latents", "quantised"), quantized.vectors)
    num_patches, num_registers = encoder.positions[..., 0].numel(), len(encoder.registers)
    stored.check("mask_one_sample", looked_at(num_patches, num_patches + num_registers).to(stored.outputs["mask_one_sample"].dtype))
    assert stored.unchecked() == set()


def looked_at(num_patches: int, total: int) -> Tensor:
    """(total, total) bool: what each token's attention gathers of values that name their place."""
    q = torch.zeros(1, 1, total, total)
    gathered = patches_then_registers(num_patches)(q, q, torch.eye(total)[None, None], 1.0)
    return gathered[0, 0] > 0


def test_the_decoder() -> None:
    stored = Stored.load("flextok_decoder")
    decoder, own = decoder_of(stored), stored.config["sizes"]
    vectors, lengths, maps, times = vectors_of(stored), stored.inputs["keep_k"], stored.inputs["noised_latents"], stored.inputs["timesteps"]
    (noted,) = own["intermediate_layers"]
    modulations = decoder.modulations(times)
    stored.check("time_sinusoid", decoder.trunk.time.waves(times))
    stored.check("time_embedding", decoder.trunk.time(times))

    def velocity(lengths: Tensor, dropped: Tensor | None = None) -> Tensor:
        return decoder(maps, modulations, decoder.condition(vectors, lengths, dropped))[0]

    condition = decoder.condition(vectors, lengths)
    stored.check("registers_after_posemb_and_dropout", spread_out(decoder, condition.registers, lengths))
    cut, seen = decoder(maps, modulations, condition, noted=noted)
    patches, registers = seen.tensor_split([decoder.positions[..., 0].numel()], 1)
    stored.check("velocity_keep_k", cut)
    stored.check("intermediate_patches", patches.unflatten(1, decoder.positions.shape[:2]))
    stored.check("intermediate_registers", spread_out(decoder, registers, lengths))
    stored.check("velocity_all_tokens", velocity(torch.full_like(lengths, decoder.num_registers)))
    stored.check("velocity_mixed_drop", velocity(lengths, torch.tensor(own["drop_flags_mixed"])))
    stored.check("velocity_uncond", velocity(lengths, torch.ones_like(lengths, dtype=torch.bool)))
    unconditional, _ = decoder(maps, modulations, decoder.no_condition(len(maps)))
    stored.check("velocity_uncond", unconditional)
    stored.check("cfg_velocity", classifier_free(cut, unconditional, own["guidance_scale"]))
    other = decoder_of(stored, own["other_max_timestep"])
    stored.check("velocity_keep_k_other_max_timestep", other(maps, other.modulations(times), condition)[0])
    assert stored.unchecked() == set()


def test_the_flow_loss_and_its_gradients() -> None:
    stored = Stored.load("flextok_flow_loss")
    encoder, decoder, own = encoder_of(stored), decoder_of(stored), stored.config["sizes"]
    latents, noise = stored.inputs["latents"], stored.inputs["noise"]
    times = ModeTimes(scale=own["mode_scale"]).at(stored.inputs["u"])
    noisy = RECTIFIED.at(latents, noise, times)
    condition = decoder.condition(
        quantizer_of(stored)(encoder(latents)).vectors, torch.tensor(own["keep_k"]), torch.tensor(own["drop_flags"])
    )
    velocity, _ = decoder(noisy, decoder.modulations(times), condition)
    losses = (velocity - RECTIFIED.velocity(latents, noise)).square().flatten(1).mean(1)
    losses.mean().backward()
    stored.check("sigmas", times)
    stored.check("noised_latents", noisy)
    stored.check("velocity", velocity)
    stored.check("loss_per_sample", losses)
    stored.check("loss", losses.mean())
    gradients = {f"encoder.{name}": parameter.grad for name, parameter in encoder.named_parameters()}
    gradients |= {f"decoder.{name}": parameter.grad for name, parameter in decoder.named_parameters()}
    reached = {name: gradient for name, gradient in gradients.items() if gradient is not None}
    assert reached.keys() == gradients.keys()
    stored.check_gradients("grad/", dict(to_theirs(reached, NAMES)))
    assert stored.unchecked() == set()


def transparent(stored: Stored) -> FlowDecoder:
    """A decoder whose registers are the vectors given, with the stored tokens for missing and dropped ones."""
    dim, num_registers = stored.config["sizes"]["dim"], stored.config["sizes"]["tokens"]
    decoder = FlowDecoder(TransformerConfig(dim=dim, depth=0, heads=1), 1, 1, 1, num_registers, dim, max_time=1.0)
    with torch.no_grad():
        decoder.registers_in.weight.copy_(torch.eye(dim))
        decoder.register_positions.zero_()
        decoder.mask_token.copy_(stored.weights["dropout_mask_token"])
        decoder.null_token.copy_(stored.weights["nullcond"])
    return decoder


@torch.no_grad()
def test_what_is_left_of_strings_that_are_cut_or_dropped() -> None:
    stored = Stored.load("flextok_nested_dropout")
    decoder, vectors = transparent(stored), stored.inputs["x"]
    num_tokens = decoder.num_registers
    spec = TokenSpec((2,), num_tokens, tuple(range(1, num_tokens + 1)), (8, 8), (8, 8))
    rules = {"uniform": Uniform(), "pow2": Pow2(), "uniform_pow2": UniformPow2()}
    for name, rule in rules.items():
        lengths, chances = stored.outputs[f"{name}/keep_k"], rule.chances(spec)
        stored.check(f"{name}/out", spread_out(decoder, decoder.condition(vectors, lengths).registers, lengths))
        drawn = torch.bincount(stored.outputs[f"{name}/keep_k_400_draws"] - 1, minlength=num_tokens)
        expected = drawn.sum() * chances / chances.sum()
        assert set(lengths.tolist()) <= {length for length, chance in enumerate(chances.tolist(), 1) if chance}
        assert torch.equal(drawn > 0, chances > 0)
        chi_squared = ((drawn - expected).square() / expected.clamp(min=1e-9)).sum()
        assert float(chi_squared) < 32  # 15 degrees of freedom reach it once in 150 times
    shares = rules["uniform_pow2"].chances(spec).cumsum(0) / num_tokens
    evenly = (stored.inputs["uniform_pow2/k"].double() - 0.5) / num_tokens  # a draw of each of the numbers that are rounded up
    stored.check("uniform_pow2/map_of_k", 1 + torch.searchsorted(shares, evenly, right=True))
    dropped = stored.inputs["nullcond/draws"] < stored.config["sizes"]["dropout_prob"]
    stored.check("nullcond/dropped", dropped)
    lengths = torch.full((len(vectors),), num_tokens)
    found = spread_out(decoder, decoder.condition(vectors, lengths, dropped).registers, lengths.masked_fill(dropped, 0))
    stored.check("nullcond/out", found)
    of_numpys_stream = {f"{name}/{draws}" for name in rules for draws in ("keep_k", "keep_k_400_draws")}  # compared as frequencies above
    assert stored.unchecked() == of_numpys_stream


@torch.no_grad()
def test_the_alignment_with_a_teacher() -> None:
    stored = Stored.load("flextok_repa")
    own, features, teacher = stored.config["sizes"], stored.inputs["features"], stored.inputs["teacher"]
    head = ProjectionHead(own["dim"], own["teacher_dim"])
    layers = {"layers.0": "mlp.1", "layers.2": "mlp.3", "layers.4": "out_proj"}
    head.load_state_dict(
        {f"{ours}.{end}": stored.weights[f"{theirs}.{end}"] for ours, theirs in layers.items() for end in ("weight", "bias")}
    )
    projected = head(features)
    stored.check("projected", projected)
    flat = projected.flatten(1, 2)
    stored.check("resized", resized(flat, (own["teacher_grid"], own["teacher_grid"])))
    stored.check("loss", alignment(flat, teacher))
    assert stored.unchecked() == set()


def test_guidance() -> None:
    stored = Stored.load("flextok_apg")
    own = stored.config["sizes"]
    scale = own["guidance_scale"]
    for group in ("small", "large", "batch"):
        with_momentum = AdaptiveProjected(own["momentum"], own["norm_threshold"], own["eta"])
        for step in range(3):
            name = f"{group}/{step}"
            pair = stored.inputs[f"{name}/cond"], stored.inputs[f"{name}/uncond"]
            stored.check(f"{name}/cfg", classifier_free(*pair, scale))
            stored.check(f"{name}/apg_momentum", with_momentum(*pair, scale))
            stored.check(f"{name}/apg_no_momentum_eta_half", AdaptiveProjected(0.0, own["norm_threshold"], 0.5)(*pair, scale))
            stored.check(f"{name}/apg_no_threshold", AdaptiveProjected(0.0, 0.0, own["eta"])(*pair, scale))
    assert stored.unchecked() == set()


def sampled(
    decoder: FlowDecoder, vectors: Tensor, lengths: Tensor, noise: Tensor, steps: int, scale: Callable[[float], float], rule: str
) -> list[Tensor]:
    """The maps before each step of Euler's solver and after the last."""
    times, maps = time_grid(steps), [noise]
    under = decoder.at_times(times)
    told, untold = under(decoder.condition(vectors, lengths)), under(decoder.no_condition(len(noise)))
    velocity = guided(told, untold, scale=scale, rule=RULES[rule]())
    solve(velocity, noise, times, "euler", after_step=lambda _, x: maps.append(x))
    return maps


@torch.no_grad()
def test_sampling() -> None:
    stored = Stored.load("flextok_sampling")
    decoder, own = decoder_of(stored), stored.config["sizes"]
    assert own["callable_guidance"] == "1 + 2*t"
    given = vectors_of(stored), stored.inputs["keep_k"], stored.inputs["noise"], own["steps"]
    cases: dict[str, tuple[Callable[[float], float], str]] = {
        "plain": (lambda _: 1.0, "cfg"),
        "cfg": (lambda _: own["guidance_scale"], "cfg"),
        "apg": (lambda _: own["guidance_scale"], "apg"),
        "callable": (lambda t: 1 + 2 * t, "apg"),
    }
    for name, (scale, rule) in cases.items():
        *before, final = sampled(decoder, *given, scale, rule)
        stored.check(f"{name}/latents_before_each_step", torch.stack(before))
        stored.check(f"{name}/final", final)
        stored.check(f"{name}/t_of_each_step", torch.tensor(time_grid(own["steps"])[:-1]))
    assert stored.unchecked() == set()


@torch.no_grad()
def test_the_way_there_and_back() -> None:
    stored = Stored.load("flextok_roundtrip")
    own = stored.config["sizes"]
    quantizer, lengths = quantizer_of(stored), torch.tensor(own["keep_k"])
    ids = quantizer(encoder_of(stored)(stored.inputs["latents"])).ids
    stored.check("tokens", ids[..., 0])
    rule = "apg" if own["perform_norm_guidance"] else "cfg"
    noise = stored.inputs["initial_noise"]
    maps = sampled(decoder_of(stored), quantizer.lookup(ids), lengths, noise, own["steps"], lambda _: own["guidance_scale"], rule)
    stored.check("reconstructed_latents", maps[-1])
    assert stored.unchecked() == set()


def test_names_and_shapes_go_both_ways() -> None:
    stored = Stored.load("flextok_roundtrip")
    back = to_theirs(to_ours(stored.weights, NAMES), NAMES)
    assert back.keys() == stored.weights.keys()
    assert all(torch.equal(back[name], value) for name, value in stored.weights.items())
