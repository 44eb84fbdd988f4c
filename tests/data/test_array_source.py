"""Pictures in .npz files."""

import io
import zipfile

import numpy as np
import pytest

from vtok.data.sources import open_source
from vtok.errors import DataError

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 8, 12, 3), np.uint8)


def test_pictures_and_keys(tmp_path):
    np.savez(tmp_path / "a.npz", PICTURES[:2])
    np.savez_compressed(tmp_path / "b.npz", arr_0=PICTURES[2:], arr_1=np.arange(3))
    source = open_source(tmp_path)
    assert [source.key(i) for i in range(5)] == ["a/00000000", "a/00000001", "b/00000000", "b/00000001", "b/00000002"]
    assert np.array_equal(np.stack([source[i].pixels for i in range(5)]), PICTURES)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": np.zeros(3)}, "no array arr_0"),
        ({"arr_0": np.zeros((2, 8, 8, 3))}, "float64"),
        ({"arr_0": np.zeros((2, 3, 8, 8), np.uint8)}, r"\(2, 3, 8, 8\)"),
    ],
)
def test_other_arrays_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        open_source(tmp_path / "a.npz")


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"a\.npz"):
        open_source(tmp_path)


def test_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", arr_0=np.array([{}, {}], dtype=object))
    with pytest.raises(DataError):
        open_source(tmp_path / "a.npz")


@pytest.mark.parametrize("count", [10**9, 10**18])
def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path, count):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (count, 64, 64, 3)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("arr_0.npy", header.getvalue() + bytes(100))
    with pytest.raises(DataError, match="does not hold them"):
        open_source(tmp_path / "a.npz")
