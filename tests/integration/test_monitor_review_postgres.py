"""Expert review on a real PostgreSQL: the same tests as on SQLite and on fakes."""

from collections.abc import Iterator

import pytest

from tests.support.monitor_storage_suite import Store
from tests.support.postgres import PostgresServer
from tests.unit.services.monitor.test_monitor_review import *  # noqa: F403 - its tests run here, on this module's `world`
from tests.unit.services.monitor.test_monitor_review import World, world_on


@pytest.fixture(scope="module")
def store(postgres_server: PostgresServer) -> Iterator[Store]:
    """One database for the module."""
    url = postgres_server.new_database()
    made = Store(url)
    yield made
    made.database.close()
    postgres_server.drop_database(url)


@pytest.fixture  # type: ignore[no-redef] # it takes the place of the one that came along
def world(store: Store) -> World:
    """An empty one."""
    store.clear()
    return world_on(store)
