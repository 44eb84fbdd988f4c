"""Maps to what the registers of each tile say."""

import pytest
import torch
from torch import Tensor

from vtok.models import tile_bands
from vtok.models.tile_encoder import TileEncoder
from vtok.models.tile_patches import TileLayout
from vtok.models.transformer import TransformerConfig

LAYOUT = TileLayout(channels=2, side=2, patch_size=3)


def an_encoder(num_registers: int = 3, num_outputs: int = 7, *, neighbours: bool = True) -> TileEncoder:
    torch.manual_seed(0)
    sizes = TransformerConfig(dim=8, depth=2, heads=2)
    return TileEncoder(sizes, LAYOUT, num_registers, num_outputs, neighbours=neighbours).eval()


def maps(rows: int, cols: int) -> Tensor:
    return torch.randn(2, 2, 6 * rows, 6 * cols, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("num_registers", "num_outputs"), [(3, 7), (1, 5), (4, 2), (5, 5)])
def test_registers_share_out_the_numbers(num_registers: int, num_outputs: int) -> None:
    said = an_encoder(num_registers, num_outputs)(maps(2, 3))
    assert said.shape == (2, 2, 3, num_outputs)
    assert said.dtype == torch.float32


def test_the_numbers_are_float32_inside_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        said = an_encoder()(maps(1, 1))
    assert said.dtype == torch.float32
    torch.testing.assert_close(said, an_encoder()(maps(1, 1)), rtol=0, atol=0.1)


@pytest.mark.parametrize("neighbours", [True, False])
@torch.no_grad()
def test_a_large_map_in_bands_is_the_whole(neighbours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = an_encoder(neighbours=neighbours)
    whole = encoder(maps(7, 2))
    for tiles in (2, 4, 6):
        monkeypatch.setattr(tile_bands, "TILES_AT_ONCE", tiles)
        torch.testing.assert_close(encoder(maps(7, 2)), whole, rtol=0, atol=1e-5)


def test_a_head_of_zeros_says_nothing() -> None:
    encoder = an_encoder()
    torch.nn.init.zeros_(encoder.head)
    assert not encoder(maps(1, 2)).any()
