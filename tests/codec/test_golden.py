"""Files whose bytes and contents are fixed for ever; `tests/data/golden/make.py` says how they were made."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.codec.slow_reader import read_slowly
from tests.codec.strategies import assert_equal
from vtok.codec import TokenFile
from vtok.tokenizers.spec import TokenSpec

FOLDER = Path(__file__).parent.parent / "data" / "golden"
NAMES = sorted(path.stem for path in FOLDER.glob("*.vtok"))
SPEC_PAGE = Path(__file__).parent.parent.parent / "vtok" / "codec" / "SPEC.md"


def expected(name):
    fields = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    lengths = np.array(fields["lengths"])
    spec = TokenSpec.from_json(fields["spec"])
    ids = np.zeros((len(lengths), lengths.max(), len(spec.codebook_sizes)), np.int64)
    for row, string in zip(ids, fields["ids"], strict=True):
        row[: len(string)] = string
    known = {name: fields[name] for name in ("whole", "caption", "cut")} | {"overlap": fields.get("overlap", 0)}
    return TokenFile(spec, bytes.fromhex(fields["digest"]), tuple(fields["size"]), lengths=lengths, ids=ids, **known), fields


def test_all_golden_files_are_there():
    assert len(NAMES) == 13


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_file_reads_as_written_down(name):
    file, fields = expected(name)
    found = TokenFile.from_bytes((FOLDER / f"{name}.vtok").read_bytes())
    assert_equal(found, file)
    assert found.cut == fields["cut"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_down_gives_the_golden_bytes(name):
    file, fields = expected(name)
    assert (file.to_bytes() == (FOLDER / f"{name}.vtok").read_bytes()) == fields["writes"]


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_written_from_the_specification_reads_golden_files(name):
    _, fields = expected(name)
    found = read_slowly((FOLDER / f"{name}.vtok").read_bytes())
    assert (found["lengths"], found["strings"], found["caption"]) == (fields["lengths"], fields["ids"], fields["caption"])
    assert found["overlap"] == fields.get("overlap", 0)


def test_the_golden_files_of_version_2_are_those_that_overlap():
    second = [name for name in NAMES if (FOLDER / f"{name}.vtok").read_bytes()[3] == 2]
    assert second == [name for name in NAMES if expected(name)[0].overlap] == ["overlapping", "overlapping_two_codebooks"]


def test_the_example_of_the_specification_is_true():
    block = SPEC_PAGE.read_text(encoding="utf-8").split("```")[1]
    data = bytes.fromhex("".join(line[:16] for line in block.strip().splitlines()))
    strings = [[1], [2, 3, 4], [5], [6], [7], [8, 9, 10, 11, 12, 13]]
    ids = np.array([string + [0] * (6 - len(string)) for string in strings])[..., None]
    spec = TokenSpec((16,), 8, tuple(range(1, 9)), (32, 32), (32, 32))
    file = TokenFile(spec, bytes.fromhex("0a0b0c0d"), (40, 70), False, np.array([len(s) for s in strings]), ids)
    assert file.to_bytes() == data
    assert_equal(TokenFile.from_bytes(data), file)
