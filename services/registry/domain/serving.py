"""What is desired and what every replica really serves, side by side; and its history, measured and not assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from services.registry.domain.agreement import Disagreement, disagreements, serves
from services.registry.domain.automatic import Trial
from services.registry.domain.model import Release, Replica, ServedModel, ServingChange
from services.registry.domain.pinned_trials import pinned_to_two, trial_of_pins
from services.registry.domain.ports import Clock, Transact, Transaction
from services.registry.domain.tenants import require_tenant
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import TenantId

ALIVE_MICROS = 30_000_000
"""A replica that has not reported for this long is not counted as serving."""
SILENT_MICROS = 300_000_000
"""After this long its history is closed, at the moment it was last heard."""
MAX_MODELS = 10_000
_HISTORY = 500
"""Lines of a model's serving history in which the beginning of a trial is looked for."""


@dataclass(frozen=True, slots=True)
class ServingView:
    """Desired and served, for one tenant (and one model, or all)."""

    desired: tuple[Release, ...]
    replicas: tuple[Replica, ...]
    disagreements: tuple[Disagreement, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether every release is served: see `is_settled`. Pods that were told their versions serve one they agree with."""
        return bool(self.desired) and all(
            is_settled(release, self.replicas) or self._is_pinned(release) for release in self.desired
        )

    def _is_pinned(self, release: Release) -> bool:
        place = (release.tenant, release.model)
        return any(place in replica.pins() for replica in self.replicas) and not any(
            (line.tenant, line.model) == place for line in self.disagreements
        )


def is_settled(release: Release, replicas: Sequence[Replica]) -> bool:
    """Whether at least one replica lives and all that should serve a release do, with the right bytes and shares."""
    meant = [replica for replica in replicas if replica.concerns(release.tenant, release.model)]
    return bool(meant) and all(serves(replica, release) for replica in meant)


class ServingBoard:
    """Takes reports, keeps history when content changes, shows desired beside served."""

    def __init__(self, transact: Transact, clock: Clock) -> None:
        self._transact = transact
        self._clock = clock
        self._digests: dict[tuple[TenantId, str, int], str] = {}

    def report(
        self,
        replica: str,
        models: Sequence[ServedModel],
        *,
        leaving: bool = False,
        serves_only: Sequence[str] = (),
    ) -> int:
        """Take a replica's report; gives how many lines of history it wrote."""
        if not replica or len(replica) > 200:
            raise Invalid("REPLICA_INVALID", "replica must have 1 to 200 characters", place=Place(field="replica"))
        if len(models) > MAX_MODELS:
            raise Invalid("REPORT_TOO_LARGE", f"a report has at most {MAX_MODELS} models", place=Place(field="models"))

        def work(tx: Transaction) -> int:
            now = self._clock()
            last = tx.serving.last_report(replica)
            before = {(s.tenant, s.model): s for s in last.models} if last else {}
            after = {} if leaving else {(s.tenant, s.model): s for s in models}
            written = 0
            for place in sorted({*before, *after}, key=lambda place: (place[0].value, place[1])):
                if before.get(place) == after.get(place):
                    continue
                served = after.get(place) or replace(before[place], tracks=(), problem="")
                cause = "left" if leaving else "reported"
                tx.serving.add_change(place[0], ServingChange(replica, now, served, cause))
                written += 1
            if leaving:
                tx.serving.forget(replica)
            else:
                tx.serving.save_report(Replica(replica, now, tuple(after.values()), tuple(serves_only)))
            for silent in tx.serving.silent_since(now - SILENT_MICROS):
                for gone in silent.models:
                    line = ServingChange(
                        silent.name, silent.reported_at, replace(gone, tracks=(), problem=""), "silent"
                    )
                    tx.serving.add_change(gone.tenant, line)
                    written += 1
                tx.serving.forget(silent.name)
            return written

        return self._transact(work)

    def view(self, tenant: TenantId, model: str | None = None) -> ServingView:
        """What is desired and what the living replicas serve of it; of one tenant only."""

        def work(tx: Transaction) -> ServingView:
            require_tenant(tx, tenant)
            desired = [r for r in tx.releases.current_of(tenant) if model is None or r.model == model]
            replicas = []
            for replica in tx.serving.reported_since(self._clock() - ALIVE_MICROS):
                if not any(replica.concerns(tenant, r.model) for r in desired) and not (
                    any(s.tenant == tenant for s in replica.models)
                ):
                    continue
                own = tuple(s for s in replica.models if s.tenant == tenant and (model is None or s.model == model))
                scope = tuple(s for s in replica.serves_only if s.split("/")[0] == tenant.value)
                replicas.append(Replica(replica.name, replica.reported_at, own, scope))
            lines = disagreements(desired, replicas, partial(self._digest, tx))
            # Of the others, what replicas serve was left out above.
            asked = tuple(line for line in lines if model is None or line.model == model)
            return ServingView(tuple(desired), tuple(replicas), asked)

        return self._transact(work)

    def disagreements(self) -> tuple[Disagreement, ...]:
        """Those of all tenants, over the replicas that live."""

        def work(tx: Transaction) -> tuple[Disagreement, ...]:
            living = tx.serving.reported_since(self._clock() - ALIVE_MICROS)
            return disagreements(tx.releases.all_current(), living, partial(self._digest, tx))

        return self._transact(work)

    def trials(self) -> list[Trial]:
        """Versions that were told to replicas beside each other, of all tenants."""

        def work(tx: Transaction) -> list[Trial]:
            living = tx.serving.reported_since(self._clock() - ALIVE_MICROS)
            found = (
                trial_of_pins(place, versions, tx.serving.history(*place, _HISTORY))
                for place, versions in sorted(pinned_to_two(living).items())
            )
            return [trial for trial in found if trial is not None]

        return self._transact(work)

    def _digest(self, tx: Transaction, tenant: TenantId, model: str, version: int) -> str | None:
        """What a version was registered with: that never changes, and is asked again and again."""
        known = self._digests.get((tenant, model, version))
        if known is None and (found := tx.versions.get(tenant, model, version)) is not None:
            if len(self._digests) >= MAX_MODELS:
                self._digests.clear()
            known = self._digests[tenant, model, version] = found.bundle_sha256
        return known

    def history(self, tenant: TenantId, model: str, limit: int) -> list[ServingChange]:
        """Which replica served what from when on, newest first."""

        def work(tx: Transaction) -> list[ServingChange]:
            require_tenant(tx, tenant)
            return tx.serving.history(tenant, model, limit)

        return self._transact(work)
