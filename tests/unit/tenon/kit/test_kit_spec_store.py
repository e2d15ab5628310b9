"""Revisions of documents."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from tenon.core.errors import NotFound
from tenon.core.specs import TenantSpec
from tenon.core.tenancy import TenantId
from tenon.kit.spec_store import SpecStore, spec_table
from tenon.kit.sql import Database

ACME = TenantId("acme")


@pytest.fixture
def store(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path}/t.db")
    metadata = sa.MetaData()
    table = spec_table(metadata)
    metadata.create_all(database.engine)
    yield SpecStore(database, table, TenantSpec, "tenant")
    database.close()


def spec(name: str = "one", display: str = "") -> TenantSpec:
    return TenantSpec(name=name, display_name=display)


def test_equal_documents_make_no_revision(store) -> None:
    """Applying the same again is `unchanged`; a difference is one more revision."""
    changes = [store.apply(ACME, document)[0] for document in (spec(), spec(), spec(display="x"), spec())]
    assert changes == ["created", "unchanged", "updated", "updated"]
    assert store.get(ACME, "one").revision == 3


def test_a_dry_run_writes_nothing(store) -> None:
    """`dry_run` tells what would happen and leaves no trace."""
    assert store.apply(ACME, spec(), dry_run=True)[0] == "created"
    assert store.list(ACME) == []


def test_tenants_do_not_see_each_other(store) -> None:
    """A document of one tenant is missing for another."""
    store.apply(ACME, spec())
    with pytest.raises(NotFound):
        store.get(TenantId("other"), "one")
    assert store.list(TenantId("other")) == []
    assert len(store.list(None)) == 1


def test_a_wrong_name_gets_the_nearest(store) -> None:
    """A typo in a name is answered with the name that was meant."""
    store.apply(ACME, spec("late-arrival"))
    with pytest.raises(NotFound) as caught:
        store.get(ACME, "late-arival")
    assert caught.value.hint == "did you mean `late-arrival`?"


def test_what_joins_the_transaction_fails_with_it(store) -> None:
    """When the addition to the transaction fails, the document is not stored either."""

    def refuse(_session, _stored) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.apply(ACME, spec(), also=refuse)
    assert store.list(ACME) == []
