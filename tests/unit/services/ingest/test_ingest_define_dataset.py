"""Contracts: revisions, what is refused, and what may change once there are rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.ingest.domain.model import BatchState, Change
from services.ingest.domain.receive_file import check_file_name
from services.ingest.storage.queue import SqlLoadQueue
from tenon.core.errors import Invalid, NotFound, Precondition
from tenon.core.tenancy import TenantId
from tests.support.ingest_world import ACME, World, csv_of, visits


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Ingest without any contract."""
    return World(tmp_path)


def changed(column: str, **more: Any) -> dict[str, Any]:
    """The document of visits with one column changed."""
    document = visits()
    document["columns"][column] = document["columns"][column] | more
    return document


def test_applying_makes_a_revision_only_when_something_changes(world: World) -> None:
    """Equal documents are unchanged; a dry run says what would happen and changes nothing."""
    assert world.define.apply(ACME, "visits", visits(), dry_run=True)[0] is Change.CREATED
    with pytest.raises(NotFound):
        world.datasets.get(ACME, "visits")
    assert [(change, item.revision) for change, item in (world.apply(), world.apply())] == [
        (Change.CREATED, 1),
        (Change.UNCHANGED, 1),
    ]
    change, item = world.apply(visits(description="new"))
    assert (change, item.revision) == (Change.UPDATED, 2)
    assert world.datasets.get(ACME, "visits", 1).spec.description == ""


def test_unknown_tenants_and_other_tenants_have_no_data_sets(world: World) -> None:
    """A contract is refused for a tenant that does not exist, and is seen by its own tenant only."""
    with pytest.raises(NotFound, match="there is no tenant 'nobody'"):
        world.define.apply(TenantId("nobody"), "visits", visits())
    world.apply()
    assert world.datasets.list(TenantId("globex")) == []
    with pytest.raises(NotFound, match="tenant 'globex' has no dataset 'visits'"):
        world.datasets.get(TenantId("globex"), "visits")


@pytest.mark.parametrize(
    ("document", "field", "words"),
    [
        (visits(name="other"), "name", "the address says 'visits'"),
        (visits(primaryKee=["visit"]), "primaryKee", "unknown key"),
        (visits(columns=visits()["columns"] | {"_line": {"type": "integer"}}), "columns._line", "begin with _"),
        (visits(columns=visits()["columns"] | {"Visit": {"type": "integer"}}), "columns.Visit", "only in case"),
        (changed("visit", type="float"), "primaryKey.0", "float"),
        (changed("ward", pattern="(?=a)a"), "columns.ward.pattern", "linear time"),
        (visits(csv={"delimiter": '"'}), "csv", "two different characters"),
        (visits(csv={"delimiter": "\n"}), "csv", "no line breaks"),
    ],
)
def test_contracts_that_could_not_be_held_to_are_refused(
    world: World, document: dict[str, Any], field: str, words: str
) -> None:
    """The refusal names the field, and lists the problem with its path for clients that have the source."""
    with pytest.raises(Invalid, match=words) as caught:
        world.define.apply(ACME, "visits", document)
    assert caught.value.place is not None
    assert caught.value.place.field == field
    assert ".".join(str(part) for part in caught.value.data["problems"][0]["path"]) == field


INCOMPATIBLE = [
    (changed("fee", scale=3), "columns.fee.scale"),
    (changed("ward", type="boolean"), "columns.ward.type"),
    (changed("ward", nullable=False), "columns.ward.nullable"),
    (visits(columns={k: v for k, v in visits()["columns"].items() if k != "ward"}), "columns.ward"),
    (visits(columns=visits()["columns"] | {"new": {"type": "string"}}), "columns.new"),
    (visits(primaryKey=["visit", "at"]), "primaryKey"),
    (visits(columns=visits()["columns"] | {"on": {"type": "timestamp"}}, eventTime="on"), "columns.on"),
]


@pytest.mark.parametrize(("document", "field"), INCOMPATIBLE)
@pytest.mark.parametrize("loaded", [True, False])
def test_changes_that_rows_would_not_fit_are_refused(
    world: World, document: dict[str, Any], field: str, loaded: bool
) -> None:
    """Once a file is loaded or on its way, type, scale, key and required columns stay; a dry run says so too."""
    world.apply()
    world.send(csv_of((1, "a", 1)))
    if loaded:
        world.load_all()
    for dry_run in (True, False):
        with pytest.raises(Precondition, match="has rows already") as caught:
            world.define.apply(ACME, "visits", document, dry_run=dry_run)
        assert caught.value.place is not None
        assert caught.value.place.field == field
    assert world.datasets.get(ACME, "visits").revision == 1


@pytest.mark.parametrize(("document", "field"), INCOMPATIBLE)
def test_before_the_first_row_everything_may_change(world: World, document: dict[str, Any], field: str) -> None:
    """A file that was refused does not count."""
    world.apply()
    world.send(b"nonsense\n")
    assert world.load_all()[0].state is BatchState.REFUSED
    assert world.apply(document)[0] is Change.UPDATED


@pytest.mark.parametrize("name", ["", " ", "a/b.csv", "..", "a\\b.csv", "x" * 201, "a\nb.csv"])
def test_file_names_are_plain(name: str) -> None:
    """No folders, no control characters."""
    with pytest.raises(Invalid, match="plain file name"):
        check_file_name(name)


def test_a_claim_belongs_to_one_replica_until_it_expires_or_the_process_comes_back(world: World) -> None:
    """Another replica gets other data sets' files only; a restarted process takes its own claims back at once."""
    world.apply()
    world.apply(visits(name="others"))
    world.send(csv_of((1, "a", 1)), "one.csv")
    world.send(csv_of((2, "a", 1)), "two.csv")
    world.send(csv_of((3, "a", 1)), "three.csv", dataset="others")
    replica = SqlLoadQueue(world.database, world.outbox, "another-instance")
    mine, theirs = world.queue.claim(), replica.claim()
    assert mine is not None
    assert theirs is not None
    assert (mine.file.name, theirs.file.name) == ("one.csv", "three.csv")
    assert (world.queue.claim(), replica.claim(), replica.release_own()) == (None, None, 1)
    assert replica.claim() is not None
    # What was lost cannot be committed by the loser.
    table = world.lake.upsert(ACME, world.datasets.get(ACME, "visits").spec, mine.id, 0, lambda: iter(()))
    assert replica.commit(ACME, mine, mine.counts, table, 0) is False
    assert world.queue.release_own() == 1
    again = world.queue.claim()
    assert again is not None
    assert (again.id, again.attempts) == (mine.id, 2)


def test_a_postponed_load_waits_and_is_not_counted_against_the_file(world: World) -> None:
    """Trouble that is not the file's fault never leads to giving up."""
    world.apply()
    world.send(csv_of((1, "a", 1)))
    batch = world.queue.claim()
    assert batch is not None
    world.queue.postpone(ACME, batch.id, 3600, counted=False)
    assert world.queue.claim() is None
    assert world.batches.get(ACME, "visits", batch.id).attempts == 0
    assert world.queue.depth() == 1
    assert 0 < world.queue.oldest_seconds() < 3600
