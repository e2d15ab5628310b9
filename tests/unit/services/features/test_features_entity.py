"""An entity has one canonical text, from a row of the lake and from a request alike."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.features.domain.entity import entity_expression, entity_text, scaled_integers
from services.features.domain.plan import EntityColumn
from tenon.core.errors import Invalid, Precondition
from tenon.core.specs import ColumnType

COLUMNS = (
    EntityColumn("name", ColumnType.STRING),
    EntityColumn("number", ColumnType.INTEGER),
    EntityColumn("flag", ColumnType.BOOLEAN),
    EntityColumn("day", ColumnType.DATE),
    EntityColumn("price", ColumnType.DECIMAL, 2),
)
DTYPES = {"name": pl.String(), "number": pl.Int64(), "flag": pl.Boolean(), "day": pl.Date(), "price": pl.Decimal(18, 2)}
NAMES = st.text(st.sampled_from("a|\\ é"), max_size=4)
ROWS = st.tuples(
    st.none() | NAMES,
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.booleans(),
    st.none() | st.dates(),
    st.none() | st.integers(-(10**17), 10**17).map(lambda cents: Decimal(cents) / 100),
)


def as_request(row: tuple) -> dict[str, str]:
    """A row's keys as a client writes them; a missing one is left out."""
    name, number, flag, day, price = row
    texts = {
        "name": name,
        "number": None if number is None else str(number),
        "flag": None if flag is None else str(flag).lower(),
        "day": None if day is None else day.isoformat(),
        "price": None if price is None else str(price),
    }
    return {key: text for key, text in texts.items() if text is not None}


@given(st.lists(ROWS, min_size=1, max_size=5), st.sets(st.integers(0, 4), min_size=1))
def test_the_lake_and_a_request_give_the_same_text(rows: list[tuple], chosen: set[int]) -> None:
    """For every type and combination of keys, offline and online text are the same, missing keys included."""
    columns = [COLUMNS[index] for index in sorted(chosen)]
    frame = pl.DataFrame([pl.Series(c.name, [row[i] for row in rows], DTYPES[c.name]) for i, c in enumerate(COLUMNS)])
    offline = frame.select(entity_expression(columns, frame.schema)).to_series().to_list()
    assert offline == [entity_text(columns, as_request(row), "rows.0") for row in rows]


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
def test_no_two_entities_share_a_text(first: tuple[str, str], second: tuple[str, str]) -> None:
    """Joined keys stay apart, whatever bars and backslashes are in them."""
    columns = [EntityColumn("a", ColumnType.STRING), EntityColumn("b", ColumnType.STRING)]
    texts = [entity_text(columns, dict(zip("ab", keys, strict=True)), "rows.0") for keys in (first, second)]
    assert (texts[0] == texts[1]) == (first == second)


@pytest.mark.parametrize(
    ("column", "text", "canonical"),
    [
        (COLUMNS[1], "+007", "7"), (COLUMNS[1], "-0", "0"), (COLUMNS[4], "1.5", "1.50"), (COLUMNS[4], "-0.05", "-0.05"),
        (COLUMNS[4], "3", "3.00"), (COLUMNS[0], " 7 ", " 7 "), (COLUMNS[0], "", ""),
    ],
)  # fmt: skip
def test_other_spellings_of_a_value(column: EntityColumn, text: str, canonical: str) -> None:
    """A number spelt differently is still the same entity; a string is taken as it is."""
    assert entity_text([column], {column.name: text}, "rows.0") == canonical


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (COLUMNS[1], "7.0"), (COLUMNS[1], "seven"), (COLUMNS[1], "١"), (COLUMNS[2], "True"), (COLUMNS[2], "1"),
        (COLUMNS[3], "01.02.2024"), (COLUMNS[3], "2024-13-01"), (COLUMNS[4], "1.005"), (COLUMNS[4], "1e3"),
        (COLUMNS[1], "9" * 50),
    ],
)  # fmt: skip
def test_a_key_of_the_wrong_type_is_refused(column: EntityColumn, text: str) -> None:
    """A key that is no value of its column names the place and not the value."""
    with pytest.raises(Invalid) as refused:
        entity_text([column], {column.name: text}, "rows.3")
    assert refused.value.place is not None
    assert refused.value.place.field == f"rows.3.keys.{column.name}"
    assert text not in refused.value.message.replace(column.name, "")


def test_scaled_integers() -> None:
    """Fixed point is read as its integers, at a larger scale too; floats are refused."""
    frame = pl.DataFrame(
        {"x": pl.Series([Decimal("-1.50"), Decimal("0.05"), None], dtype=pl.Decimal(18, 2)), "f": [0.5, 1.0, 2.0]}
    )
    assert frame.select(scaled_integers("x", 2, frame.schema["x"])).to_series().to_list() == [-150, 5, None]
    assert frame.select(scaled_integers("x", 3, frame.schema["x"])).to_series().to_list() == [-1500, 50, None]
    for name, scale in (("f", 2), ("x", 1)):
        with pytest.raises(Precondition):
            scaled_integers(name, scale, frame.schema[name])
