"""The audit log: each line carries a sha256 over the line before it and its own content, tenant by tenant.

Changing, removing or inserting a line breaks every hash after it. Cutting lines off the end cannot be seen from the
rest; so each line's hash also goes to the process log and to whoever reads the log, and `verify_chain` takes the last
known hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.registry.domain.model import AuditEntry
from services.registry.domain.ports import Transaction
from tenon.core.tenancy import TenantId

GENESIS = "0" * 64
"""What stands before a tenant's first line."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a chain holds. `broken_at` is the seq of the first line that does not fit, None when all do."""

    entries: int
    head: str
    broken_at: int | None = None
    problem: str = ""

    @property
    def intact(self) -> bool:
        """Whether every line fits."""
        return self.broken_at is None


def entry_hash(
    tenant: TenantId,
    seq: int,
    at: int,
    actor: str,
    action: str,
    subject: str,
    details: Mapping[str, Any],
    previous: str,
) -> str:
    """The hash of a line: sha256 over its canonical JSON, which includes the hash before it."""
    content = [tenant.value, seq, at, actor, action, subject, details, previous]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def next_entry(
    tenant: TenantId,
    last: AuditEntry | None,
    *,
    at: int,
    actor: str,
    action: str,
    subject: str,
    details: Mapping[str, Any],
) -> AuditEntry:
    """The line that follows `last` (None: the first line)."""
    seq, previous = (last.seq + 1, last.hash) if last else (1, GENESIS)
    digest = entry_hash(tenant, seq, at, actor, action, subject, details, previous)
    return AuditEntry(tenant, seq, at, actor, action, subject, dict(details), previous, digest)


def verify_chain(tenant: TenantId, entries: Iterable[AuditEntry], *, expected_head: str | None = None) -> Verdict:
    """Check a tenant's whole log, oldest line first. `expected_head` is a hash noted earlier that must still occur."""
    previous, count, seen = GENESIS, 0, expected_head in (None, GENESIS)
    for entry in entries:
        count += 1
        if entry.tenant != tenant or entry.seq != count:
            return Verdict(count, previous, count, f"line {count} is missing; line {entry.seq} stands in its place")
        if entry.previous != previous:
            return Verdict(count, previous, count, f"line {count} does not follow the line before it")
        digest = entry_hash(
            tenant, entry.seq, entry.at, entry.actor, entry.action, entry.subject, entry.details, previous
        )
        if digest != entry.hash:
            return Verdict(count, previous, count, f"line {count} is not what was written")
        previous = digest
        seen = seen or digest == expected_head
    if not seen:
        return Verdict(count, previous, count + 1, "the log has been cut: the hash that was noted does not occur")
    return Verdict(count, previous)


def record(
    tx: Transaction, tenant: TenantId, actor: str, action: str, subject: str, at: int, **details: Any
) -> AuditEntry:
    """Write the next line of a tenant's log, as part of the transaction that does what the line says."""
    entry = next_entry(
        tenant, tx.audit.last(tenant), at=at, actor=actor, action=action, subject=subject, details=details
    )
    tx.audit.add(tenant, entry)
    return entry
