"""One request, one transaction: run, committed, and run again when somebody else took the number it wanted."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from services.registry.domain.model import AuditEntry
from services.registry.domain.ports import NumberTaken, Transaction
from services.registry.metrics import TRANSACTION_RETRIES
from services.registry.storage.identity import SqlKeys, SqlTenants
from services.registry.storage.journal import SqlAudit, SqlCounters
from services.registry.storage.models import SqlReleases, SqlVersions
from services.registry.storage.replicas import SqlServing
from tenon.core.errors import Conflict
from tenon.kit.sql import Database
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)
T = TypeVar("T")

MAX_ATTEMPTS = 30


class SqlTransaction:
    """The tables, seen through one session."""

    def __init__(self, session: Session) -> None:
        self.tenants = SqlTenants(session)
        self.keys = SqlKeys(session)
        self.versions = SqlVersions(session)
        self.releases = SqlReleases(session)
        self.serving = SqlServing(session)
        self.audit = SqlAudit(session)
        self.counters = SqlCounters(session)


class SqlTransact:
    """See `Transact`. Unique constraints decide races; the loser starts again on what the winner left."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __call__(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a transaction of its own."""
        for attempt in range(MAX_ATTEMPTS):
            try:
                with self._database.session() as session:
                    transaction = SqlTransaction(session)
                    result = work(transaction)
            except (sa.exc.IntegrityError, NumberTaken):
                TRANSACTION_RETRIES.inc()
            else:
                _note(transaction.audit.added)
                return result
            time.sleep(random.uniform(0, 0.005 * min(attempt + 1, 10)))
        raise Conflict("TOO_MANY_WRITERS", "others kept changing the same thing at the same time", hint="try again")


def _note(entries: list[AuditEntry]) -> None:
    """Say each committed line with its hash in the process log: with it, a log cut at the end is found out."""
    for entry in entries:
        log.info(
            "audited",
            **{
                "tenon.tenant": entry.tenant.value,
                "event.action": entry.action,
                "event.sequence": entry.seq,
                "event.hash": entry.hash,
                "user.id": entry.actor,
            },
        )
