"""TiTok and One-D-Piece: where a natural implementation would differ from what the published weights need, without these.

The stored values of `test_titok_parity.py` show the same and the rest with numbers: that mixed heads, shortcuts and the order of pixels are
upstream's, that soft codes mix by softmax, that losses are means with a weight on the latents' side, that one-stage models end in a
convolution, that text is not masked. Norms, GELU and biases of attention: `tests/models/test_transformer.py`; the MaskGIT-VQGAN:
`tests/models/test_maskgit_vqgan.py`; text: `test_tatitok.py` and `test_clip_text.py`; the discriminator: `tests/models/test_blur_pool.py`.
"""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tests.tokenizers.titok_fixtures import watched
from vtok.errors import LengthError
from vtok.models.decoders import DecodeOptions
from vtok.models.decoders.proxy_codes import HardProxyDecoder, SoftProxyDecoder
from vtok.models.decoders.vit_pixels import PixelHead
from vtok.models.latent_token_encoder import LatentTokenEncoder, MixedTokenHead, TokenHead, VitConfig
from vtok.models.maskgit_vqgan import MaskgitConfig
from vtok.models.quantizers.config import VqConfig
from vtok.tokenizers.one_d_piece import OneDPiece, ProxyOneDPiece
from vtok.tokenizers.prefix_errors import doubling
from vtok.tokenizers.tatitok import TaTitok, TaTitokVae
from vtok.tokenizers.titok import TINY_PIXELS, TINY_VIT, PixelTitok, ProxyTitok, Titok, TitokConfig, VitTokenizer
from vtok.tokenizers.titok_vae import TitokVae

TWO_STAGE = (Titok, ProxyTitok, OneDPiece, ProxyOneDPiece)
FIXED = (Titok, ProxyTitok, PixelTitok, TaTitok)


def images(number: int = 2, side: int = 32) -> Tensor:
    return torch.rand(number, 3, side, side, generator=torch.Generator().manual_seed(0))


def given_to(module: nn.Module) -> Any:
    """What a part of a model was last given."""
    seen: list[Tensor] = []
    module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    return lambda: seen[-1]


# --- the encoder


@torch.no_grad()
def test_a_mixed_head_reads_the_numbers_of_a_picture_as_rows_of_as_many_as_there_are_tokens() -> None:
    head, x = MixedTokenHead(4, 3), torch.randn(2, 5, 4)
    num_tokens, width = x.shape[1:]
    mixed = torch.empty_like(x)
    for token in range(num_tokens):
        for channel in range(width):
            flat = channel * num_tokens + token
            mixed[:, token, channel] = x[:, flat // width, flat % width]
    torch.testing.assert_close(head(x), mixed @ head.weight.T + head.bias)
    assert float((TokenHead.forward(head, x) - head(x)).abs().max()) > 0.1


def test_only_models_of_two_stages_mix_their_tokens() -> None:
    assert all(type(model.tiny().encoder.head) is MixedTokenHead for model in TWO_STAGE)
    assert all(type(model.tiny().encoder.head) is TokenHead for model in (PixelTitok, TitokVae, TaTitok, TaTitokVae))


@torch.no_grad()
def test_the_encoder_sees_class_token_patches_and_latents_and_keeps_the_latents() -> None:
    encoder = LatentTokenEncoder(TINY_VIT, 32, 6, nn.Identity())
    before, after, patches = given_to(encoder.norm_in), given_to(encoder.norm_out), watched(encoder.patch_embed)
    encoder(images())
    sequence = before()
    assert sequence.shape == (2, 1 + 16 + 6, 16)
    torch.testing.assert_close(sequence[1, 0], encoder.class_token[0] + encoder.positions[0])
    torch.testing.assert_close(sequence[1, 1 + 4 * 2 + 3], patches()[1, :, 2, 3] + encoder.positions[1 + 4 * 2 + 3])
    torch.testing.assert_close(sequence[1, 17:], encoder.latent_tokens + encoder.latent_positions)
    assert after().shape == (2, 6, 16)


@torch.no_grad()
def test_pictures_reach_the_encoder_as_they_are() -> None:
    tok = Titok.tiny()
    seen = given_to(tok.encoder.patch_embed)
    tok.encode(images())
    assert torch.equal(seen(), images())


# --- the bottleneck


@torch.no_grad()
def test_the_decoder_of_a_spherical_codebook_gets_codes_of_length_1_though_they_are_stored_as_they_are() -> None:
    tok = Titok.tiny()
    tokens = tok.encode(images())
    vectors = tok.lookup(tokens.ids, tokens.lengths)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2, 6))
    codes = tok.quantizer.get_parameter("codes")
    assert float((codes.norm(dim=-1) - 1).abs().max()) > 0.1
    torch.testing.assert_close(vectors[0, 0], nn.functional.normalize(codes[0, int(tokens.ids[0, 0, 0])], dim=0))


