"""Codebook use on random tiles: which tiles are taken, and what is said of them."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import codebook_usage
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.spec import TokenSpec
from vtok.tokenizers.tiles import cut_tiles

TILE = 4


@dataclass
class FirstPixels:
    """Says of each tile what its first pixel is; three positions, one a channel."""

    spec: TokenSpec = field(default_factory=lambda: TokenSpec((256,), 3, (1, 2, 3), (TILE, TILE), (TILE, TILE)))
    sizes: list[tuple[int, ...]] = field(default_factory=list)

    def encode_grid(self, images):
        self.sizes.append(tuple(images.shape[2:]))
        first = cut_tiles(images, (TILE, TILE))[:, :, 0, 0]
        return Tokens.full((255 * first).round().long()[..., None], self.spec)


def picture(height, width, number=0):
    """Row, column and number as the three channels."""
    rows, cols = np.mgrid[:height, :width]
    return np.stack([rows, cols, np.full_like(rows, number)], 2).astype(np.uint8)


def places(tiles):
    return [tuple(ids[:2, 0].tolist()) for tokens in tiles for ids in tokens.ids]


def taken(sizes, num_tiles):
    """How many tiles each picture of these sizes gives."""
    pictures = [picture(*size, number) for number, size in enumerate(sizes)]
    statistics = codebook_usage.count(pictures, len(pictures), FirstPixels(), num_tiles, 0)
    found = statistics.counts(0, [2])
    by_number = dict(zip(found.ids.tolist(), found.counts.tolist(), strict=True))
    return [by_number.get(number, 0) for number in range(len(sizes))]


def test_each_place_is_taken_once_at_most():
    tiles = codebook_usage.random_tiles(picture(11, 14), FirstPixels(), 10**6, np.random.default_rng(0))
    assert sorted(places(tiles)) == [(row, col) for row in range(11 - TILE + 1) for col in range(14 - TILE + 1)]


def test_so_many_tiles_are_taken_as_are_wanted_and_others_by_another_seed():
    first, second = (
        places(codebook_usage.random_tiles(picture(40, 30), FirstPixels(), 75, np.random.default_rng(seed))) for seed in (0, 1)
    )
    assert len(first) == len(second) == 75
    assert set(first) != set(second)


def test_pictures_give_the_same_number_each():
    assert taken([(20, 20), (40, 12), (20, 20)], 100) == [33, 33, 34]


def test_a_small_picture_leaves_its_share_to_the_next():
    assert taken([(20, 20), (TILE, TILE), (TILE - 1, 90), (20, 20)], 80) == [20, 1, 0, 59]


def test_large_pictures_are_encoded_in_parts(monkeypatch):
    monkeypatch.setattr(codebook_usage, "LARGEST_SIDE", 3 * TILE)
    tokenizer = FirstPixels()
    found = places(codebook_usage.random_tiles(picture(6 * TILE, 90), tokenizer, 60, np.random.default_rng(0)))
    assert set(tokenizer.sizes) == {(3 * TILE, 3 * TILE)}
    assert len(set(found)) == 60
    assert max(col for _, col in found) > 5 * TILE


def test_what_is_counted_is_what_the_model_says():
    tokenizer, rng = LinearTokenizer.tiny(), np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(3)]
    statistics = codebook_usage.count(pictures, 3, tokenizer, 3, 0)
    ids = tokenizer.encode(torch.stack([torch.from_numpy(p).permute(2, 0, 1) / 255 for p in pictures])).ids
    for position in range(ids.shape[1]):
        found = statistics.counts(0, [position])
        assert [found.ids.tolist(), found.counts.tolist()] == [part.tolist() for part in ids[:, position, 0].unique(return_counts=True)]


def test_the_report_has_all_positions_with_their_minimum_and_mean(tmp_path, monkeypatch, capsys):
    LinearTokenizer.tiny().save_pretrained(tmp_path / "model")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for i in range(4):
        Image.fromarray(np.rot90(pixels, i)).save(tmp_path / f"{i}.png")
    options = ("--model", str(tmp_path / "model"), "--tiles", "30", "-o", str(tmp_path / "result.json"))
    monkeypatch.setattr("sys.argv", ["codebook_usage", str(tmp_path), *options])
    codebook_usage.main()
    capsys.readouterr()
    result = json.loads((tmp_path / "result.json").read_text())
    rows = result["positions"]
    assert (result["tiles"], result["codebook_sizes"], result["data"]["pictures"]) == (30, [16], 4)
    assert [(row["position"], row["codebook"]) for row in rows] == [(position, 1) for position in range(1, 9)]
    for name, most in (("usage", 1), ("entropy_bits", 4)):
        values = [row[name] for row in rows]
        assert 0 < result["min"][name] == min(values) <= most
        assert result["mean"][name] == pytest.approx(sum(values) / 8, abs=1e-5)
