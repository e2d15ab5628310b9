"""Releases: set, promote, roll back, look back. Every one is a new immutable revision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from services.registry.domain.automatic import Judged, Trial, check_automatic, next_step, trial_of
from services.registry.domain.model import Automatic, Release, Role, Track, Version
from services.registry.domain.ports import Announce, Clock, Transact, Transaction
from services.registry.domain.release_rules import (
    MAX_REASON,
    Wish,
    answering,
    check_expected,
    check_gates,
    check_reason,
    check_wish,
    compose,
    earlier_content,
    origin,
    promote,
)
from services.registry.domain.tenants import require_tenant
from services.registry.domain.trail import record
from services.registry.domain.versions import require_version
from tenon.core.errors import NotFound, Place, Precondition
from tenon.core.names import check_resource_name
from tenon.core.tenancy import TenantId

RELEASES = "releases"
"""The counter that numbers the releases of all tenants in the order of their commits."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The release that now stands, and whether this call made it."""

    release: Release
    changed: bool


class ReleaseDesk:
    """Changing and reading releases. `announce` is called after each commit that changed one."""

    def __init__(self, transact: Transact, clock: Clock, announce: Announce) -> None:
        self._transact = transact
        self._clock = clock
        self._announce = announce

    def set(
        self,
        tenant: TenantId,
        model: str,
        wish: Wish,
        actor: str,
        *,
        force: bool = False,
        reason: str = "",
        expected_revision: int = 0,
        automatic: Automatic | None = None,
    ) -> Outcome:
        """Serve these versions. What is served already makes no new revision."""
        check_wish(wish)
        check_reason(reason)
        plan = None if automatic is None else check_automatic(automatic, wish.canary_weight_permille)

        def work(tx: Transaction) -> Outcome:
            current = self._before(tx, tenant, model, expected_revision)
            versions = {number: require_version(tx, tenant, model, number) for number in wish.versions}
            tracks = compose(wish, versions)
            if current is not None and current.tracks == tracks and current.automatic == plan:
                return Outcome(current, changed=False)
            if not force:
                check_gates(wish, versions, current)
            forced = _forced(wish, versions, current)
            return self._add(tx, tenant, model, current, tracks, "set", actor, reason, forced=forced, plan=plan)

        return self._finish(work)

    def promote(
        self, tenant: TenantId, model: str, actor: str, *, arm: str = "", reason: str = "", expected_revision: int = 0
    ) -> Outcome:
        """Make the canary, or the named arm, stable."""
        check_reason(reason)

        def work(tx: Transaction) -> Outcome:
            current = require_release(self._before(tx, tenant, model, expected_revision), tenant, model)
            return self._add(tx, tenant, model, current, promote(current, arm), "promote", actor, reason)

        return self._finish(work)

    def rollback(
        self,
        tenant: TenantId,
        model: str,
        actor: str,
        *,
        to_revision: int = 0,
        reason: str = "",
        expected_revision: int = 0,
    ) -> Outcome:
        """Serve an earlier revision's content again; which one, says `release_rules`. 0: the content before this."""
        check_reason(reason)

        def work(tx: Transaction) -> Outcome:
            current = require_release(self._before(tx, tenant, model, expected_revision), tenant, model)

            def get(revision: int) -> Release:
                found = tx.releases.get(tenant, model, revision)
                if found is None:
                    raise NotFound(
                        "REVISION_NOT_FOUND",
                        f"model {model!r} of tenant {tenant.value!r} has no release revision {revision}",
                        place=Place(field="to_revision"),
                        hint="`tenon release history` lists them",
                    )
                return found

            target = get(origin(get(to_revision))) if to_revision else earlier_content(current, get)
            if target is None:
                raise Precondition(
                    "NO_EARLIER_RELEASE",
                    f"there is nothing before revision {origin(current)} to roll back to",
                    hint="name a revision of `tenon release history`, or set a release",
                )
            if target.tracks == current.tracks:
                raise Precondition(
                    "ALREADY_SERVED",
                    f"revision {current.revision} serves what revision {to_revision} served",
                    place=Place(field="to_revision"),
                )
            return self._add(
                tx, tenant, model, current, target.tracks, "rollback", actor, reason, from_revision=target.revision
            )

        return self._finish(work)

    def follow(self, tenant: TenantId, model: str, judged: Judged, actor: str) -> tuple[Outcome, str]:
        """Do what follows from a verdict of monitor's, if anything does; else why not. The same verdict again does nothing."""
        reason = judged.summary[:MAX_REASON]

        def work(tx: Transaction) -> tuple[Outcome, str]:
            current = require_release(self._before(tx, tenant, model, 0), tenant, model)
            step = next_step(current, judged, self._clock())
            if isinstance(step, str):
                return Outcome(current, changed=False), step
            tracks, origin_of = step.tracks, 0
            if step.back:
                tracks, origin_of = _content_to_go_back_to(tx, current, tracks)
                if not tracks:
                    return Outcome(current, changed=False), "what was before is not known"
            made = self._add(
                tx, tenant, model, current, tracks, step.action, actor, reason, from_revision=origin_of,
                plan=step.automatic,
            )  # fmt: skip
            return made, ""

        outcome, waiting = self._transact(work)
        if outcome.changed:
            self._announce()
        return outcome, waiting

    def trials(self) -> list[Trial]:
        """What is tried anywhere."""

        def work(tx: Transaction) -> list[Trial]:
            now = self._clock()
            found = (
                trial_of(current, _earlier(tx, current), now)
                for current in tx.releases.all_current()
                if len(current.tracks) > 1 or current.automatic is not None
            )
            return [trial for trial in found if trial is not None]

        return self._transact(work)

    def current(self, tenant: TenantId, model: str) -> Release:
        """What is desired now. Raises `NotFound` when nothing was ever released."""

        def work(tx: Transaction) -> Release:
            require_tenant(tx, tenant)
            return require_release(tx.releases.current(tenant, model), tenant, model)

        return self._transact(work)

    def history(self, tenant: TenantId, model: str, limit: int) -> list[Release]:
        """The latest revisions, newest first; empty when nothing was ever released."""

        def work(tx: Transaction) -> list[Release]:
            require_tenant(tx, tenant)
            return tx.releases.history(tenant, model, limit)

        return self._transact(work)

    def _before(self, tx: Transaction, tenant: TenantId, model: str, expected_revision: int) -> Release | None:
        check_resource_name(model, "model")
        require_tenant(tx, tenant)
        current = tx.releases.current(tenant, model)
        check_expected(current, expected_revision)
        return current

    def _add(
        self,
        tx: Transaction,
        tenant: TenantId,
        model: str,
        current: Release | None,
        tracks: tuple[Track, ...],
        action: str,
        actor: str,
        reason: str,
        *,
        from_revision: int = 0,
        forced: list[int] | None = None,
        plan: Automatic | None = None,
    ) -> Outcome:
        now = self._clock()
        release = Release(
            tenant,
            model,
            current.revision + 1 if current else 1,
            tracks,
            action,
            now,
            actor,
            from_revision,
            reason,
            change=tx.counters.advance(RELEASES),
            automatic=plan,
        )
        tx.releases.add(tenant, release)
        details = {
            "revision": release.revision,
            "tracks": [
                {"role": track.role.value, "version": track.version, "weight_permille": track.weight_permille}
                for track in tracks
            ],
            "reason": reason,
        }
        if plan is not None:
            details["automatic"] = asdict(plan)
        if from_revision:
            details["from_revision"] = from_revision
        if forced:
            details["forced_versions"] = forced
        record(tx, tenant, actor, f"release.{action}", model, now, **details)
        return Outcome(release, changed=True)

    def _finish(self, work: Callable[[Transaction], Outcome]) -> Outcome:
        outcome = self._transact(work)
        if outcome.changed:
            self._announce()
        return outcome