@torch.no_grad()
def test_codes_are_looked_for_in_float32_whatever_the_networks_compute_in() -> None:
    tok = PixelTitok.tiny()
    with torch.autocast("cpu", torch.bfloat16):
        latents = tok.latents(images())
        inside = tok.quantize(latents)
    outside = tok.quantize(latents.float())
    assert inside.vectors.dtype == torch.float32
    assert torch.equal(inside.ids, outside.ids)


@torch.no_grad()
@pytest.mark.parametrize("model", [PixelTitok, Titok])
def test_what_training_decodes_is_what_ids_decode_to_but_for_rounding(model: type[VitTokenizer]) -> None:
    tok = model.tiny()
    quantized = tok.quantize(tok.latents(images()))
    torch.testing.assert_close(quantized.vectors, tok.lookup(quantized.ids, torch.full((2,), 6)), rtol=0, atol=1e-6)


# --- the decoder


@torch.no_grad()
@pytest.mark.parametrize("length", [6, 2])
def test_the_decoder_sees_class_token_masks_and_latents_and_keeps_the_masks(length: int) -> None:
    tok = OneDPiece.tiny()
    trunk = tok.decoder.trunk
    before, after = given_to(trunk.norm_in), given_to(trunk.norm_out)
    vectors = torch.randn(2, 6, 5)
    trunk(vectors, torch.full((2,), length))
    sequence = before()
    assert sequence.shape == (2, 1 + 16 + length, 16)
    torch.testing.assert_close(sequence[1, 0], trunk.class_token[0] + trunk.positions[0])
    torch.testing.assert_close(sequence[1, 1:17], trunk.mask_token + trunk.positions[1:])
    torch.testing.assert_close(sequence[1, 17:], trunk.embed(vectors[1, :length]) + trunk.latent_positions[:length])
    assert after().shape == (2, 16, 16)


@torch.no_grad()
def test_numbers_of_a_patch_are_rows_columns_colours() -> None:
    head = PixelHead(7, 4)
    nn.init.dirac_(head.smooth.weight)
    head.smooth.bias = None
    features = torch.randn(1, 4, 7)
    pictures, numbers = head(features, 2), head.patches(features)
    for row in range(8):
        for col in range(8):
            for colour in range(3):
                cell, inside = row // 4 * 2 + col // 4, (row % 4 * 4 + col % 4) * 3 + colour
                assert float(pictures[0, colour, row, col]) == pytest.approx(float(numbers[0, cell, inside]), abs=1e-6)


@torch.no_grad()
def test_the_last_convolution_sees_across_patches() -> None:
    head = PixelHead(7, 4)
    features = torch.randn(1, 4, 7)
    changed = features.clone()
    changed[0, 1] += 1
    moved = (head(features, 2) != head(changed, 2)).any(1)[0]
    assert moved.any(0).tolist() == [False] * 3 + [True] * 5  # the patch on the right, and a column of the one on the left


@torch.no_grad()
def test_codes_are_mixed_by_their_softmax_in_the_second_stage_and_the_best_is_taken_in_the_first() -> None:
    logits = 3 * torch.randn(1, 16, 16)
    sizes: dict[str, Any] = {"config": TINY_VIT, "image_size": 32, "num_tokens": 6, "dim": 5, "pixels": TINY_PIXELS}
    soft, hard = SoftProxyDecoder(**sizes), HardProxyDecoder(**sizes)
    codes = soft.pixel_quantizer.codes[0]
    torch.testing.assert_close(soft.pixel_vectors(logits), logits.softmax(-1) @ codes)
    assert torch.equal(hard.pixel_vectors(logits), hard.pixel_quantizer.codes[0][logits.argmax(-1)])


def test_the_codes_that_a_decoder_names_are_those_of_the_other_tokenizer_however_many_its_own_are() -> None:
    for codebook_size in (8, 4096):
        quantizer = VqConfig(kind="spherical_vq", num_tokens=6, dim=5, codebook_size=codebook_size)
        with torch.device("meta"):
            tok = Titok(TitokConfig(image_size=32, encoder=TINY_VIT, decoder=TINY_VIT, quantizer=quantizer))
        assert tok.get_parameter("decoder.head.2.weight").shape == (1024, 32)


# --- lengths


