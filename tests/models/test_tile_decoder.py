"""Vectors as registers, mask tokens as patches, to a map."""

import pytest
import torch
from torch import Tensor

from vtok.models import tile_bands
from vtok.models.tile_decoder import TileDecoder, TileGrid
from vtok.models.tile_patches import TileLayout
from vtok.models.transformer import TransformerConfig

LAYOUT = TileLayout(channels=2, side=2, patch_size=3)
NUMBERS = 7  # of a tile; registers have 3, 3 and 1 of them


def a_decoder(*, corrects: bool = True, hides_tail: bool = False, neighbours: bool = True) -> TileDecoder:
    torch.manual_seed(0)
    sizes = TransformerConfig(dim=8, depth=2, heads=2)
    switches = {"corrects": corrects, "hides_tail": hides_tail, "neighbours": neighbours}
    decoder = TileDecoder(sizes, LAYOUT, 3, NUMBERS, max_tokens=4, **switches)
    torch.nn.init.normal_(decoder.length_in.octaves)
    return decoder.eval()


def randn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def a_grid(rows: int = 2, cols: int = 2, *, draft: bool = True, covered: int = NUMBERS, length: int = 4) -> TileGrid:
    """Numbers from `covered` on are those that no token speaks of."""
    seen = (torch.arange(NUMBERS) < covered).expand(1, rows, cols, -1)
    lengths = torch.full((1, rows, cols), length)
    return TileGrid(randn(1, rows, cols, NUMBERS), seen, lengths, randn(1, 2, 6 * rows, 6 * cols) if draft else None)


def with_numbers(grid: TileGrid, numbers: Tensor) -> TileGrid:
    return TileGrid(numbers, grid.covered, grid.lengths, grid.draft)


def test_a_head_of_zeros_leaves_the_draft() -> None:
    decoder, grid = a_decoder(), a_grid()
    for parameter in decoder.head.parameters():
        torch.nn.init.zeros_(parameter)
    assert grid.draft is not None
    assert torch.equal(decoder(grid)[0], grid.draft)


def test_the_draft_is_corrected() -> None:
    decoder, grid = a_decoder(), a_grid()
    other = TileGrid(grid.numbers, grid.covered, grid.lengths, randn(1, 2, 12, 12, seed=2))
    first, second = (decoder(own)[0] - own.draft for own in (grid, other))
    assert not torch.allclose(first, second, atol=1e-3)  # what is corrected depends on it


def test_without_drafts_the_map_is_the_decoders_own() -> None:
    decoder = a_decoder(corrects=False)
    assert decoder(a_grid(2, 3, draft=False))[0].shape == (1, 2, 12, 18)
    assert not any(name.startswith("draft_in") for name, _ in decoder.named_parameters())


def test_hidden_registers_are_those_of_which_no_token_speaks() -> None:
    decoder = a_decoder(hides_tail=True)
    grid = a_grid(covered=4)  # half of the second register, nothing of the third
    for numbers, is_seen in ((slice(6, 7), False), (slice(4, 6), True), (slice(0, 3), True)):
        changed = grid.numbers.clone()
        changed[..., numbers] += 1
        assert torch.equal(decoder(with_numbers(grid, changed))[0], decoder(grid)[0]) == (not is_seen)


def test_where_no_tail_is_hidden_all_registers_are_seen() -> None:
    decoder, grid = a_decoder(), a_grid(covered=0)
    changed = grid.numbers.clone()
    changed[..., 6] += 1
    assert not torch.allclose(decoder(with_numbers(grid, changed))[0], decoder(grid)[0], atol=1e-5)


def test_the_length_is_told() -> None:
    decoder = a_decoder()
    assert not torch.allclose(decoder(a_grid(length=4))[0], decoder(a_grid(length=2))[0], atol=1e-4)


@pytest.mark.parametrize("hides_tail", [True, False])
@pytest.mark.parametrize("neighbours", [True, False])
@pytest.mark.parametrize("draft", [True, False])
@torch.no_grad()
def test_a_large_grid_in_bands_is_the_whole(draft: bool, neighbours: bool, hides_tail: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = a_decoder(corrects=draft, hides_tail=hides_tail, neighbours=neighbours)
    lengths = torch.randint(1, 5, (1, 7, 2), generator=torch.Generator().manual_seed(3))
    plain = a_grid(7, 2, draft=draft)
    grid = TileGrid(plain.numbers, torch.arange(NUMBERS) < 2 * lengths[..., None], lengths, plain.draft)
    whole = decoder(grid)[0]
    for tiles in (2, 4, 6):
        monkeypatch.setattr(tile_bands, "TILES_AT_ONCE", tiles)
        torch.testing.assert_close(decoder(grid)[0], whole, rtol=0, atol=1e-5)


def test_features_are_of_all_tiles_in_training_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_bands, "TILES_AT_ONCE", 2)
    decoder = a_decoder().train()
    maps, features = decoder(a_grid(5, 2))
    assert maps.requires_grad
    assert {name: tuple(value.shape) for name, value in features.items()} == {"registers": (1, 5, 2, 1, 8), "patches": (1, 5, 2, 4, 8)}
    assert decoder.eval()(a_grid(5, 2))[1] == {}
