"""The length of a string, told to a decoder."""

import pytest
import torch

from vtok.models.length_embedding import LengthEmbedding


def an_embedding(max_tokens: int) -> LengthEmbedding:
    embedding = LengthEmbedding(max_tokens, 3)
    with torch.no_grad():
        embedding.octaves.copy_(torch.randn(embedding.octaves.shape, generator=torch.Generator().manual_seed(0)))
    return embedding


@pytest.mark.parametrize(("max_tokens", "octaves"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (128, 8), (129, 9)])
def test_there_is_a_vector_for_each_power_of_two_up_to_the_first_that_reaches_all_tokens(max_tokens: int, octaves: int) -> None:
    embedding = an_embedding(max_tokens)
    assert len(embedding.octaves) == octaves
    lengths = torch.arange(1, max_tokens + 1)
    assert embedding(lengths).shape == (max_tokens, 3)
    powers = 2 ** torch.arange(octaves)
    powers = powers[powers <= max_tokens]
    torch.testing.assert_close(embedding(powers), embedding.octaves[: len(powers)])


def test_between_powers_of_two_it_is_linear_in_the_octave() -> None:
    embedding = an_embedding(16)
    expected = torch.lerp(embedding.octaves[2], embedding.octaves[3], torch.log2(torch.tensor(6.0)) - 2)
    torch.testing.assert_close(embedding(torch.tensor([6]))[0], expected)


def test_it_says_nothing_before_it_is_trained() -> None:
    assert not LengthEmbedding(16, 3)(torch.arange(1, 17)).any()


def test_a_length_trains_its_two_neighbours() -> None:
    embedding = an_embedding(16)
    embedding(torch.tensor([3])).sum().backward()
    assert embedding.octaves.grad is not None
    assert embedding.octaves.grad.any(1).tolist() == [False, True, True, False, False]
