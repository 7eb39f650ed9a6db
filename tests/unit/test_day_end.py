"""The end of a day's files, as a spreadsheet reads them."""

import csv
from pathlib import Path

import pytest

from node.cli import day_end
from node.client import Movement


@pytest.mark.parametrize("reference", ["=HYPERLINK(1)", "+1", "-1", "@x", "plain", ""])
def test_a_reference_of_another_member_is_no_formula(reference: str, tmp_path: Path) -> None:
    move = Movement(bytes(32), 1, 0, 1_000, "A/1", "CZK", 50, "", reference)
    books = day_end.balanced("CZK", [day_end.Row("A/1", 0, 0, 50, [move])])
    (statement,) = [
        path for path in day_end.write_books(books, tmp_path / "day", 2) if path.name == "A_1.csv"
    ]
    cells = [cell for line in csv.reader(statement.read_text().splitlines()) for cell in line]
    wanted = reference if reference in ("plain", "") else f"'{reference}"
    assert wanted in cells
    assert reference in ("plain", "") or reference not in cells
