"""YAML documents: every mistake is shown where it stands."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenon.core.documents import excerpt, parse_documents
from tenon.core.errors import Invalid, Place

DATASET = """\
kind: Dataset
name: flights
primaryKey: [flight_id]
eventTime: departure
columns:
  flight_id: {type: string}
  departure: {type: timestamp}
  landed_at: {type: timestamp, nullable: true}
  delay: {type: integer, nullable: true, knownAt: landed_at}
"""


def refused(text: str) -> Invalid:
    with pytest.raises(Invalid) as caught:
        parse_documents(text, "a.yaml")
    return caught.value


def test_a_good_document_is_read() -> None:
    """Kind, name and parts arrive, and each part knows its place."""
    (document,) = parse_documents(DATASET, "a.yaml")
    assert (document.kind, document.spec.name) == ("Dataset", "flights")
    assert document.place(["columns", "delay", "knownAt"]) == Place("a.yaml", 9, 42, "columns.delay.knownAt")


MISTAKES = [
    # what is replaced, by what, line, column, a word of the message, a word of the hint
    ("primaryKey", "primarykey", 3, 1, "primarykey", "primaryKey"),
    ("kind: Dataset", "kind: Datset", 1, 1, "Datset", "Dataset"),
    ("kind: Dataset", "knd: Dataset", 1, 1, "knd", "kind"),
    ("type: string}", "type: strin}", 6, 15, "strin", "string"),
    ("type: string}", "typ: string}", 6, 15, "typ", "type"),
    ("eventTime: departure", "eventTime: departur", 4, 1, "departur", None),
    ("[flight_id]", "[flightid]", 3, 1, "flightid", None),
    ("knownAt: landed_at", "knownAt: landed", 9, 42, "landed", None),
    ("{type: timestamp}", "{type: string}", 4, 1, "timestamp", None),
    ("name: flights", "name: Flights!", 2, 1, "Flights!", None),
    ("columns:", "columns:\n\tx: 1", 6, 1, "not valid YAML", "spaces"),
    ("columns:", "name: again\ncolumns:", 5, 1, "twice", None),
    ("delay: {type: integer,", "delay: {type: decimal,", 9, 3, "scale", None),
    ("delay: {type: integer,", "delay: {type: string, min: 3,", 9, 3, "min", None),
]


@pytest.mark.parametrize(("old", "new", "line", "column", "word", "hint"), MISTAKES)
def test_a_mistake_is_shown_at_its_place(
    old: str, new: str, line: int, column: int, word: str, hint: str | None
) -> None:
    """Line and column point at the key or value that is wrong, the message names it, the hint names the way out."""
    error = refused(DATASET.replace(old, new))
    assert error.place is not None
    assert (error.place.line, error.place.column) == (line, column), error.message
    assert word in error.message
    if hint:
        assert hint in (error.hint or "")


def test_words_that_other_yaml_readers_turn_into_booleans_stay_words() -> None:
    """`no` is Norway, not false; dates stay text."""
    (document,) = parse_documents("kind: Tenant\nname: x\ndisplayName: no\ndescription: 2024-01-01", "a.yaml")
    assert document.spec.display_name == "no"  # type: ignore[attr-defined]
    assert document.spec.description == "2024-01-01"


def test_the_caret_stands_under_the_column() -> None:
    """The excerpt shows the line and points at it."""
    lines = list(excerpt("one\ntwo three", Place("f", 2, 5)))
    assert lines == ["2 | two three", "  |     ^"]


@given(st.text(max_size=300))
def test_no_text_makes_it_stumble(text: str) -> None:
    """Any text is either read or refused with our error."""
    with contextlib.suppress(Invalid):
        parse_documents(text, "x.yaml")


@pytest.mark.parametrize("text", ["{0}---\n", "---\n{0}---\n---\n{1}...\n", "{0}---\n# nothing yet\n---\n{1}"])
def test_nothing_between_two_separators_is_no_document(text: str) -> None:
    """As tools that join files leave them: an empty part is passed over."""
    kinds = ["kind: Tenant\nname: a\n", "kind: Tenant\nname: b\n"]
    documents = parse_documents(text.format(*kinds), "f.yaml")
    assert [document.spec.name for document in documents] == (["a", "b"] if "{1}" in text else ["a"])
