"""Folders, tars, parquet tables and synthetic pictures as data sets."""

import io
import json
import logging
import os
import pickle
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtok.data import encode_png, open_source, readable, write_picture
from vtok.data.sources import Skipped, SyntheticSource, is_held_out
from vtok.errors import DataError, MissingExtraError, PictureError


def colour(number: int) -> np.ndarray:
    return np.full((4, 6, 3), (number, 255 - number, 7), np.uint8)


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def write_parquet(path: Path, columns: dict, *, metadata: dict | None = None, row_group_size: int = 3) -> None:
    pa = pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    from pyarrow import parquet

    table = pa.table(columns)
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": metadata}})})
    parquet.write_table(table, path, row_group_size=row_group_size)


def hugging_face_table(path: Path, num_rows: int = 7) -> None:
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    write_parquet(
        path,
        {
            "image": [{"bytes": encode_png(colour(i)), "path": f"{i}.png"} for i in range(num_rows)],
            "label": [i % 2 for i in range(num_rows)],
            "caption": [f"picture {i}" for i in range(num_rows)],
        },
        metadata={"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}},
    )


def outcome(path: Path) -> str:
    """The number of pictures that could be read, or the error."""
    try:
        source = open_source(path)
        return str(sum(source[i].pixels.ndim == 3 and len(source.key(i)) > 0 for i in range(len(source))))
    except (DataError, PictureError) as error:
        return str(error)


class TestFolder:
    def test_pictures_come_sorted_with_their_relative_path(self, tmp_path):
        for name, number in (("b/2.png", 2), ("a.png", 1), ("c.webp", 3)):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            write_picture(tmp_path / name, colour(number))
        (tmp_path / "notes.txt").write_text("no picture")
        source = open_source(tmp_path)
        assert [source.key(i) for i in range(len(source))] == ["a.png", "b/2.png", "c.webp"]
        assert [source[i].pixels[0, 0, 0] for i in range(3)] == [1, 2, 3]
        assert (source[0].label, source[0].caption, source.class_names) == (None, None, None)
        with pytest.raises(IndexError):
            source[3]

    def test_texts_beside_pictures_are_captions_where_they_are_asked_for(self, tmp_path):
        texts = {"a.png": "ein schöner Hund\n", "b.c.png": "\ufeffa cat", "d.png": None, "e/a.png": " "}
        for name, text in texts.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            write_picture(tmp_path / name, colour(1))
            if text is not None:
                (tmp_path / name).with_suffix(".txt").write_text(text, encoding="utf-8")
        source, without = open_source(tmp_path, captions=True), open_source(tmp_path)
        assert [source[i].caption for i in range(4)] == ["ein schöner Hund", "a cat", None, ""]
        assert [without[i].caption for i in range(4)] == [None] * 4
        assert (source.has_captions, without.has_captions) == (True, False)

    def test_a_folder_without_texts_has_no_captions(self, tmp_path):
        write_picture(tmp_path / "a.png", colour(1))
        (tmp_path / "notes.txt").write_text("about all of them")
        assert not open_source(tmp_path, captions=True).has_captions

    @pytest.mark.parametrize("spoil", [lambda file: file.write_bytes(b"\xff\xfe"), lambda file: file.mkdir()])
    def test_a_caption_that_cannot_be_read_is_named(self, tmp_path, spoil):
        write_picture(tmp_path / "a.png", colour(1))
        spoil(tmp_path / "a.txt")
        with pytest.raises(DataError, match=r"a\.txt: cannot be read as a caption in UTF-8"):
            open_source(tmp_path, captions=True)[0]
        assert open_source(tmp_path)[0].caption is None

    def test_one_file_and_a_pattern_are_data_sets_too(self, tmp_path):
        write_picture(tmp_path / "a.png", colour(1))
        write_picture(tmp_path / "b.jpg", colour(2))
        assert [open_source(tmp_path / "a.png").key(0)] == ["a.png"]
        assert [open_source(f"{tmp_path}/*.jpg").key(0)] == ["b.jpg"]

    def test_a_home_folder_is_expanded(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        write_picture(tmp_path / "a.png", colour(1))
        assert len(open_source("~")) == 1

    def test_a_broken_picture_raises_when_it_is_read(self, tmp_path):
        (tmp_path / "a.png").write_bytes(b"no picture")
        source = open_source(tmp_path)
        with pytest.raises(PictureError, match=r"a\.png"):
            source[0]


class TestOpening:
    def test_a_folder_without_pictures_names_what_was_looked_for(self, tmp_path):
        with pytest.raises(DataError, match=r"no picture found; looked for pictures .* tars .* parquet") as caught:
            open_source(tmp_path)
        assert str(tmp_path) in str(caught.value)

    @pytest.mark.parametrize("path", ["none", "http://host/x.tar", "pipe:cat x.tar"])
    def test_what_is_not_on_the_disk_is_not_there(self, path):
        with pytest.raises(DataError, match="no such file or folder"):
            open_source(path)

    def test_a_mixture_is_refused_unless_the_kind_is_said(self, tmp_path):
        write_picture(tmp_path / "a.png", colour(1))
        write_tar(tmp_path / "b.tar", {"x.png": encode_png(colour(2))})
        with pytest.raises(DataError, match=r"1 pictures .* 1 webdataset tars"):
            open_source(tmp_path)
        assert open_source(tmp_path, kind="folder")[0].pixels[0, 0, 0] == 1
        assert open_source(tmp_path, kind="tar")[0].pixels[0, 0, 0] == 2

    def test_the_split_goes_by_the_crc_of_the_file_name(self, tmp_path):
        for i in range(60):
            write_picture(tmp_path / f"{i}.png", colour(i))
        held_out = [i for i in range(60) if zlib.crc32(f"{i}.png".encode()) % 20 == 0]
        assert 0 < len(held_out) < 10
        parts = {split: open_source(tmp_path, split=split) for split in ("all", "train", "held_out")}
        keys = {split: {source.key(i) for i in range(len(source))} for split, source in parts.items()}
        assert keys["held_out"] == {f"{i}.png" for i in held_out}
        assert keys["train"] == keys["all"] - keys["held_out"]
        assert parts["held_out"][0].key == parts["held_out"].key(0)

    def test_a_picture_is_on_one_side_of_the_split_wherever_it_is_stored(self):
        assert is_held_out("deep/folder/19.png") == is_held_out("19.png") == is_held_out("shard-3/19.png")

    def test_an_empty_part_is_an_error(self, tmp_path):
        name = next(f"{i}.png" for i in range(100) if not is_held_out(f"{i}.png"))
        write_picture(tmp_path / name, colour(1))
        with pytest.raises(DataError, match="none of its 1 pictures belongs to the held-out part"):
            open_source(tmp_path, split="held_out")


class TestTar:
    def test_samples_are_grouped_up_to_the_first_dot(self, tmp_path):
        write_tar(
            tmp_path / "a.tar",
            {
                "dir/001.cls": b"12",
                "dir/001.jpg": encode_png(colour(1)),
                "002.png": encode_png(colour(2)),
                "002.txt": "ein schöner Hund\n".encode(),
                "dir/001.json": b'{"caption": "a cat", "label": 99}',
                "003.json": b'{"text": "a horse", "label": 5}',
                "003.left.PNG": encode_png(colour(3)),
                "004.txt": b"without a picture",
                ".hidden.png": b"",
            },
        )
        source = open_source(tmp_path / "a.tar")
        samples = [source[i] for i in range(len(source))]
        assert [s.key for s in samples] == ["a/dir/001.jpg", "a/002.png", "a/003.left.PNG"]
        assert [s.pixels[0, 0, 0] for s in samples] == [1, 2, 3]
        assert [s.label for s in samples] == [12, None, 5]
        assert [s.caption for s in samples] == ["a cat", "ein schöner Hund", "a horse"]
        assert source.has_captions

    def test_tars_of_a_folder_and_of_braces_are_read_at_random(self, tmp_path):
        for shard in range(3):
            write_tar(tmp_path / f"s-{shard:03d}.tar", {f"{i}.png": encode_png(colour(10 * shard + i)) for i in range(4)})
        for path, count in ((tmp_path, 12), (f"{tmp_path}/s-{{000..001}}.tar", 8), (f"{tmp_path}/s-*.tar", 12)):
            source = open_source(path)
            assert len(source) == count
            for index in (count - 1, 0, 5):
                assert source[index].pixels[0, 0, 0] == 10 * (index // 4) + index % 4

    def test_links_are_never_followed(self, tmp_path):
        write_picture(tmp_path / "secret.png", colour(9))
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            for name, kind in (("1.png", tarfile.SYMTYPE), ("2.png", tarfile.LNKTYPE), ("3.png", tarfile.FIFOTYPE)):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, str(tmp_path / "secret.png")
                archive.addfile(info)
        with pytest.raises(DataError, match="hold no picture"):
            open_source(tmp_path / "a.tar")

    def test_a_second_picture_of_one_sample_is_left_out_with_a_warning(self, tmp_path, caplog):
        write_tar(tmp_path / "a.tar", {"x.2024.png": encode_png(colour(1)), "x.2025.png": encode_png(colour(2))})
        with caplog.at_level(logging.WARNING):
            source = open_source(tmp_path / "a.tar")
        assert len(source) == 1
        assert not source.has_captions
        assert "1 pictures left out" in caplog.text

    def test_a_cut_a_compressed_and_a_false_tar_are_named(self, tmp_path, caplog):
        path = tmp_path / "a.tar"
        write_tar(path, {f"{i}.png": encode_png(colour(i)) + b"\0" * 3000 for i in range(3)})
        whole = path.read_bytes()
        for content in (whole[:5000], b"no tar at all" * 100, zlib.compress(whole), b""):
            path.write_bytes(content)
            with pytest.raises(DataError, match=r"a\.tar"):
                open_source(path)
        path.write_bytes(whole[: 3 * (512 + 3584)])
        with caplog.at_level(logging.WARNING):
            assert len(open_source(path)) == 3
        assert "may be cut short" in caplog.text

    @given(st.data())
    def test_damaged_tars_give_samples_or_one_of_our_errors(self, tmp_path_factory, data):
        path = tmp_path_factory.getbasetemp() / "damaged.tar"
        write_tar(path, {"1.png": encode_png(colour(1)), "1.cls": b"3", "1.json": b'{"caption": "x"}'})
        content = bytearray(path.read_bytes()[:5120])
        for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=5)):
            content[place] = value
        path.write_bytes(content)
        assert "\n" not in outcome(path)

    @pytest.mark.parametrize(("name", "content"), [("1.cls", b"cat"), ("1.json", b"{")])
    def test_a_senseless_label_is_named(self, tmp_path, name, content):
        write_tar(tmp_path / "a.tar", {"1.png": encode_png(colour(1)), name: content})
        with pytest.raises(DataError, match=f"a.tar:{name}"):
            open_source(tmp_path / "a.tar")[0]

    def test_a_broken_picture_is_named_with_its_tar(self, tmp_path):
        write_tar(tmp_path / "a.tar", {"1.png": b"no picture"})
        with pytest.raises(PictureError, match=r"a\.tar:1\.png"):
            open_source(tmp_path / "a.tar")[0]


class TestParquet:
    def test_the_hugging_face_layout_is_read_at_random(self, tmp_path):
        hugging_face_table(tmp_path / "train-00000.parquet")
        source = open_source(tmp_path)
        assert len(source) == 7
        for i in (6, 0, 3, 2):
            sample = source[i]
            assert sample.key == source.key(i) == f"train-00000/{i:08d}/{i}.png"
            assert np.array_equal(sample.pixels, colour(i))
            assert (sample.label, sample.caption) == (i % 2, f"picture {i}")
        assert source.class_names == ("cat", "dog")
        assert source.has_captions
        with pytest.raises(IndexError):
            source[7]

    def test_files_of_a_folder_follow_one_another(self, tmp_path):
        (tmp_path / "data").mkdir()
        hugging_face_table(tmp_path / "data" / "a.parquet", 4)
        hugging_face_table(tmp_path / "data" / "b.parquet", 2)
        source = open_source(tmp_path)
        assert [source.key(i) for i in (3, 4)] == ["data/a/00000003/3.png", "data/b/00000000/0.png"]
        assert source[4].pixels[0, 0, 0] == 0

    def test_plain_bytes_and_missing_columns_are_taken(self, tmp_path):
        write_parquet(tmp_path / "a.parquet", {"jpg": [encode_png(colour(i)) for i in range(4)], "text": [["one", "two"], [], None, None]})
        source = open_source(tmp_path / "a.parquet")
        samples = [source[i] for i in range(4)]
        assert [s.key for s in samples] == [f"a/{i:08d}" for i in range(4)]
        assert [s.caption for s in samples] == ["one", None, None, None]
        assert {s.label for s in samples} == {None}

    def test_the_split_goes_by_the_stored_file_name(self, tmp_path):
        hugging_face_table(tmp_path / "a.parquet", 60)
        source = open_source(tmp_path, split="held_out")
        expected = [i for i in range(60) if zlib.crc32(f"{i}.png".encode()) % 20 == 0]
        assert [int(source.key(i).split("/")[1]) for i in range(len(source))] == expected

    def test_few_row_groups_are_kept_in_memory(self, tmp_path):
        from vtok.data.sources import ParquetSource

        hugging_face_table(tmp_path / "a.parquet", 9)
        source = ParquetSource([tmp_path / "a.parquet"], root=tmp_path, name="a", cache_bytes=1)
        for i in (0, 4, 8, 0):
            assert source[i].pixels[0, 0, 0] == i
        assert len(source._cache) == 1

    def test_a_row_without_bytes_is_a_broken_picture_and_its_path_is_not_followed(self, tmp_path):
        write_picture(tmp_path / "x.png", colour(1))
        write_parquet(
            tmp_path / "a.parquet", {"image": [{"bytes": None, "path": str(tmp_path / "x.png")}, {"bytes": b"junk", "path": None}]}
        )
        source = open_source(tmp_path / "a.parquet")
        with pytest.raises(PictureError, match=r"row 0 .* holds no picture bytes, only a path"):
            source[0]
        with pytest.raises(PictureError, match="row 1: not a picture"):
            source[1]

    def test_a_table_without_pictures_and_a_damaged_one_are_named(self, tmp_path):
        write_parquet(tmp_path / "a.parquet", {"x": [1], "y": ["z"]})
        with pytest.raises(DataError, match=r"a\.parquet: no image column; .* found x, y"):
            open_source(tmp_path)
        (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing PAR1")
        with pytest.raises(DataError, match=r"a\.parquet: not a whole parquet file"):
            open_source(tmp_path)

    def test_a_path_that_is_no_text_is_ignored(self, tmp_path):
        write_parquet(tmp_path / "a.parquet", {"image": [{"bytes": encode_png(colour(1)), "path": b"0.png"}]})
        source = open_source(tmp_path)
        assert source[0].key == source.key(0) == "a/00000000"
        assert not source.has_captions

    @given(st.data())
    def test_damaged_tables_give_samples_or_one_of_our_errors(self, tmp_path_factory, data):
        path = tmp_path_factory.getbasetemp() / "damaged.parquet"
        if not path.with_suffix(".whole").exists():
            hugging_face_table(path.with_suffix(".whole"), 2)
        content = bytearray(path.with_suffix(".whole").read_bytes())
        for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=5)):
            content[place] = value
        path.write_bytes(content)
        assert "\n" not in outcome(path)

    def test_metadata_that_make_no_sense_are_ignored(self, tmp_path):
        write_parquet(
            tmp_path / "a.parquet", {"image": [encode_png(colour(1))], "label": [3]}, metadata={"image": 7, "label": {"names": 3}}
        )
        source = open_source(tmp_path)
        assert (source[0].label, source.class_names) == (3, None)

    def test_a_missing_pyarrow_is_named_with_the_install_line(self, tmp_path, monkeypatch):
        (tmp_path / "a.parquet").touch()
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(MissingExtraError, match=r'pip install "vtok\[train\]"'):
            open_source(tmp_path)

    def test_tiny_imagenet_is_read(self, shared):
        pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
        source = open_source(shared / "data" / "tinyimagenet" / "valid-00000-of-00001.parquet")
        assert len(source) == 2000
        assert len(source.class_names) == 200
        samples = list(readable(source, range(0, 2000, 40)))
        assert {s.pixels.shape for s in samples} == {(64, 64, 3)}
        assert source[0].key == "valid-00000-of-00001/00000000/val_2397.JPEG"
        assert source[0].label == 149


