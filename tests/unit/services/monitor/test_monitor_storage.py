"""Monitor's storage on SQLite: labels and predictions in any order, once or more often, corrected or not."""

from collections.abc import Iterator

import pytest

from tests.support.incident_storage_suite import IncidentStorageSuite
from tests.support.monitor_storage_suite import MonitorStorageSuite, Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One database for the module; tests clear it."""
    made = Store(f"sqlite:///{tmp_path_factory.mktemp('monitor')}/monitor.db")
    yield made
    made.database.close()


class TestSqliteIncidents(IncidentStorageSuite):
    """The suite of incidents."""


class TestSqlite(MonitorStorageSuite):
    """The suite."""