def _earlier(tx: Transaction, current: Release) -> Iterator[Release]:
    """The revisions before one, newest first, read one by one: few are needed."""
    for revision in range(current.revision - 1, 0, -1):
        found = tx.releases.get(current.tenant, current.model, revision)
        if found is None:
            return
        yield found


def _content_to_go_back_to(
    tx: Transaction, current: Release, tracks: tuple[Track, ...]
) -> tuple[tuple[Track, ...], int]:  # fmt: skip
    """These tracks and the latest earlier revision that was set to them (0: none). No tracks: those of the latest revision on
    which the version before was stable without a canary, else that version alone."""
    before = current.automatic.before if current.automatic else 0
    alone: tuple[Track, ...] = ()
    for release in _earlier(tx, current):
        stable = release.track(Role.STABLE)
        if tracks and release.tracks == tracks:
            return tracks, origin(release)
        if not tracks and stable is not None and stable.version == before:
            if release.track(Role.CANARY) is None:
                return release.tracks, origin(release)
            alone = (stable,)
    return tracks or alone, 0


def _forced(wish: Wish, versions: dict[int, Version], current: Release | None) -> list[int]:
    """The versions that answer only because somebody insisted."""
    return [
        number for number in wish.answering if number not in answering(current) and not versions[number].gates_passed
    ]


def require_release(release: Release | None, tenant: TenantId, model: str) -> Release:
    """The release, if there is one. Raises `NotFound`."""
    if release is None:
        raise NotFound(
            "RELEASE_NOT_FOUND",
            f"model {model!r} of tenant {tenant.value!r} has no release",
            place=Place(field="model"),
            hint="`tenon release set` makes one",
        )
    return release