@pytest.mark.parametrize("model", FIXED)
def test_a_string_without_prefixes_names_the_families_that_have_them(model: type[VitTokenizer]) -> None:
    tokens = model.tiny().encode(images())
    for cut in (lambda: tokens.prefix(3), lambda: model.tiny().encode(images(), 3)):
        with pytest.raises(LengthError, match=r"3 tokens do not decode here; lengths that do: 6; prefixes decode with .*one_d_piece"):
            cut()


def test_nothing_that_was_cut_has_any_influence_on_one_d_piece() -> None:
    tok = OneDPiece.tiny()
    vectors = torch.randn(2, 6, 5)
    spoilt = vectors.clone()
    spoilt[:, 2:] = torch.nan
    short = torch.full((2,), 2)
    with torch.no_grad():
        expected = tok.reconstruct(vectors, short, DecodeOptions()).pictures
        assert torch.equal(tok.reconstruct(spoilt, short, DecodeOptions()).pictures, expected)
        assert torch.equal(tok.reconstruct(vectors[:, :2], short, DecodeOptions()).pictures, expected)
        tok.decoder.trunk.latent_positions[2:] = torch.nan
        assert torch.equal(tok.reconstruct(vectors, short, DecodeOptions()).pictures, expected)


def test_what_was_cut_gets_no_gradient() -> None:
    tok = OneDPiece.tiny()
    vectors = torch.randn(3, 6, 5).requires_grad_()
    tok.reconstruct(vectors, torch.tensor([2, 6, 4]), DecodeOptions()).pictures.square().sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.any(2).sum(1).tolist() == [2, 6, 4]
    assert not vectors.grad.isnan().any()


@torch.no_grad()
def test_lengths_of_a_batch_decode_as_they_do_alone() -> None:
    tok, tokens = OneDPiece.tiny(), OneDPiece.tiny().encode(images(5))
    lengths = [3, 6, 1, 3, 4]
    together = tok.decode(tokens.prefix(torch.tensor(lengths)))
    for own, length in enumerate(lengths):
        alone = tok.decode(tokens[own].prefix(length))
        torch.testing.assert_close(
            together[own], alone[0], rtol=0, atol=1e-4
        )  # sums of another order, which the pixel decoder's norms enlarge


@torch.no_grad()
def test_training_mode_alone_cuts_nothing_off() -> None:
    """Lengths are the training's to draw: a model does not become random by its mode."""
    tok = OneDPiece.tiny()
    tokens = tok.encode(images())
    expected = tok.decode(tokens)
    tok.train()
    assert torch.equal(tok.decode(tokens), expected)


# --- errors in pixels


@torch.no_grad()
def test_errors_of_one_d_piece_are_those_of_decoded_pictures() -> None:
    tok = OneDPiece.tiny()
    tokens, errors = tok.encode_grid_with_errors(images(3))
    assert doubling(6) == [1, 2, 4, 6]
    left = {n: (images(3) - tok.decode(tokens.prefix(n))).square().flatten(1).sum(1) for n in doubling(6)}
    falling = torch.stack(list(left.values()), 1).cummin(1).values
    for column, n in enumerate(doubling(6)):
        torch.testing.assert_close(errors[:, n], falling[:, column])
    mean = images(3).mean((2, 3), keepdim=True)
    torch.testing.assert_close(errors[:, 0], torch.maximum((images(3) - mean).square().flatten(1).sum(1), errors[:, 1]))
    between = errors[:, 2] + (errors[:, 4] - errors[:, 2]) * (torch.tensor(3.0).log2() - 1)
    torch.testing.assert_close(errors[:, 3], between)


# --- sizes and starts


def test_pictures_have_the_size_that_the_pixel_decoder_paints() -> None:
    quantizer = VqConfig(kind="spherical_vq", num_tokens=6, dim=5, codebook_size=32)
    larger = TINY_PIXELS.model_copy(update={"multiples": (1, 1, 1, 1, 1)})  # 16 pixels of a cell, of patches of 8
    tok = Titok(TitokConfig(image_size=32, encoder=TINY_VIT, decoder=TINY_VIT, quantizer=quantizer, pixels=larger)).eval()
    assert tok.spec.output_size == (64, 64)
    assert tok.decode(tok.encode(images())).shape == (2, 3, 64, 64)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"image_size": 36}, "image_size 36 is not a multiple of the encoder's patch_size 8"),
        ({"decoder": {"patch_size": 5}}, "is not a multiple of the decoder's patch_size 5"),
        ({"encoder": {"dim": 8192, "depth": 128, "heads": 1}}, "the encoder would have .* numbers, at most"),
        ({"pixels": {"codebook_size": 2**20, "latent_dim": 1}, "decoder": {"dim": 8192, "depth": 1}}, "the decoder's head would have"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, Any], words: str) -> None:
    vit = {"dim": 16, "depth": 2, "heads": 2, "patch_size": 8}
    whole: dict[str, Any] = {"image_size": 32, "encoder": vit, "decoder": vit, "quantizer": {"num_tokens": 6}} | sizes
    whole = {name: vit | value if name in ("encoder", "decoder") else value for name, value in whole.items()}
    with pytest.raises(ValidationError, match=words):
        TitokConfig.model_validate(whole)


