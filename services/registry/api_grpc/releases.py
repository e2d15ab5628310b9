"""Releases, the watch stream and serving reports over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.registry.api_grpc.messages import (
    automatic_from_message,
    judged_from_message,
    platform_principal,
    release_message,
    replica_message,
    served_from_message,
    trial_message,
)
from services.registry.domain.release_rules import Arm, Wish
from services.registry.domain.releases import Outcome, ReleaseDesk
from services.registry.domain.serving import ServingBoard
from services.registry.domain.watch import ReleaseFeed
from services.registry.metrics import RELEASES, SERVING_CHANGES, WATCHERS
from tenon.api.registry.v1 import registry_pb2, registry_pb2_grpc
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import Scope, TenantId
from tenon.kit.grpc import allowed_tenant, current_principal

DEFAULT_HISTORY, MAX_HISTORY = 50, 500


class ReleaseServicer(registry_pb2_grpc.ReleaseServiceServicer):
    """Releases and what is served."""

    def __init__(self, releases: ReleaseDesk, serving: ServingBoard, feed: ReleaseFeed) -> None:
        self._releases = releases
        self._serving = serving
        self._feed = feed

    def GetRelease(self, request: registry_pb2.GetReleaseRequest, _context: Any) -> registry_pb2.GetReleaseResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        return registry_pb2.GetReleaseResponse(release=release_message(self._releases.current(tenant, request.model)))

    def SetRelease(self, request: registry_pb2.SetReleaseRequest, _context: Any) -> registry_pb2.SetReleaseResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.WRITE)
        wish = Wish(
            request.stable_version,
            request.canary_version,
            request.canary_weight_permille,
            request.shadow_version,
            tuple(Arm(arm.name, arm.version, arm.weight_permille) for arm in request.arms),
        )
        outcome = self._releases.set(
            tenant,
            request.model,
            wish,
            current_principal().name,
            force=request.force,
            reason=request.reason,
            expected_revision=request.expected_revision,
            automatic=automatic_from_message(request.automatic) if request.HasField("automatic") else None,
        )
        return registry_pb2.SetReleaseResponse(release=_counted(outcome), changed=outcome.changed)

    def PromoteRelease(
        self, request: registry_pb2.PromoteReleaseRequest, _context: Any
    ) -> registry_pb2.PromoteReleaseResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.WRITE)
        outcome = self._releases.promote(
            tenant,
            request.model,
            current_principal().name,
            arm=request.arm,
            reason=request.reason,
            expected_revision=request.expected_revision,
        )
        return registry_pb2.PromoteReleaseResponse(release=_counted(outcome))

    def RollbackRelease(
        self, request: registry_pb2.RollbackReleaseRequest, _context: Any
    ) -> registry_pb2.RollbackReleaseResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.WRITE)
        if request.to_revision < 0:
            raise Invalid("REVISION_INVALID", "to_revision is 1 or more", place=Place(field="to_revision"))
        outcome = self._releases.rollback(
            tenant,
            request.model,
            current_principal().name,
            to_revision=request.to_revision,
            reason=request.reason,
            expected_revision=request.expected_revision,
        )
        return registry_pb2.RollbackReleaseResponse(release=_counted(outcome))

    def ListReleaseHistory(
        self, request: registry_pb2.ListReleaseHistoryRequest, _context: Any
    ) -> registry_pb2.ListReleaseHistoryResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        if not 0 <= request.limit <= MAX_HISTORY:
            raise Invalid("LIMIT_INVALID", f"limit is at most {MAX_HISTORY}", place=Place(field="limit"))
        found = self._releases.history(tenant, request.model, request.limit or DEFAULT_HISTORY)
        return registry_pb2.ListReleaseHistoryResponse(releases=[release_message(release) for release in found])

    def WatchReleases(
        self, request: registry_pb2.WatchReleasesRequest, context: Any
    ) -> Iterator[registry_pb2.WatchReleasesResponse]:
        """See the proto. Holds a thread of the pool, which is larger by the number of watchers allowed (main)."""
        principal = current_principal()
        tenants: frozenset[TenantId] | None = frozenset(allowed_tenant(name, Scope.READ) for name in request.tenants)
        if not tenants:
            principal.require(principal.tenant or TenantId("all"), Scope.READ)
            tenants = frozenset({principal.tenant}) if principal.tenant else None
        # A client that leaves wakes its watch at once, and the thread goes back to the pool.
        context.add_callback(self._feed.wake)
        with WATCHERS.track_inprogress():
            for notice in self._feed.watch(tenants, context.is_active, guest=principal.tenant):
                release = release_message(notice.release) if notice.release else None
                yield registry_pb2.WatchReleasesResponse(release=release, synced=notice.synced)

    def ReportServing(
        self, request: registry_pb2.ReportServingRequest, _context: Any
    ) -> registry_pb2.ReportServingResponse:
        """See the proto. Only the platform's services are believed."""
        platform_principal()
        written = self._serving.report(
            request.replica,
            [served_from_message(message) for message in request.models],
            leaving=request.leaving,
            serves_only=list(request.serves_only),
        )
        SERVING_CHANGES.inc(written)
        return registry_pb2.ReportServingResponse()

    def GetServing(self, request: registry_pb2.GetServingRequest, _context: Any) -> registry_pb2.GetServingResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        view = self._serving.view(tenant, request.model or None)
        return registry_pb2.GetServingResponse(
            desired=[release_message(release) for release in view.desired],
            replicas=[replica_message(replica) for replica in view.replicas],
        )

    def ListTrials(self, _request: registry_pb2.ListTrialsRequest, _context: Any) -> registry_pb2.ListTrialsResponse:
        """See the proto. For the platform's services."""
        platform_principal()
        released = self._releases.trials()
        places = {(trial.tenant, trial.release.model) for trial in released}
        pinned = [trial for trial in self._serving.trials() if (trial.tenant, trial.release.model) not in places]
        return registry_pb2.ListTrialsResponse(trials=[trial_message(trial) for trial in (*released, *pinned)])

    def ReportVerdict(
        self, request: registry_pb2.ReportVerdictRequest, _context: Any
    ) -> registry_pb2.ReportVerdictResponse:
        """See the proto. Only the platform's services are believed."""
        platform_principal()
        outcome, waiting = self._releases.follow(
            TenantId(request.tenant), request.model, judged_from_message(request), "monitor"
        )
        return registry_pb2.ReportVerdictResponse(
            release=_counted(outcome), acted=outcome.changed, waiting=waiting
        )  # fmt: skip


def _counted(outcome: Outcome) -> registry_pb2.Release:
    if outcome.changed:
        RELEASES.labels(outcome.release.action).inc()
    return release_message(outcome.release)
