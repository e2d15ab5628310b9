"""What grpc.health.v1 says: the unnamed service, that the process lives; the named ones, that it can serve what it must."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse


class HealthSigns:
    """Keeps the named services' status in step with readiness; call it now and then."""

    def __init__(self, health: HealthServicer, services: Sequence[str], ready: Callable[[], dict[str, str]]) -> None:
        self._health = health
        self._services = services
        self._ready = ready

    def update(self) -> None:
        """Look, and say."""
        status = HealthCheckResponse.NOT_SERVING if self._ready() else HealthCheckResponse.SERVING
        for name in self._services:
            self._health.set(name, status)
