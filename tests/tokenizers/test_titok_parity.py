"""The TiTok line computes what the published implementations compute, activation by activation."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from tests.parity import Stored
from tests.tokenizers.titok_fixtures import as_row, gradients, model_of, watched
from vtok.models.decoders import DecodeOptions
from vtok.models.quantizers import Quantized
from vtok.models.quantizers.codebook_training import CodebookTrainingConfig
from vtok.models.transformer import ALL
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.latents import Latents
from vtok.train.codebook_steps import CodebookSteps
from vtok.train.losses.kl import kl
from vtok.train.losses.proxy_codes import proxy_code_loss

pytestmark = pytest.mark.parity


def lengths_of(vectors: Tensor, length: int | None = None) -> Tensor:
    return torch.full((len(vectors),), vectors.shape[1] if length is None else length)


def check_encoder(stored: Stored, model: Any) -> Tensor:
    """Activations of the encoder; returns its output (B, N, D')."""
    encoder = model.encoder
    after_norm_in, after_norm_out = watched(encoder.norm_in), watched(encoder.norm_out)
    latents: Tensor = encoder(stored.inputs["image"])
    if "enc_after_ln_pre" in stored.outputs:
        stored.check("enc_after_ln_pre", after_norm_in())
        stored.check("enc_after_block0_SBC", encoder.transformer.blocks[0](after_norm_in(), ALL).transpose(0, 1))
        stored.check("enc_after_ln_post", after_norm_out())
    stored.check("pre_quant", as_row(latents))
    return latents


def coded(stored: Stored, model: Any) -> tuple[Quantized, Tensor]:
    """What the quantizer makes of the fixture's pictures, checked, and its loss."""
    quantized = model.quantize(check_encoder(stored, model))
    stored.check("ids", quantized.ids.mT)
    stored.check("quantized", as_row(quantized.vectors))
    steps = CodebookSteps(model.quantizer, CodebookTrainingConfig(commitment=stored.config["sizes"]["commitment_cost"]))
    losses = steps.losses(quantized.vectors, quantized)
    loss = torch.stack(list(losses.values())).sum()
    for prefix in ("", "loss/"):
        if f"{prefix}quantizer_loss" in stored.outputs and not stored.config["sizes"].get("finetune_decoder"):
            stored.check(f"{prefix}commitment_loss", losses["commitment"])
            stored.check(f"{prefix}codebook_loss", losses["codebook"])
            stored.check(f"{prefix}quantizer_loss", loss)
    return quantized, loss


def decoded_with_activations(stored: Stored, model: Any, vectors: Tensor) -> Any:
    trunk = model.decoder.trunk
    after_norm_in, after_norm_out = watched(trunk.norm_in), watched(trunk.norm_out)
    decoded = model.reconstruct(vectors, lengths_of(vectors), DecodeOptions(text=stored.inputs.get("text")))
    stored.check("dec_after_ln_pre", after_norm_in())
    stored.check("dec_after_ln_post", after_norm_out())
    return decoded


def from_ids(stored: Stored, model: Any, options: DecodeOptions = DecodeOptions()) -> Any:  # noqa: B008 - frozen
    ids = stored.outputs["ids"].mT
    lengths = torch.full((len(ids),), ids.shape[1])
    return model.reconstruct(model.lookup(ids, lengths), lengths, options)


@pytest.mark.parametrize("fixture", ["titok_stage1"])
def test_the_first_stage(fixture: str) -> None:
    stored = Stored.load(fixture)
    model = model_of(stored).requires_grad_(True)
    quantized, quantizer_loss = coded(stored, model)
    logits = decoded_with_activations(stored, model, quantized.vectors).features["logits"]
    stored.check("logits", logits)
    stored.check("logits", from_ids(stored, model).features["logits"])
    named = proxy_code_loss(logits.flatten(2).mT, stored.inputs["proxy_codes"]).mean()
    stored.check("loss/reconstruction_loss", named)
    stored.check("loss/total_loss", named + quantizer_loss)
    (named + quantizer_loss).backward()
    stored.check_gradients("grad/", gradients(model))
    assert stored.unchecked() == set()


@pytest.mark.parametrize("fixture", ["titok_stage2"])
def test_the_second_stage(fixture: str) -> None:
    stored = Stored.load(fixture)
    model = model_of(stored)
    model.decoder.requires_grad_(True)
    quantized, _ = coded(stored, model)
    seen = watched(model.decoder.pixel_decoder.conv_in)
    decoded = decoded_with_activations(stored, model, quantized.vectors)
    stored.check("logits", decoded.features["logits"])
    stored.check("image", decoded.pictures)
    side = model.decoder.trunk.side
    mixed = model.decoder.pixel_vectors(decoded.features["logits"].flatten(2).mT)
    stored.check("soft_embedding", mixed.mT.unflatten(2, (side, side)))
    torch.testing.assert_close(seen(), model.decoder.pixel_decoder.conv_in(mixed.mT.unflatten(2, (side, side))))
    stored.check("image_from_ids", from_ids(stored, model).pictures)
    error = mse_loss(decoded.pictures, stored.inputs["image_target"])
    stored.check("mse", error)
    error.backward()
    stored.check_gradients("grad/", gradients(model))
    assert all(parameter.grad is None for part in (model.encoder, model.quantizer) for parameter in part.parameters())
    nothing = {"quantizer_loss", "commitment_loss", "codebook_loss"}  # upstream's zeros: here these losses do not exist
    assert all(float(stored.outputs[name]) == 0 for name in nothing)
    assert stored.unchecked() == nothing


@pytest.mark.parametrize("fixture", ["titok_vq8k", "tatitok_vq"])
def test_one_stage_with_vector_quantization(fixture: str) -> None:
    stored = Stored.load(fixture)
    model = model_of(stored).requires_grad_(True)
    quantized, quantizer_loss = coded(stored, model)
    decoded = decoded_with_activations(stored, model, quantized.vectors)
    stored.check("image_out", decoded.pictures)
    if "image_from_ids" in stored.outputs:
        stored.check("image_from_ids", from_ids(stored, model).pictures)
    if "image_zero_text" in stored.outputs:
        stored.check("image_zero_text", model.reconstruct(quantized.vectors, lengths_of(quantized.vectors), DecodeOptions()).pictures)
    total = mse_loss(decoded.pictures, stored.inputs["image"]) + quantizer_loss
    stored.check("total", total)
    total.backward()
    stored.check_gradients("grad/", gradients(model))
    assert stored.unchecked() == set()


@pytest.mark.parametrize("fixture", ["titok_vae", "tatitok_vae"])
def test_one_stage_with_continuous_latents(fixture: str) -> None:
    stored = Stored.load(fixture)
    model = model_of(stored).requires_grad_(True)
    check_encoder(stored, model)
    mean, logvar = model.gaussians(stored.inputs["image"])
    latents = Latents(mean, logvar, None, model.spec)
    stored.check("mean", as_row(latents.mode()))
    stored.check("logvar", as_row(logvar))
    sample = latents.with_noise(stored.inputs["noise"][:, :, 0].mT)
    stored.check("sample", as_row(sample))
    decoded = decoded_with_activations(stored, model, sample)
    stored.check("image_out", decoded.pictures)
    if "image_from_mode" in stored.outputs:
        stored.check("image_from_mode", model.reconstruct(mean, lengths_of(mean), DecodeOptions()).pictures)
        stored.check("std", as_row((0.5 * logvar).exp()))
        stored.check("kl_per_token", kl(mean, logvar))
        stored.check("kl_scalar", kl(mean, logvar).sum(1).mean())
    if "image_zero_text" in stored.outputs:
        stored.check("image_zero_text", model.reconstruct(sample, lengths_of(sample), DecodeOptions()).pictures)
    total = mse_loss(decoded.pictures, stored.inputs["image"]) + 1e-3 * kl(mean, logvar).sum(1).mean()
    stored.check("total", total)
    total.backward()
    stored.check_gradients("grad/", gradients(model))
    assert stored.unchecked() == set()


@pytest.mark.parametrize("fixture", ["one_d_piece"])
def test_prefixes_of_one_d_piece(fixture: str) -> None:
    stored = Stored.load(fixture)
    sizes = stored.config["sizes"]
    model = model_of(stored)
    model.decoder.requires_grad_(True)
    quantized, _ = coded(stored, model)
    tokens = Tokens.full(stored.outputs["ids"].mT, model.spec)
    embedded = watched(model.decoder.trunk.embed)
    for length in sizes["prefix_lengths"]:
        prefix = tokens.prefix(length)
        stored.check(
            f"len{length}/image", model.reconstruct(model.lookup(prefix.ids, prefix.lengths), prefix.lengths, DecodeOptions()).pictures
        )
        if f"len{length}/dec_tokens" in stored.outputs:
            stored.check(f"len{length}/dec_tokens", embedded() + model.decoder.trunk.latent_positions[:length])
    kept = lengths_of(quantized.vectors, sizes["train_kept_tokens"])
    pictures = model.reconstruct(quantized.vectors, kept, DecodeOptions()).pictures
    stored.check("train/image", pictures)
    error = mse_loss(pictures, stored.inputs["image_target"])
    stored.check("train/mse", error)
    error.backward()
    stored.check_gradients("grad/", gradients(model))
    assert stored.unchecked() == set()


@pytest.mark.parametrize("fixture", ["one_d_piece_stage1"])
def test_the_first_stage_of_one_d_piece(fixture: str) -> None:
    stored = Stored.load(fixture)
    model = model_of(stored).requires_grad_(True)
    quantized, quantizer_loss = coded(stored, model)
    kept = lengths_of(quantized.vectors, stored.config["sizes"]["train_kept_tokens"])
    logits = model.reconstruct(quantized.vectors, kept, DecodeOptions()).features["logits"]
    stored.check("logits", logits)
    named = proxy_code_loss(logits.flatten(2).mT, stored.inputs["proxy_codes"]).mean()
    stored.check("loss/reconstruction_loss", named)
    stored.check("loss/total_loss", named + quantizer_loss)
    (named + quantizer_loss).backward()
    stored.check_gradients("grad/", gradients(model))
    assert stored.unchecked() == set()


@pytest.mark.parametrize("fixture", ["maskgit_vqgan"])
def test_maskgit_vqgan(fixture: str) -> None:
    stored = Stored.load(fixture)
    sizes = stored.config["sizes"]
    model = model_of(stored)
    model.quantizer.requires_grad_(True)
    for name, images in (("pre_quant", stored.inputs["image"]), ("pre_quant_rect", stored.inputs["image_rect"])):
        stored.check(name, model.encoder(images))
    image = stored.inputs["image"]
    latents = model.latents(image)
    quantized = model.quantize(latents)
    stored.check("ids", quantized.ids[..., 0])
    side = image.shape[2] // model.config.downsample
    raster = quantized.vectors.mT.unflatten(2, (side, side))
    stored.check("quantized", raster)
    stored.check("decoded", model.decoder(raster))
    spec = model.spec_for(*image.shape[2:])
    stored.check("decoded_clamped", model.decode(Tokens.full(quantized.ids, spec)))
    given = model.lookup(stored.inputs["ids_given"][..., None], torch.full((len(image),), side**2))
    stored.check("decoded_given", model.decoder(given.mT.unflatten(2, (side, side))))
    stored.check("soft_code", model.soft_codes(image, sizes["soft_code_temp"]))
    swapped = quantized.losses["commitment"] + sizes["commitment_cost"] * quantized.losses["codebook"]
    stored.check("quantizer_loss", swapped)
    assert stored.unchecked() == set()
