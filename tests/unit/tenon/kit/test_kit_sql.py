"""Opening a database."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from tenon.core.errors import Unavailable
from tenon.kit.sql import Database, open_database

MIGRATIONS = "services.registry.migrations"


@pytest.mark.parametrize("url", ["nonsense", "oracle2://scott:tiger@nowhere/x", "sqlite:////no/such/folder/x.db"])
def test_an_impossible_database_url_is_named(url: str) -> None:
    """The variable is named and no password is repeated."""
    with pytest.raises(Unavailable, match="TENON_DATABASE_URL") as caught:
        open_database(url, MIGRATIONS)
    assert "tiger" not in str(caught.value)


def test_a_failed_block_leaves_nothing(tmp_path: Path) -> None:
    """One block is one transaction: committed when it ends well, gone otherwise."""
    database = Database(f"sqlite:///{tmp_path}/x.db")
    with database.session() as session:
        session.execute(sa.text("CREATE TABLE t (n INTEGER)"))
    with pytest.raises(RuntimeError), database.session() as session:  # noqa: PT012 - the block is what is tested
        session.execute(sa.text("INSERT INTO t VALUES (1)"))
        raise RuntimeError
    with database.session() as session:
        assert session.scalar(sa.text("SELECT count(*) FROM t")) == 0
    database.close()
