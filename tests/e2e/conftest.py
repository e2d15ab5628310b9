"""One platform for the whole session: each test takes a tenant of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.platform import Platform, running_platform


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The running platform."""
    with running_platform(tmp_path_factory.mktemp("platform") / "data") as running:
        yield running