class TestSynthetic:
    @given(st.integers(0, 2**40), st.integers(0, 30), st.integers(1, 40), st.integers(1, 40))
    def test_a_picture_is_a_function_of_seed_and_index(self, seed, index, height, width):
        sample = SyntheticSource(31, (height, width), seed=seed)[index]
        again = SyntheticSource(index + 1, (height, width), seed=seed)[index]
        assert sample.pixels.shape == (height, width, 3)
        assert sample.pixels.dtype == np.uint8
        assert np.array_equal(sample.pixels, again.pixels)
        assert sample.label == index % 3

    def test_pictures_differ_by_seed_and_by_index_and_show_something(self):
        first, second = (open_source(".", kind="synthetic", seed=seed, num_synthetic=30, synthetic_size=(32, 48)) for seed in (0, 1))
        pictures = [source[i].pixels for source in (first, second) for i in range(30)]
        assert len({p.tobytes() for p in pictures}) == 60
        assert min(p.std() for p in pictures) > 1
        assert np.median([p.std() for p in pictures]) > 20

    def test_a_caption_says_what_is_drawn(self):
        source = open_source(".", kind="synthetic", split="train", num_synthetic=30)
        assert source.has_captions
        captions = {source[i].label: source[i].caption for i in range(len(source))}
        assert [name.removesuffix("s") in captions[label] for label, name in enumerate(source.class_names)] == [True] * 3

    def test_the_parts_of_a_synthetic_set_do_not_meet(self):
        parts = [open_source(".", kind="synthetic", split=split, num_synthetic=100) for split in ("train", "held_out")]
        assert len(parts[0]) + len(parts[1]) == 100
        assert len(parts[1]) > 0


