"""The log of a run."""

import json

from vtok.train.engine.log_file import append, cut, read


def test_lines_are_appended(tmp_path):
    for step in (1, 2):
        append(tmp_path / "log.jsonl", {"step": step, "loss": {"a": 0.5}})
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == read(tmp_path / "log.jsonl")
    assert [entry["step"] for entry in read(tmp_path / "log.jsonl")] == [1, 2]


def test_what_came_later_is_cut_with_half_a_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 2, "validation": {}}\n{"step": 3}\n{"st')
    cut(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 2, "validation": {}}\n'


def test_numbers_come_back_exactly(tmp_path):
    path = tmp_path / "log.jsonl"
    append(path, {"step": 1, "loss": {"a": 0.1 + 0.2}})
    before = path.read_bytes()
    cut(path, 5)
    assert path.read_bytes() == before


def test_no_log_is_an_empty_one(tmp_path):
    cut(tmp_path / "log.jsonl", 3)
    assert read(tmp_path / "log.jsonl") == []
