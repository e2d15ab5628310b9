"""Monitor's storage on SQLite: labels and predictions in any order, once or more often, corrected or not."""

from collections.abc import Iterator

import pytest

from services.monitor.storage.incidents.incidents import SqlIncidents
from services.monitor.storage.incidents.outbox import SqlOutbox
from tests.support.incident_fakes import MemoryOutbox, MemoryRounds
from tests.support.incident_history_suite import IncidentHistorySuite, Kept
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


class TestSqliteHistory(IncidentHistorySuite):
    """The suite of histories."""

    @pytest.fixture
    def kept(self, store: Store) -> Kept:
        """Emptied."""
        store.clear()
        incidents = SqlIncidents(store.database)
        return Kept(incidents, incidents, SqlOutbox(store.database))


class TestMemoryHistory(IncidentHistorySuite):
    """The same of what other tests stand on."""

    @pytest.fixture
    def kept(self) -> Kept:
        """In memory."""
        rounds = MemoryRounds()
        return Kept(rounds, rounds, MemoryOutbox(moments=rounds.moments))


class TestSqlite(MonitorStorageSuite):
    """The suite."""
