"""Stores of chunks: whole or not there, and never another store's."""

import pytest
import torch

from vtok.errors import DataError
from vtok.eval.run.chunks import Chunk, ChunkStore


def test_a_chunk_comes_back_as_it_was_written(tmp_path):
    store = ChunkStore(tmp_path, {"model": "a"})
    values = torch.arange(6, dtype=torch.float64).view(2, 3)
    assert not store.has(32)
    store.write(32, Chunk({"values": values, "index": torch.tensor([32, 33])}, {"keys": ["a", "ü"]}))
    assert store.has(32)
    assert store.info(32) == {"keys": ["a", "ü"]}
    assert torch.equal(store.read(32, ("values",)).tensors["values"], values)


def test_another_run_of_the_same_settings_finds_it_and_one_of_others_does_not(tmp_path):
    ChunkStore(tmp_path, {"model": "a", "size": 64}).write(0, Chunk({}, {"keys": []}))
    assert ChunkStore(tmp_path, {"size": 64, "model": "a"}).has(0)
    assert not ChunkStore(tmp_path, {"size": 65, "model": "a"}).has(0)


@pytest.mark.parametrize("damage", [b"", b"{}", None])
def test_a_damaged_chunk_is_named(tmp_path, damage):
    store = ChunkStore(tmp_path, {})
    store.write(0, Chunk({"values": torch.ones(4)}, {}))
    (file,) = tmp_path.rglob("chunk-*")
    file.write_bytes(file.read_bytes()[:20] if damage is None else damage)
    with pytest.raises(DataError, match=r"chunk-00000000\.safetensors: not a whole chunk"):
        store.read(0, ("values",))


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    store = ChunkStore(tmp_path, {})
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.write(0, Chunk({"values": torch.ones(4)}, {}))
    assert not store.has(0)
    assert not list(tmp_path.rglob("chunk-*"))