def wide(model: type[Any], **more: Any) -> Any:
    """A fresh model whose matrices are large enough for statistics."""
    vit = VitConfig(dim=64, depth=1, heads=4, patch_size=8)
    torch.manual_seed(0)
    return model(model.Config(image_size=32, encoder=vit, decoder=vit, **more))


QUANTIZER = {"quantizer": VqConfig(num_tokens=16, dim=32, codebook_size=128)}
PIXELS = {"pixels": MaskgitConfig(dim=32, multiples=(1, 1, 1, 1), num_blocks=1, latent_dim=4, codebook_size=64)}


@torch.no_grad()
@pytest.mark.parametrize(
    ("model", "sizes"), [(PixelTitok, QUANTIZER), (Titok, QUANTIZER | PIXELS), (TitokVae, {"num_tokens": 16, "dim": 32})]
)
def test_a_fresh_model_begins_as_published(model: type[Any], sizes: dict[str, Any]) -> None:
    for name, parameter in wide(model, **sizes).named_parameters():
        if name.startswith(("decoder.pixel_", "quantizer.")):
            continue  # these are loaded, or tested below
        kind = name.rpartition(".")[2]
        if "norm" in name:
            assert bool((parameter == float(kind == "weight")).all()), name
        elif kind == "bias":
            assert not parameter.any(), name
        elif "qkv" in name:
            assert float(parameter.std()) == pytest.approx((2 / (4 * 64)) ** 0.5, rel=0.05), name
        elif kind == "weight" and parameter.numel() > 100:
            assert float(parameter.std()) == pytest.approx(0.02, rel=0.1), name
        elif kind != "weight" and parameter.numel() > 500:
            assert float(parameter.std()) == pytest.approx(64**-0.5, rel=0.1), name


@torch.no_grad()
@pytest.mark.parametrize(("model", "sizes"), [(TaTitok, QUANTIZER), (TaTitokVae, {"num_tokens": 16, "dim": 32})])
def test_a_decoder_that_reads_captions_begins_as_pytorchs_layers_do(model: type[Any], sizes: dict[str, Any]) -> None:
    tok = wide(model, **sizes)
    block = tok.decoder.trunk.transformer.blocks[0]
    for layer in (
        block.mlp_in,
        block.mlp_out,
        block.attention_out,
        tok.decoder.trunk.embed,
        tok.decoder.head.patches,
        tok.decoder.text_embed,
    ):
        assert float(layer.weight.std()) == pytest.approx((3 * layer.in_features) ** -0.5, rel=0.05)
    for layer in (block.mlp_in, block.mlp_out, tok.decoder.trunk.embed, tok.decoder.text_embed):
        assert layer.bias.any()
    assert float(block.qkv.weight.std()) == pytest.approx((2 / (4 * 64)) ** 0.5, rel=0.05)
    assert not torch.cat([block.qkv.bias, block.attention_out.bias]).any()
    for table in (tok.decoder.text_positions, tok.decoder.trunk.positions):
        assert float(table.std()) == pytest.approx(64**-0.5, rel=0.1)
    assert float(tok.encoder.transformer.blocks[0].mlp_in.weight.std()) == pytest.approx(0.02, rel=0.05)


def test_codes_begin_evenly_spread_around_0() -> None:
    codes = wide(PixelTitok, **QUANTIZER).quantizer.codes
    assert 0.99 / 128 < float(codes.detach().abs().max()) <= 1 / 128
    assert float(codes.detach().std()) == pytest.approx(2 / 128 / 12**0.5, rel=0.05)


@pytest.mark.parametrize("model", [*TWO_STAGE, PixelTitok, TaTitok])
def test_tiny_models_are_equal(model: type[VitTokenizer]) -> None:
    first, again = model.tiny().state_dict(), model.tiny().state_dict()
    assert [name for name, value in first.items() if not torch.equal(value, again[name])] == []