class TestReadable:
    def folder(self, tmp_path: Path) -> Path:
        for i in range(5):
            write_picture(tmp_path / f"{i}.png", colour(i))
        (tmp_path / "1.png").write_bytes(b"broken")
        (tmp_path / "3.png").write_bytes(b"")
        return tmp_path

    def test_broken_pictures_are_skipped_recorded_and_logged_once(self, tmp_path, caplog):
        skipped = Skipped()
        with caplog.at_level(logging.WARNING):
            samples = list(readable(open_source(self.folder(tmp_path)), range(5), skipped=skipped))
        assert [s.key for s in samples] == ["0.png", "2.png", "4.png"]
        assert [key for key, _ in skipped.pictures] == ["1.png", "3.png"]
        assert "is empty" in skipped.pictures[1][1]
        assert len(caplog.records) == 1
        assert "2 pictures skipped" in caplog.text

    def test_nothing_is_logged_when_all_can_be_read(self, tmp_path, caplog):
        with caplog.at_level(logging.WARNING):
            assert len(list(readable(open_source(self.folder(tmp_path)), [0, 2]))) == 2
        assert caplog.records == []

    def test_no_readable_picture_at_all_is_an_error(self, tmp_path):
        with pytest.raises(DataError, match="no picture could be read; 2 pictures skipped"):
            list(readable(open_source(self.folder(tmp_path)), [1, 3]))


def test_every_source_goes_to_another_process(tmp_path):
    write_picture(tmp_path / "1.png", colour(1))
    write_tar(tmp_path / "t.tar", {"1.png": encode_png(colour(1))})
    hugging_face_table(tmp_path / "p.parquet")
    for kind in ("folder", "tar", "parquet", "synthetic"):
        source = open_source(tmp_path, kind=kind, split="train")
        before = source[0]
        assert np.array_equal(pickle.loads(pickle.dumps(source))[0].pixels, before.pixels)


def test_the_room_needs_neither_torch_nor_pyarrow_to_be_imported():
    import subprocess

    code = "import sys, vtok.data; assert not {'torch', 'pyarrow', 'pandas', 'datasets'} & set(sys.modules), 'too much was imported'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2], env={**os.environ, "PYTHONPATH": "."})
