"""What tenants declare that they may ask: fetched from the registry, and kept for when it is away."""

from __future__ import annotations

from typing import Any, Protocol

from services.predictor.domain.quotas import Quota, Quotas
from tenon.api.registry.v1 import registry_pb2 as pb
from tenon.api.registry.v1 import registry_pb2_grpc


class QuotaStore(Protocol):
    """The last known quotas, over restarts and the registry's absence."""

    def load(self) -> dict[str, Quota]:
        """What was saved; nothing when nothing was."""
        ...

    def save(self, quotas: dict[str, Quota]) -> None:
        """Keep these and nothing else."""
        ...


class DeclaredQuotas:
    """Keeps `Quotas` in step with the registry."""

    def __init__(self, channel: Any, store: QuotaStore, quotas: Quotas) -> None:
        self._stub = registry_pb2_grpc.TenantServiceStub(channel)
        self._store = store
        self._quotas = quotas
        self._revision = 0
        self._known: dict[str, Quota] = {}

    def restore(self) -> None:
        """Begin with the last known ones."""
        self._known = self._store.load()
        self._quotas.declare(self._known)

    def refresh(self) -> None:
        """Ask for news. Raises `TenonError`; what is known holds then."""
        answer = self._stub.ListQuotas(pb.ListQuotasRequest(known_revision=self._revision), timeout=3)
        if answer.unchanged:
            return
        found = {item.tenant: _quota(item) for item in answer.quotas}
        if found != self._known:
            self._quotas.declare(found)
            self._store.save(found)
            self._known = found
        self._revision = answer.revision


def _quota(message: pb.TenantQuotas) -> Quota:
    return Quota(
        message.requests_per_second if message.HasField("requests_per_second") else None,
        message.burst if message.HasField("burst") else None,
        message.rows_per_second if message.HasField("rows_per_second") else None,
        message.concurrency if message.HasField("concurrency") else None,
    )
