"""How the tiles of a map are made of patches."""

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor


@dataclass(frozen=True)
class TileLayout:
    """A tile is a square of side * side patches, a patch a square of patch_size * patch_size cells of `channels` numbers."""

    channels: int
    side: int
    patch_size: int

    @property
    def num_patches(self) -> int:
        return self.side**2

    @property
    def patch_dim(self) -> int:
        return self.channels * self.patch_size**2

    @property
    def tile(self) -> int:
        """Side of a tile in cells."""
        return self.side * self.patch_size

    def cut(self, maps: Tensor) -> Tensor:
        """A map (B, C, rows * side * p, cols * side * p) to patches (B, rows, cols, num_patches, patch_dim), p = patch_size."""
        sizes = {"y": self.side, "x": self.side, "p": self.patch_size, "q": self.patch_size}
        return rearrange(maps, "b c (rows y p) (cols x q) -> b rows cols (y x) (c p q)", **sizes)

    def stitch(self, patches: Tensor) -> Tensor:
        """The inverse of `cut`."""
        sizes = {"y": self.side, "p": self.patch_size, "q": self.patch_size}
        return rearrange(patches, "b rows cols (y x) (c p q) -> b c (rows y p) (cols x q)", **sizes)
