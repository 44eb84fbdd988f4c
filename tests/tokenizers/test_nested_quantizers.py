"""`nested` with every kind of quantizer: prefixes, saved models, large pictures."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.quantizer_kinds import KINDS
from vtok.models.autoencoders.registry import PixelsConfig
from vtok.models.transformer import TransformerConfig
from vtok.tokenizers.base import DecodeOptions, Tokenizer
from vtok.tokenizers.nested import NestedConfig, NestedTokenizer

SIZES = TransformerConfig(dim=8, depth=1, heads=2)
every_kind = pytest.mark.parametrize("kind", KINDS)


def a_model(kind: str, **sizes: Any) -> NestedTokenizer:
    if kind == "library":
        pytest.importorskip("vector_quantize_pytorch", reason="needs the extra `train`")
    pixels = PixelsConfig(size=16, bright=4, colour=2)
    settings = {"autoencoder": pixels, "tile_size": 16, "patch_size": 4, "num_registers": 5, "encoder": SIZES, "decoder": SIZES}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = NestedTokenizer(NestedConfig.model_validate({**settings, "linear": False, "quantizer": KINDS[kind], **sizes}))
        nn.init.normal_(model.encoder.head)  # so that latents spread over the codes
        nn.init.normal_(model.decoder.head.weight)
        model.component_scales.uniform_(0.5, 2)
    return model.eval()


def pictures(rows: int = 1, cols: int = 1, count: int = 2) -> Tensor:
    """Smooth pictures of rows x cols tiles of 16 pixels."""
    coarse = torch.rand(count, 3, 4 * rows, 4 * cols, generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, (16 * rows, 16 * cols), mode="bilinear")


@every_kind
@torch.no_grad()
def test_every_prefix_decodes_and_says_something_else(kind: str) -> None:
    model = a_model(kind)
    tokens = model.encode_grid(pictures(2, 3))
    assert tokens.ids.shape == (12, model.spec.max_tokens, len(model.spec.codebook_sizes))
    decoded = [model.decode_grid(tokens.prefix(n), 2, 3) for n in model.spec.prefix_lengths]
    assert all(own.shape == (2, 3, 32, 48) and bool(own.isfinite().all()) for own in decoded)
    assert not any(torch.equal(one, other) for one, other in pairwise(decoded))


@every_kind
@torch.no_grad()
def test_the_vectors_of_quantize_are_those_that_are_looked_up(kind: str) -> None:
    model = a_model(kind, tail="truncate")
    quantized = model.quantize(model.latents(pictures()))
    lengths = torch.full((2,), model.spec.max_tokens)
    torch.testing.assert_close(model.lookup(quantized.ids, lengths), quantized.vectors, rtol=1e-5, atol=1e-5)
    whole = model.reconstruct(quantized.vectors, lengths, DecodeOptions()).pictures.clamp(0, 1)
    torch.testing.assert_close(model.decode(model.encode(pictures())), whole, rtol=0, atol=1e-5)


@every_kind
@torch.no_grad()
def test_errors_are_of_no_token_and_of_each_prefix_in_units_of_the_components(kind: str) -> None:
    model = a_model(kind, tail="truncate")
    tokens, errors = model.encode_grid_with_errors(pictures(2, 2))
    assert errors.shape == (8, 1 + len(model.spec.prefix_lengths))
    known = model.lookup(tokens.ids, tokens.lengths)
    for column, n in enumerate(model.spec.prefix_lengths, 1):
        left = known - model.lookup(tokens.ids, torch.full((8,), n))
        torch.testing.assert_close(errors[:, column], left.square().sum((1, 2)), rtol=1e-4, atol=1e-6)


@every_kind
@torch.no_grad()
def test_a_model_is_saved_and_loaded_as_it_is(kind: str, tmp_path: Path) -> None:
    model = a_model(kind)
    model.round_as_stored()
    model.save_pretrained(tmp_path / "model")
    loaded = Tokenizer.from_pretrained(tmp_path / "model")
    assert isinstance(loaded, NestedTokenizer)
    assert (loaded.config, loaded.spec, loaded.code_digest) == (model.config, model.spec, model.code_digest)
    tokens = model.encode_grid(pictures(2, 3))
    assert torch.equal(loaded.encode_grid(pictures(2, 3)).ids, tokens.ids)
    assert torch.equal(loaded.decode_grid(tokens, 2, 3), model.decode_grid(tokens, 2, 3))
