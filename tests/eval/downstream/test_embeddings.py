"""Embeddings of strings: pooling, prefixes, and both kinds of tokenizers."""

from dataclasses import replace

import pytest
import torch

from tests.threads import threads
from vtok.errors import LengthError
from vtok.eval.downstream.embeddings import embed, encode, join
from vtok.tokenizers.fqgan import FqganTokenizer
from vtok.tokenizers.one_d_piece import OneDPiece
from vtok.tokenizers.titok_vae import TitokVae


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The tensors are small."""
    with threads(1):
        yield


@pytest.fixture(scope="module")
def nested():
    return OneDPiece.tiny().eval()


@pytest.fixture(scope="module")
def vae():
    return TitokVae.tiny().eval()


def images(tokenizer, count=3):
    return torch.rand(count, 3, *tokenizer.spec.input_size, generator=torch.Generator().manual_seed(0))


def test_tokens_are_embedded_as_lookup_gives_them_to_the_decoder(nested):
    strings = encode(nested, images(nested))
    for length in (1, 2, nested.spec.max_tokens):
        cut = strings.prefix(length)
        vectors = nested.lookup(cut.ids, cut.lengths)
        assert torch.equal(embed(nested, strings, length, "mean"), vectors.mean(1))
        assert torch.equal(embed(nested, strings, length, "concatenated"), vectors.reshape(3, -1))


def test_a_prefix_does_not_know_what_was_cut(nested):
    strings = encode(nested, images(nested))
    changed = replace(strings, ids=torch.cat([strings.ids[:, :2], (strings.ids[:, 2:] + 1) % nested.spec.codebook_sizes[0]], 1))
    assert torch.equal(embed(nested, strings, 2, "concatenated"), embed(nested, changed, 2, "concatenated"))
    assert not torch.equal(embed(nested, strings, 3, "concatenated"), embed(nested, changed, 3, "concatenated"))


def test_the_batch_does_not_matter(nested):
    strings = encode(nested, images(nested))
    alone = torch.cat([embed(nested, strings[i], 3, "concatenated") for i in range(3)])
    assert torch.equal(embed(nested, strings, 3, "concatenated"), alone)


def test_maps_with_several_codebooks_have_embeddings():
    tokenizer = FqganTokenizer.tiny().eval()
    strings = encode(tokenizer, images(tokenizer))
    all_of_it = embed(tokenizer, strings, tokenizer.spec.max_tokens, "concatenated")
    assert all_of_it.shape[0] == 3
    assert all_of_it.shape[1] % tokenizer.spec.max_tokens == 0


def test_lengths_that_do_not_decode_are_refused():
    tokenizer = FqganTokenizer.tiny().eval()
    with pytest.raises(LengthError):
        embed(tokenizer, encode(tokenizer, images(tokenizer)), 3, "mean")


class TestContinuous:
    def test_the_most_probable_latents_are_the_embedding(self, vae):
        pictures = images(vae)
        expected = vae.encode(pictures).mode()
        strings = encode(vae, pictures)
        assert torch.equal(embed(vae, strings, vae.spec.num_tokens, "concatenated"), expected.flatten(1))
        assert torch.equal(embed(vae, strings, vae.spec.num_tokens, "mean"), expected.mean(1))

    def test_latents_that_are_absent_are_zero(self, vae):
        strings = encode(vae, images(vae))
        nested = replace(strings, spec=replace(strings.spec, prefix_lengths=(2, strings.spec.num_tokens)))
        found = embed(vae, nested, 2, "concatenated").unflatten(1, (-1, vae.spec.dim))
        assert torch.equal(found[:, :2], strings.mean[:, :2])
        assert not found[:, 2:].any()

    def test_tokens_are_no_latents(self, vae, nested):
        with pytest.raises(ValueError, match="TitokVae does not read Tokens"):
            embed(vae, encode(nested, images(nested)), 1, "mean")
        with pytest.raises(ValueError, match="cannot be joined"):
            join([encode(nested, images(nested)), encode(vae, images(vae))])

    def test_batches_are_joined(self, vae, nested):
        for tokenizer in (vae, nested):
            strings = encode(tokenizer, images(tokenizer))
            joined = join([strings[0:2], strings[2:3]])
            length = tokenizer.spec.max_tokens
            assert torch.equal(embed(tokenizer, joined, length, "mean"), embed(tokenizer, strings, length, "mean"))
