"""Tables on a terminal: as wide as it is, and nothing of a cell is lost."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from tenon.cli import width

_CELL = st.text("ab-._/ 1", max_size=30)


@given(st.lists(st.tuples(_CELL, _CELL, st.integers(0, 99_999).map(str)), min_size=1, max_size=6), st.integers(1, 70))
def test_a_table_fits_and_keeps_its_words(rows: list[tuple[str, str, str]], room: int) -> None:
    """No part is wider than its column, numbers keep theirs, all letters come back in order, and it fits where pieces allow it."""
    widths = width.widths_for(rows, room, fixed=[2])
    free = width.widths_for(rows, None)
    assert widths[2] == free[2]
    assert all(narrow <= wide for narrow, wide in zip(widths, free, strict=True))
    if room >= sum(free) + 2 * width.GAP:
        assert widths == free
    for row in rows:
        lines = list(width.in_lines(row, widths))
        for place, cell in enumerate(row):
            parts = [line[place] for line in lines]
            assert "".join(parts).replace(" ", "") == cell.replace(" ", "")
            assert all(len(part) <= max(widths[place], 0) for part in parts)


def test_numbers_and_times_are_not_broken() -> None:
    """A name breaks behind its dots; a date, a decimal and a version stay whole."""
    rows = [["what"], ["patient_history.bill_amount rose 0.34 on 2026-11-21 at v1.2"]]
    widths = width.widths_for(rows, 14)
    parts = [line[0] for line in width.in_lines(rows[1], widths)]
    assert "2026-11-21 at" in parts
    assert any("0.34" in part for part in parts)
    assert parts[0] == "patient_"


def test_the_examples() -> None:
    """Those in the docstrings hold."""
    assert doctest.testmod(width).failed == 0
