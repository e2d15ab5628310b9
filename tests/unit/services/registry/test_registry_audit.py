"""The audit chain: whatever is done to it is found."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.registry.domain.model import AuditEntry
from services.registry.domain.trail import GENESIS, next_entry, verify_chain
from tenon.core.errors import NotFound
from tenon.core.tenancy import TenantId
from tests.support.registry_fakes import FakeTransact
from tests.support.registry_storage_suite import CLINIC, desk_on

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
lines = st.lists(
    st.tuples(st.integers(0, 2**60), st.text(max_size=10), st.text(max_size=10), json_values), min_size=1, max_size=8
)


def chain_of(contents: list[tuple[int, str, str, object]]) -> list[AuditEntry]:
    """A log with these lines."""
    chain: list[AuditEntry] = []
    for at, actor, subject, value in contents:
        last = chain[-1] if chain else None
        details = {"value": value}
        chain.append(next_entry(CLINIC, last, at=at, actor=actor, action="x.done", subject=subject, details=details))
    return chain


@settings(deadline=None)
@given(lines)
def test_an_untouched_chain_is_intact(contents: list[tuple[int, str, str, object]]) -> None:
    """Every head noted on the way still occurs."""
    chain = chain_of(contents)
    for head in (None, GENESIS, *(entry.hash for entry in chain)):
        verdict = verify_chain(CLINIC, chain, expected_head=head)
        assert (verdict.intact, verdict.entries, verdict.head) == (True, len(chain), chain[-1].hash)


@given(lines, st.data())
def test_every_change_is_found(contents: list[tuple[int, str, str, object]], data: st.DataObject) -> None:
    """A changed field, a removed, repeated or swapped line, and a cut end (with the head noted) break the chain."""
    chain = chain_of(contents)
    at = data.draw(st.integers(0, len(chain) - 1))
    entry = chain[at]
    damage = data.draw(
        st.sampled_from(
            ["at", "actor", "subject", "details", "hash", "cut", "drop", "repeat", "tenant", "previous", "seq"]
        )
    )
    changed = {
        "at": [replace(entry, at=entry.at + 1)],
        "actor": [replace(entry, actor=entry.actor + "x")],
        "subject": [replace(entry, subject=entry.subject + "x")],
        "details": [replace(entry, details={"value": entry.details["value"], "more": 1})],
        "hash": [replace(entry, hash=GENESIS)],
        "tenant": [replace(entry, tenant=TenantId("other"))],
        "previous": [replace(entry, previous="f" * 64)],
        "seq": [replace(entry, seq=entry.seq + 1)],
        "repeat": [entry, entry],
        "drop": [],
    }
    if damage == "cut":
        broken, head = chain[:at], chain[-1].hash
    else:
        broken, head = [*chain[:at], *changed[damage], *chain[at + 1 :]], chain[-1].hash
    verdict = verify_chain(CLINIC, broken, expected_head=head)
    assert not verdict.intact
    assert verdict.problem


@given(lines, st.integers(0, 7))
def test_a_forger_must_rewrite_everything_after(contents: list[tuple[int, str, str, object]], index: int) -> None:
    """Even a line with a right hash of its own breaks the chain at the next one."""
    chain = chain_of(contents)
    at = index % len(chain)
    before = chain[at - 1] if at else None
    forged = next_entry(CLINIC, before, at=1, actor="forger", action="x.done", subject="", details={})
    verdict = verify_chain(CLINIC, [*chain[:at], forged, *chain[at + 1 :]], expected_head=chain[-1].hash)
    assert verdict.broken_at == at + 2


def test_the_log_reads_in_pages_and_belongs_to_its_tenant() -> None:
    """Newest first, page by page; an unknown tenant has no log."""
    desk = desk_on(FakeTransact())
    for number in range(5):
        desk.tenants.apply(CLINIC, {"name": "clinic", "displayName": f"Clinic {number}"}, "admin")
    newest = desk.audit.read(CLINIC, limit=4)
    rest = desk.audit.read(CLINIC, before=newest[-1].seq, limit=4)
    assert [entry.seq for entry in (*newest, *rest)] == [6, 5, 4, 3, 2, 1]
    with pytest.raises(NotFound):
        desk.audit.verify(TenantId("nobody"))
