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
        assert cells[4].replace(",", "").isdigit()
        assert cells[5] == ("-" if row.rfid is None else f"{row.rfid:.2f}")
        assert cells[8].startswith(row.licence)


def test_the_terms_of_each_row_are_there() -> None:
    for row in TABLE.values():
        assert row.terms in PAGE


def test_figures_are_said_not_to_be_measured_here() -> None:
    assert "not measured here" in PAGE
    assert "3.91" in PAGE
