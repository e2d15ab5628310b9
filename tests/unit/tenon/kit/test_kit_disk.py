"""A full disk is said as such at every door, and background work does not sleep for long after a failure."""

from __future__ import annotations

import errno
import sqlite3

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tenon.core.errors import Kind, Unauthenticated, Unavailable
from tenon.core.tenancy import Principal
from tenon.kit.disk import disk_full
from tenon.kit.http import create_app
from tenon.kit.process import pause_after
from tenon.kit.sql import Database


class NoKeys:
    def authenticate(self, authorization: str | None) -> Principal:
        raise Unauthenticated("KEY_INVALID", "the API key is not valid")


def full_app() -> FastAPI:
    """An app whose only route finds the disk full."""
    app = create_app(service="test", authenticator=NoKeys(), ready=dict)

    @app.get("/write")
    def write() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/place")

    return app


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EDQUOT, "x"), True),
        (OSError(errno.EACCES, "x"), False),
        (ValueError("x"), False),
    ],
)
def test_which_errors_mean_a_full_disk(error: Exception, full: bool) -> None:
    """No space and no quota left; every other error keeps its own meaning."""
    found = disk_full(error)
    assert (found is not None) == full
    assert found is None or found.kind is Kind.UNAVAILABLE


def test_the_door_says_that_the_disk_is_full() -> None:
    """Not an internal error, but 503 with the reason, the way out, and no path of the machine."""
    answer = TestClient(full_app(), raise_server_exceptions=False).get("/write")
    assert (answer.status_code, answer.json()["reason"]) == (503, "DISK_FULL")
    assert "again" in answer.json()["hint"]
    assert "/secret" not in answer.text


def test_a_database_on_a_full_disk_says_so() -> None:
    """SQLite's refusal is not reported as a database that cannot be reached."""
    database = Database("sqlite://")
    with pytest.raises(Unavailable) as caught, database.session():
        raise sa.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    assert caught.value.reason == "DISK_FULL"


@pytest.mark.parametrize("seconds", [0.2, 2.0, 5.0, 60.0])
def test_background_work_is_tried_again_soon(seconds: float) -> None:
    """After an outage of any length the next try is at most five seconds off, or one usual pause if that is longer."""
    pauses = [pause_after(failures, seconds) for failures in range(40)]
    assert pauses[0] == seconds
    assert pauses == sorted(pauses)
    assert pauses[-1] <= max(5.0, seconds)
