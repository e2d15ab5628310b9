"""What every storage of the registry must do; run on the fake, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from services.registry.domain.audit import AuditLog
from services.registry.domain.keys import KeyRing, key_hash
from services.registry.domain.model import Automatic, Replica, Role, ServedModel, ServingChange, Track, Version
from services.registry.domain.ports import Transact, Transaction
from services.registry.domain.release_rules import Wish
from services.registry.domain.releases import RELEASES, ReleaseDesk
from services.registry.domain.tenants import Change, TenantBook
from services.registry.domain.trail import record
from tenon.core.tenancy import Principal, Scope, TenantId
from tests.support.registry_fakes import ManualClock

CLINIC, AIRLINE = TenantId("clinic"), TenantId("airline")
ADMIN = Principal("admin", None, frozenset(Scope))
THREADS = 8


@dataclass
class Desk:
    """The use cases on one storage."""

    transact: Transact
    clock: ManualClock
    tenants: TenantBook
    keys: KeyRing
    releases: ReleaseDesk
    audit: AuditLog


def desk_on(transact: Transact) -> Desk:
    """The use cases, and two tenants."""
    clock = ManualClock()
    desk = Desk(
        transact,
        clock,
        TenantBook(transact, clock),
        KeyRing(transact, clock),
        ReleaseDesk(transact, clock, lambda: None),
        AuditLog(transact),
    )
    for tenant in (CLINIC, AIRLINE):
        desk.tenants.apply(tenant, {"name": tenant.value}, "admin")
    return desk


def add_version(desk: Desk, tenant: TenantId, model: str, run_id: str, failed_gates: tuple[str, ...] = ()) -> Version:
    """Write the next version, as registering does."""

    def work(tx: Transaction) -> Version:
        number = tx.versions.latest_number(tenant, model) + 1
        digest = key_hash(f"{tenant}/{model}/{run_id}")
        version = Version(
            tenant, model, number, digest, 10, run_id, desk.clock(), "service", b'{"evidence": {}}', failed_gates
        )
        tx.versions.add(tenant, version)
        return version

    return desk.transact(work)


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Do everything at the same moment, each on a thread of its own."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        barrier.wait(180)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


class StorageSuite:
    """Inherit, and give a fixture `desk`."""

    def test_a_tenant_gets_one_revision_for_each_change(self, desk: Desk) -> None:
        """Equal documents are unchanged, different ones make the next revision, a dry run writes nothing."""
        assert desk.tenants.apply(CLINIC, {"name": "clinic"}, "admin").change is Change.UNCHANGED
        document = {"name": "clinic", "displayName": "Clinic"}
        assert desk.tenants.apply(CLINIC, document, "admin", dry_run=True).revision == 2
        assert desk.tenants.get(CLINIC).revision == 1
        assert desk.tenants.apply(CLINIC, document, "admin").change is Change.UPDATED
        found = desk.tenants.get(CLINIC)
        assert (found.revision, found.display_name) == (2, "Clinic")
        assert found.created_at < found.updated_at
        assert [tenant.id for tenant in desk.tenants.all()] == [AIRLINE, CLINIC]

    def test_quotas_are_listed_when_they_have_changed(self, desk: Desk) -> None:
        """Of the tenants that declare some; the revision is that of tenants and keys."""
        before = desk.tenants.quotas(0).revision
        declared = {"name": CLINIC.value, "quotas": {"requestsPerSecond": 20, "burst": 50}}
        desk.tenants.apply(CLINIC, declared, "admin")
        found = desk.tenants.quotas(before)
        assert found.revision == before + 1
        assert found.quotas is not None
        assert {name: quota.burst for name, quota in found.quotas.items()} == {CLINIC.value: 50}
        assert desk.tenants.quotas(found.revision).quotas is None

    def test_keys_are_found_by_hash_until_revoked_or_expired(self, desk: Desk) -> None:
        """A key opens its tenant's door, and nothing after its end; each change grows the credential revision."""
        first = desk.keys.credentials(0).revision
        made = desk.keys.create(CLINIC, ["read"], ADMIN, name="laptop")
        short = desk.keys.create(CLINIC, ["predict"], ADMIN, expires_in=1_000_000)
        assert desk.keys.principal(key_hash(made.text)) == Principal(made.key.key_id, CLINIC, frozenset({Scope.READ}))
        assert desk.keys.next_ends() == {CLINIC.value: short.key.expires_at}
        credentials = desk.keys.credentials(first)
        assert credentials.revision == first + 2
        assert {key.key_id for key in credentials.keys or ()} == {made.key.key_id, short.key.key_id}
        assert desk.keys.credentials(credentials.revision).keys is None
        desk.clock.advance(1_000_000)
        assert desk.keys.principal(key_hash(short.text)) is None
        desk.keys.revoke(CLINIC, made.key.key_id, "admin")
        assert desk.keys.principal(key_hash(made.text)) is None
        assert desk.keys.credentials(credentials.revision).keys == ()
        assert [key.revoked_at is not None for key in desk.keys.of_tenant(CLINIC)] == [False, True]
        assert desk.keys.of_tenant(AIRLINE) == []

    def test_versions_belong_to_their_tenant_and_model(self, desk: Desk) -> None:
        """Numbers count up within a tenant's model; another tenant's versions are not seen."""
        for model, run in (("cost", "a"), ("cost", "b"), ("stay", "c")):
            add_version(desk, CLINIC, model, run)
        other = add_version(desk, AIRLINE, "cost", "a", failed_gates=("roc_auc >= 0.9: 0.8 is less",))

        def work(tx: Transaction) -> None:
            assert [version.number for version in tx.versions.of_model(CLINIC, "cost", 10)] == [2, 1]
            assert [version.number for version in tx.versions.of_model(CLINIC, "cost", 1)] == [2]
            assert tx.versions.counts(CLINIC) == {"cost": 2, "stay": 1}
            assert tx.versions.of_model(AIRLINE, "cost", 10) == [other]
            assert tx.versions.get(AIRLINE, "stay", 1) is None
            assert tx.versions.of_run(CLINIC, "cost", "a", other.bundle_sha256) is None
            assert tx.versions.of_run(AIRLINE, "cost", "a", other.bundle_sha256) == other

        desk.transact(work)

    def test_releases_are_kept_word_for_word(self, desk: Desk) -> None:
        """What was released comes back equal, newest first, and numbered across tenants in the order of commits."""
        for tenant in (CLINIC, AIRLINE):
            for run in ("a", "b", "c"):
                add_version(desk, tenant, "cost", run)
        first = desk.releases.set(CLINIC, "cost", Wish(1), "k1", reason="go").release
        other = desk.releases.set(AIRLINE, "cost", Wish(2), "k2").release
        plan = Automatic((5, 50), 60, 10, ("errors",), 3600)
        second = desk.releases.set(CLINIC, "cost", Wish(1, 2, 5, 3), "k1", automatic=plan).release

        def work(tx: Transaction) -> None:
            assert tx.releases.history(CLINIC, "cost", 10) == [second, first]
            assert tx.releases.history(CLINIC, "cost", 1) == [second]
            assert tx.releases.get(CLINIC, "cost", 1) == first
            assert tx.releases.current_of(CLINIC) == [second]
            assert tx.releases.all_current() == [other, second]
            assert tx.releases.changed_since(0) == [first, other, second]
            assert tx.releases.changed_since(other.change) == [second]
            assert tx.counters.value(RELEASES) == second.change

        desk.transact(work)
        assert [track.role for track in second.tracks] == [Role.STABLE, Role.CANARY, Role.SHADOW]

    def test_reports_replace_each_other_and_history_stays(self, desk: Desk) -> None:
        """A replica has one last report; its lines of history are all kept."""
        served = ServedModel(CLINIC, "cost", 1, (Track(Role.STABLE, 1, "a" * 64),), "")

        def work(tx: Transaction) -> None:
            tx.serving.save_report(Replica("r1", 100, (served,)))
            tx.serving.save_report(Replica("r1", 200, (served,), ("clinic/cost",)))
            tx.serving.save_report(Replica("r2", 50, ()))
            tx.serving.add_change(CLINIC, ServingChange("r1", 100, served, "reported"))
            tx.serving.add_change(CLINIC, ServingChange("r1", 200, served, "left"))

        def look(tx: Transaction) -> None:
            assert tx.serving.last_report("r1") == Replica("r1", 200, (served,), ("clinic/cost",))
            assert [replica.name for replica in tx.serving.reported_since(100)] == ["r1"]
            assert [replica.name for replica in tx.serving.silent_since(100)] == ["r2"]
            assert [change.cause for change in tx.serving.history(CLINIC, "cost", 10)] == ["left", "reported"]
            assert tx.serving.history(CLINIC, "cost", 1) == [ServingChange("r1", 200, served, "left")]
            assert tx.serving.history(AIRLINE, "cost", 10) == []
            tx.serving.forget("r2")
            assert tx.serving.last_report("r2") is None

        desk.transact(work)
        desk.transact(look)

    def test_nothing_of_a_failed_transaction_stays(self, desk: Desk) -> None:
        """One request is one transaction: an error leaves no row, no audit line and no number behind."""

        def work(tx: Transaction) -> None:
            tx.counters.advance(RELEASES)
            record(tx, CLINIC, "admin", "test.started", "x", desk.clock())
            raise RuntimeError("halfway")

        before = desk.audit.read(CLINIC)
        with pytest.raises(RuntimeError):
            desk.transact(work)
        assert desk.audit.read(CLINIC) == before
        assert desk.transact(lambda tx: tx.counters.value(RELEASES)) == 0

    def test_the_audit_log_survives_its_storage(self, desk: Desk) -> None:
        """Text of any alphabet, nested details and null come back so that the chain still holds."""

        def work(tx: Transaction) -> None:
            record(
                tx,
                CLINIC,
                "kéy",
                "test.done",
                "日本",
                desk.clock(),
                nested={"b": [1, None, "ü"], "a": 0.1},
                text="\u2028'\"",
            )

        desk.transact(work)
        verdict = desk.audit.verify(CLINIC)
        assert (verdict.intact, verdict.entries) == (True, 2)

    def test_racing_versions_get_numbers_of_their_own(self, desk: Desk) -> None:
        """Many at once: every version gets its own number, without gaps."""
        made = at_once(*(lambda run=run: add_version(desk, CLINIC, "cost", f"run-{run}") for run in range(THREADS)))
        assert sorted(version.number for version in made) == list(range(1, THREADS + 1))

    def test_racing_releases_get_revisions_of_their_own(self, desk: Desk) -> None:
        """Many at once: every release gets its own revision and change number, and the audit chain holds."""
        for run in range(THREADS):
            add_version(desk, CLINIC, "cost", f"run-{run}")
        outcomes = at_once(
            *(lambda n=n: desk.releases.set(CLINIC, "cost", Wish(n + 1), f"k{n}") for n in range(THREADS))
        )
        assert sorted(outcome.release.revision for outcome in outcomes) == list(range(1, THREADS + 1))
        assert sorted(outcome.release.change for outcome in outcomes) == list(range(1, THREADS + 1))
        verdict = desk.audit.verify(CLINIC)
        assert (verdict.intact, verdict.entries) == (True, THREADS + 1)

    def test_racing_writers_of_one_tenant_keep_the_chain_whole(self, desk: Desk) -> None:
        """Keys made by many at once: all are there, the revision counted each, and no audit line is lost."""
        before = desk.keys.credentials(0).revision
        at_once(*(lambda: desk.keys.create(CLINIC, ["read"], ADMIN) for _ in range(THREADS)))
        assert len(desk.keys.of_tenant(CLINIC)) == THREADS
        assert desk.keys.credentials(0).revision == before + THREADS
        assert desk.audit.verify(CLINIC).intact

    def test_racing_compare_and_set_lets_one_win(self, desk: Desk) -> None:
        """Two who saw the same revision: one releases, the other is told that it has changed."""
        for run in ("a", "b", "c"):
            add_version(desk, CLINIC, "cost", run)
        desk.releases.set(CLINIC, "cost", Wish(1), "k")

        def attempt(version: int) -> str:
            try:
                desk.releases.set(CLINIC, "cost", Wish(version), "k", expected_revision=1)
            except Exception as err:
                return getattr(err, "reason", repr(err))
            return "won"

        assert sorted(at_once(lambda: attempt(2), lambda: attempt(3))) == ["RELEASE_CHANGED", "won"]
