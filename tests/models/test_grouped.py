"""One vector in many small tables: greedy search, lookup of prefixes, errors of prefixes."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vtok.models.quantizers.grouped import GroupedQuantizer


def filled(dim: int, components: list[list[int]], codebook_size: int, seed: int = 0) -> GroupedQuantizer:
    """A quantizer whose position k codes `components[k]`, with random tables."""
    quantizer = GroupedQuantizer(dim, [len(own) for own in components], codebook_size)
    quantizer.components = torch.tensor([i for own in components for i in own], dtype=torch.int16)
    generator = torch.Generator().manual_seed(seed)
    quantizer.fill([torch.randn(codebook_size, len(own), generator=generator) for own in components])
    return quantizer


def vectors(count: int, dim: int, seed: int = 1) -> Tensor:
    return torch.randn(count, 1, dim, generator=torch.Generator().manual_seed(seed))


@st.composite
def quantizers(draw: st.DrawFn) -> GroupedQuantizer:
    """Up to 6 positions, each of distinct components, which other positions may code again."""
    dim = draw(st.integers(1, 7))
    own = st.lists(st.integers(0, dim - 1), min_size=1, max_size=dim, unique=True)
    return filled(dim, draw(st.lists(own, min_size=1, max_size=6)), draw(st.integers(2, 9)), draw(st.integers(0, 99)))


def test_where_no_component_returns_the_search_is_exact() -> None:
    quantizer = filled(4, [[2], [0, 3], [1]], 5)
    z = vectors(20, 4)
    strings = torch.tensor(list(product(range(5), repeat=3)))[..., None]  # all 125
    every = quantizer.lookup(strings)[:, 0]
    best = torch.cdist(z[:, 0], every).argmin(1)
    assert torch.equal(quantizer.search(z)[0], strings[best])


@given(quantizer=quantizers(), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_each_position_takes_the_best_row_for_what_is_left(quantizer: GroupedQuantizer, seed: int) -> None:
    z = vectors(9, quantizer.dim, seed)
    ids, _ = quantizer.search(z)
    for k in range(ids.shape[1]):
        tried = ids[:, : k + 1].clone()
        left = []
        for code in range(quantizer.codebook_sizes[0]):
            tried[:, k] = code
            left.append((z - quantizer.lookup(tried)).square().sum((1, 2)))
        chosen = torch.stack(left, 1).gather(1, ids[:, k])
        torch.testing.assert_close(chosen[:, 0], torch.stack(left, 1).min(1).values, rtol=1e-4, atol=1e-4)


@given(quantizer=quantizers(), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_errors_are_those_of_the_looked_up_prefixes(quantizer: GroupedQuantizer, seed: int) -> None:
    z = vectors(9, quantizer.dim, seed)
    ids, errors = quantizer.search(z)
    assert errors.shape == (9, 1 + ids.shape[1])
    for n in range(ids.shape[1] + 1):
        left = z - quantizer.lookup(ids, torch.full((9,), n))
        torch.testing.assert_close(errors[:, n], left.square().sum((1, 2)), rtol=1e-4, atol=1e-4)


def test_errors_are_never_negative() -> None:
    quantizer = filled(64, [list(range(k, k + 8)) for k in range(0, 64, 8)], 256)
    ids = torch.randint(256, (100, 8, 1), generator=torch.Generator().manual_seed(0))
    found, errors = quantizer.search(quantizer.lookup(ids))  # all met exactly
    assert torch.equal(found, ids)
    assert float(errors.min()) >= 0


@given(quantizer=quantizers(), data=st.data())
@settings(deadline=None, max_examples=50)
def test_a_lookup_with_lengths_is_that_of_the_cut_string(quantizer: GroupedQuantizer, data: st.DataObject) -> None:
    positions = len(quantizer.widths)
    ids = torch.randint(quantizer.codebook_sizes[0], (4, positions, 1), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor(data.draw(st.lists(st.integers(0, positions), min_size=4, max_size=4)))
    found = quantizer.lookup(ids, lengths)
    for row, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[row : row + 1], quantizer.lookup(ids[row : row + 1, :n]))


def test_a_lookup_adds_rows_to_their_components() -> None:
    quantizer = filled(3, [[2, 0], [0]], 2)
    quantizer.fill([torch.tensor([[1.0, 127.0], [127.0, 2.0]]), torch.tensor([[254.0], [-20.0]])])
    found = quantizer.lookup(torch.tensor([[[0], [0]], [[1], [0]], [[1], [1]]]))
    torch.testing.assert_close(found, torch.tensor([[[381.0, 0.0, 1.0]], [[256.0, 0.0, 127.0]], [[-18.0, 0.0, 127.0]]]))


def test_a_component_coded_again_is_refined() -> None:
    quantizer = filled(1, [[0], [0]], 2)
    quantizer.fill([torch.tensor([[-127.0], [127.0]]), torch.tensor([[-63.5], [63.5]])])
    ids, errors = quantizer.search(127 * torch.tensor([[[1.5]], [[0.75]], [[-0.5]]]))
    assert ids[..., 0].tolist() == [[1, 1], [1, 0], [0, 1]]
    torch.testing.assert_close(errors / 127**2, torch.tensor([[2.25, 0.25, 0.0], [0.5625, 0.0625, 0.0625], [0.25, 0.25, 0.0]]))


def test_parts_of_a_batch_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    quantizer = GroupedQuantizer.tiny()
    z = vectors(100, quantizer.dim)
    ids, errors = quantizer.search(z)
    monkeypatch.setattr("vtok.models.quantizers.nearest.SCORES_AT_ONCE", 1)
    parts, part_errors = quantizer.search(z)
    assert torch.equal(parts, ids)
    torch.testing.assert_close(part_errors, errors)


def test_the_gradient_goes_straight_through() -> None:
    quantizer = GroupedQuantizer.tiny()
    z = vectors(3, quantizer.dim).requires_grad_()
    weights = vectors(3, quantizer.dim, seed=2)
    quantized = quantizer(z)
    (quantized.vectors * weights).sum().backward()
    assert z.grad is not None
    assert torch.equal(z.grad, weights)
    torch.testing.assert_close(quantized.vectors.detach(), quantizer.lookup(quantized.ids))


def test_autocast_changes_nothing() -> None:
    quantizer = GroupedQuantizer.tiny()
    z = vectors(50, quantizer.dim)
    with torch.autocast("cpu", torch.bfloat16):
        quantized = quantizer(z)
    assert torch.equal(quantized.ids, quantizer(z).ids)
    assert torch.equal(quantized.vectors, quantizer(z).vectors)


def test_only_one_vector_a_string_is_taken() -> None:
    quantizer = GroupedQuantizer.tiny()
    assert quantizer.num_positions(1) == 6
    with pytest.raises(ValueError, match="one vector a string, got 2"):
        quantizer.num_positions(2)


def test_tables_are_stored_as_bytes_one_after_another() -> None:
    state = GroupedQuantizer(8, (1, 2, 4), 16).state_dict()
    assert {name: (value.dtype, tuple(value.shape)) for name, value in state.items()} == {
        "components": (torch.int16, (7,)),
        "tables": (torch.int8, (16 * 7,)),
        "scales": (torch.float32, (7,)),
    }


def test_bytes_are_within_half_a_step_of_the_tables_given() -> None:
    table = torch.randn(16, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-4, 1.0, 1e4])
    quantizer = filled(3, [[0, 1, 2]], 16)
    quantizer.fill([table])
    rows = quantizer.lookup(torch.arange(16).view(16, 1, 1))[:, 0]
    assert bool(((rows - table).abs() <= table.abs().amax(0) / 127 * 0.501).all())


def test_tables_taken_again_are_the_same_bytes() -> None:
    quantizer = filled(3, [[0, 1, 2]], 16)
    before = quantizer.tables.clone()
    quantizer.fill([quantizer.lookup(torch.arange(16).view(16, 1, 1))[:, 0]])
    assert torch.equal(quantizer.tables, before)


def test_a_table_of_zeros_stays_zero() -> None:
    quantizer = filled(2, [[0, 1]], 4)
    quantizer.fill([torch.zeros(4, 2)])
    assert quantizer.lookup(torch.tensor([[[3]]])).tolist() == [[[0.0, 0.0]]]
