"""The page of models says what the table says."""

from vtok.weights.page import models_page
from vtok.weights.table import TABLE

PAGE = models_page()


def test_each_row_has_a_line_with_its_figures() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(rows) == len(TABLE)
    for line, row in zip(rows, TABLE.values(), strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[:2] == [f"`{row.name}`", row.family]
        values, figure, licence = (3, 4, 7) if row.tokenizer else (4, 5, 8)
        shown = row.gfid if row.tokenizer else row.rfid
        assert cells[values].replace(",", "").isdigit()
        assert cells[figure] == ("-" if shown is None else f"{shown:.2f}")
        assert cells[licence].startswith(row.licence)
        assert row.tokenizer is None or cells[2] == f"`{row.tokenizer}`"


def test_the_terms_of_each_row_are_there() -> None:
    for row in TABLE.values():
        assert row.terms in PAGE


def test_figures_are_said_not_to_be_measured_here() -> None:
    assert "not measured here" in PAGE
    assert "3.91" in PAGE
