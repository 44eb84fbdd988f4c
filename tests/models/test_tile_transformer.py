"""Attention within tiles, convolution across them, rows in a stream."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from vtok.models.tile_transformer import TileBlock, TileTransformer
from vtok.models.transformer import TransformerConfig

SIDE, REGISTERS, DIM = 3, 2, 8
both_kinds = pytest.mark.parametrize("neighbours", [True, False])


def a_transformer(depth: int, *, neighbours: bool = True) -> TileTransformer:
    torch.manual_seed(0)
    return TileTransformer(TransformerConfig(dim=DIM, depth=depth, heads=2), SIDE, neighbours).eval()


def tokens(rows: int, cols: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, rows, cols, REGISTERS + SIDE**2, DIM, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def moved(transformer: TileTransformer, x: Tensor, tile: tuple[int, int], token: int) -> Tensor:
    """(rows, cols, tokens) bool: which outputs change with one token of one tile."""
    changed = x.clone()
    changed[0, tile[0], tile[1], token] += torch.randn(DIM, generator=torch.Generator().manual_seed(2))
    return (transformer(changed)[0] != transformer(x)[0]).any(-1)[0]


def test_a_block_sees_one_patch_into_the_tiles_around() -> None:
    seen = moved(a_transformer(1), tokens(5, 5), (2, 2), REGISTERS + 4)  # the patch in the middle of the tile in the middle
    assert bool(seen[2, 2].all())
    patches = seen[..., REGISTERS:].unflatten(2, (SIDE, SIDE))
    assert patches[1, 2].tolist() == [[False] * 3, [False] * 3, [True] * 3]
    assert patches[2, 3].tolist() == [[True, False, False]] * 3
    assert patches[3, 3].tolist() == [[True, False, False], [False] * 3, [False] * 3]
    registers = seen[..., :REGISTERS].any(2)
    assert registers.nonzero().tolist() == [[2, 2]]
    far = torch.ones(5, 5, dtype=torch.bool)
    far[1:4, 1:4] = False
    assert not bool(seen[far].any())


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_sight_grows_by_a_tile_with_each_block(depth: int) -> None:
    seen = moved(a_transformer(depth), tokens(5, 5), (0, 0), REGISTERS)
    rows, cols = (torch.arange(5)[:, None], torch.arange(5)[None])
    within = torch.maximum(rows, cols)
    assert torch.equal(seen.any(2), within <= depth)
    assert torch.equal(seen[..., :REGISTERS].any(2), within < depth)  # what a convolution finds, registers hear of a block later


def test_without_neighbours_a_tile_sees_itself_alone() -> None:
    transformer = a_transformer(3, neighbours=False)
    x = tokens(2, 3)
    assert moved(transformer, x, (1, 1), 0).any(2).nonzero().tolist() == [[1, 1]]
    torch.testing.assert_close(transformer(x)[0][:, 1:, 1:2], transformer(x[:, 1:, 1:2])[0], rtol=0, atol=1e-6)


def test_tokens_behind_the_mask_have_no_influence() -> None:
    transformer = a_transformer(3)
    x = tokens(2, 2)
    mask = torch.ones(x.shape[:4], dtype=torch.bool)
    mask[0, 0, 1, 1] = False
    changed = x.clone()
    changed[0, 0, 1, 1] = 7 * torch.randn(DIM)
    out, other = transformer(x, mask)[0], transformer(changed, mask)[0]
    assert torch.equal(out[mask], other[mask])
    assert not torch.allclose(out[mask], transformer(x)[0][mask], atol=1e-4)


@both_kinds
@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("heights", [(7,), (1,) * 7, (3, 4), (1, 5, 1), (2, 2, 3), (6, 1)])
@torch.no_grad()
def test_a_streamed_grid_is_the_whole(neighbours: bool, depth: int, heights: Sequence[int]) -> None:
    transformer = a_transformer(depth, neighbours=neighbours)
    x = tokens(7, 2, batch=2)
    mask = torch.rand(x.shape[:4], generator=torch.Generator().manual_seed(3)) < 0.7
    mask[..., REGISTERS:] = True
    for seen in (None, mask):
        streamed = torch.cat(list(transformer.stream(iter(x.split(tuple(heights), 1)), seen)), 1)
        torch.testing.assert_close(streamed, transformer(x, seen)[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_stream_of_one_row_is_that_row() -> None:
    transformer = a_transformer(2)
    x = tokens(1, 3)
    torch.testing.assert_close(torch.cat(list(transformer.stream([x])), 1), transformer(x)[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_stream_reads_no_further_than_it_must() -> None:
    read = []

    def rows() -> Iterator[Tensor]:
        for number, row in enumerate(tokens(20, 1).split(1, 1)):
            read.append(number)
            yield row

    next(a_transformer(3).stream(rows()))
    assert read == [0, 1, 2, 3]


def test_each_part_of_a_block_is_added_to_what_came_in() -> None:
    transformer = a_transformer(1)
    for block in transformer.blocks:
        assert isinstance(block, TileBlock)
        for last in (block.attention_out, block.conv, block.mlp[2]):
            for parameter in last.parameters():
                torch.nn.init.zeros_(parameter)
    x = tokens(2, 2)
    assert torch.equal(transformer(x)[1], x)


def test_the_first_blocks_output_comes_beside_the_last() -> None:
    one, three = a_transformer(1), a_transformer(3)
    three.blocks[0].load_state_dict(one.blocks[0].state_dict())
    x = tokens(2, 2)
    out, first = one(x)
    assert torch.equal(one.norm(first), out)
    assert torch.equal(three(x)[1], first)


def test_computing_blocks_again_gives_the_same_gradients() -> None:
    x = tokens(2, 2)
    found = []
    for checkpointing in (False, True):
        transformer = a_transformer(2)
        transformer.checkpointing = checkpointing
        transformer(x)[0].square().sum().backward()
        found.append([parameter.grad for parameter in transformer.parameters()])
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("sizes", [{"dim": 8, "heads": 3}, {"dim": 0}, {"depth": -1}, {"depth": 129}, {"width": 3}])
def test_sizes_that_make_no_transformer_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        TransformerConfig.model_validate(sizes)
