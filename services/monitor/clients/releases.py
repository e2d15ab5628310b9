"""Releases as the registry tells them: asked with a deadline, kept for seconds, and held on to when it is away."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from services.monitor.domain.releases import Known, Release, with_shares
from tenon.api.registry.v1 import registry_pb2, registry_pb2_grpc
from tenon.core.errors import NotFound, TenonError
from tenon.kit.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from tenon.core.tenancy import TenantId

log = get_logger(__name__)

_DEADLINE_SECONDS = 2.0
_FRESH_SECONDS = 3.0
_KEPT = 1_000
_HISTORY = 200
_ROLES = {
    registry_pb2.ROLE_STABLE: "stable",
    registry_pb2.ROLE_CANARY: "canary",
    registry_pb2.ROLE_SHADOW: "shadow",
}


class RegistryReleases:
    """See `domain.releases.Releases`."""

    def __init__(self, channel: grpc.Channel, now: Callable[[], int]) -> None:
        self._releases = registry_pb2_grpc.ReleaseServiceStub(channel)
        self._tenants = registry_pb2_grpc.TenantServiceStub(channel)
        self._now = now
        self._kept: OrderedDict[tuple[str, ...], tuple[float, Known]] = OrderedDict()
        self._lock = threading.Lock()

    def current(self, tenant: TenantId | None) -> Known:
        """The releases in effect; those of one tenant are asked apart, so that it need not wait for the fleet's."""
        names = [] if tenant is None else [tenant.value]

        def ask() -> Known:
            request = registry_pb2.WatchReleasesRequest(tenants=names)
            watch = self._releases.WatchReleases(request, timeout=_DEADLINE_SECONDS)
            found: list[Release] = []
            try:
                for answer in watch:
                    if answer.HasField("release"):
                        found.append(_release(answer.release))
                    if answer.synced:
                        break
            finally:
                watch.cancel()
            tenants = names
            if tenant is None:
                listed = self._tenants.ListTenants(registry_pb2.ListTenantsRequest(), timeout=_DEADLINE_SECONDS)
                tenants = [one.name for one in listed.tenants]
            return Known(tuple(found), tuple(tenants))

        return self._asked(("current", *names), ask)

    def history(self, tenant: TenantId, model: str) -> Known:
        """A model's releases, newest first; none for a model that was never released."""

        def ask() -> Known:
            request = registry_pb2.ListReleaseHistoryRequest(tenant=tenant.value, model=model, limit=_HISTORY)
            try:
                answer = self._releases.ListReleaseHistory(request, timeout=_DEADLINE_SECONDS)
            except NotFound:
                return Known()
            return Known(tuple(_release(one) for one in answer.releases))

        return self._asked(("history", tenant.value, model), ask)

    def _asked(self, what: tuple[str, ...], ask: Callable[[], Known]) -> Known:
        with self._lock:
            until, known = self._kept.get(what, (0.0, Known()))
        if time.monotonic() < until:
            return known
        try:
            known = replace(ask(), asked_at=self._now(), fresh=True)
        except TenonError as err:
            log.warning("the registry did not say what is released", error=err.message)
            known = replace(known, fresh=False)
        with self._lock:
            self._kept[what] = (time.monotonic() + _FRESH_SECONDS, known)
            self._kept.move_to_end(what)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return known


def _release(message: registry_pb2.Release) -> Release:
    return Release(
        tenant=message.tenant,
        model=message.model,
        revision=message.revision,
        tracks=with_shares(
            [(_ROLES.get(one.role, one.arm), one.version, one.weight_permille) for one in message.tracks]
        ),
        made_at=message.created_at.ToMicroseconds(),
        made_by=message.created_by,
        action=message.action,
        reason=message.reason,
        from_revision=message.from_revision,
    )
