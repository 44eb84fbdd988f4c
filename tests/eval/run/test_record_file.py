"""Records as files: what is written reads back, and what is no record is refused."""

import json
import math

import pytest

from vtok.errors import DataError
from vtok.eval.run.record_file import read_records, to_bytes

ROW = {"tokens": 1, "bytes": 20.0, "bpp": 0.1, "metrics": {"psnr": {"value": 20.0}}}
RECORD = {"vtok_eval": 1, "subject": {"kind": "model", "name": "m"}, "rows": [ROW]}


def test_a_record_reads_back_with_infinite_figures(tmp_path):
    record = RECORD | {"rows": [ROW | {"metrics": {"psnr": {"value": math.inf}}}]}
    (tmp_path / "a.json").write_bytes(to_bytes(record))
    assert read_records(tmp_path / "a.json") == [record]


def test_several_records_are_a_list(tmp_path):
    (tmp_path / "a.json").write_bytes(to_bytes({"records": [RECORD, RECORD]}))
    assert read_records(tmp_path / "a.json") == [RECORD, RECORD]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[" * 100_000,
        "[]",
        '{"records": 5}',
        '{"records": []}',
        json.dumps(RECORD | {"vtok_eval": 2}),
        json.dumps(RECORD | {"rows": []}),
        json.dumps(RECORD | {"rows": [[]]}),
        json.dumps(RECORD | {"subject": "m"}),
        json.dumps(RECORD | {"rows": [ROW | {"bpp": "x"}]}),
        json.dumps(RECORD | {"rows": [ROW | {"metrics": {"psnr": 3}}]}),
        json.dumps(RECORD | {"pictures": {"keys": 3}}),
    ],
)
def test_what_is_no_record_is_refused_by_name(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=r"a\.json: no record of vtok eval"):
        read_records(tmp_path / "a.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.json: cannot be read"):
        read_records(tmp_path / "nothing.json")
