"""A platform of real processes: its pods are its services, on a real PostgreSQL and Redis, and find each other by name."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
from pathlib import Path
from typing import Any

from tests.cluster.harness.control_plane import ControlPlane
from tests.cluster.harness.nodes import REAL_PLATFORM
from tests.cluster.harness.real_pods import RealPods

SERVICE_PORTS = (8080, 8081)


class PlatformPods(RealPods):
    """Runs the pods of one platform. Names of services lead to `ServiceProxies`, as they do in a cluster."""

    def __init__(self, plane: ControlPlane, folder: Path, namespace: str) -> None:
        assert namespace.startswith(REAL_PLATFORM)
        self.namespace = namespace
        self.services = ServiceProxies(self, namespace)
        objects = folder / "objects"
        objects.mkdir(parents=True)
        super().__init__(plane, folder / "pods", {"TENON_BLOB_URL": f"file://{objects}"})

    def stop(self) -> None:
        """End all processes and the proxies."""
        super().stop()
        self.services.stop()

    def _is_mine(self, namespace: str) -> bool:
        return namespace == self.namespace

    def _program(self, container: dict[str, Any]) -> list[str]:
        (service,) = re.findall(r"tenon/(\w+)[:@]", container["image"])
        return ["python", "-m", f"services.{service}"]

    def _values(self, pod: dict[str, Any], container: dict[str, Any]) -> dict[str, str]:
        values = super()._values(pod, container)
        return {name: self.services.translate(value) for name, value in values.items()}


class ServiceProxies:
    """What kube-proxy does: an address for each service, and behind it whichever pod is ready when a connection is made."""

    def __init__(self, pods: RealPods, namespace: str) -> None:
        self._pods, self._namespace = pods, namespace
        self._listeners: dict[tuple[str, int], socket.socket] = {}
        self._lock = threading.Lock()
        self._turn = itertools.count()

    def address(self, service: str, port: int) -> str:
        """Where a service is reached."""
        with self._lock:
            listener = self._listeners.get((service, port))
            if listener is None:
                listener = self._listeners[service, port] = socket.create_server(("127.0.0.1", 0), backlog=128)
                threading.Thread(target=self._accept, args=(listener, service, port), daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    def translate(self, value: str) -> str:
        """A variable whose whole value is a service's name and port, as an address that can be reached here."""
        named = re.fullmatch(r"([a-z][a-z0-9-]*):(\d+)", value)
        if named is None or int(named[2]) not in SERVICE_PORTS:
            return value
        return self.address(named[1], int(named[2]))

    def stop(self) -> None:
        """Listen no more."""
        for listener in self._listeners.values():
            listener.close()

    def _accept(self, listener: socket.socket, service: str, port: int) -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(caller, service, port), daemon=True).start()

    def _connect(self, caller: socket.socket, service: str, port: int) -> None:
        with caller:
            ready = sorted(self._pods.behind(self._namespace, service), key=lambda pod: pod.name)
            if not ready:
                return
            host, _, number = ready[next(self._turn) % len(ready)].address(port).partition(":")
            try:
                pod = socket.create_connection((host, int(number)), timeout=60)
            except OSError:
                return
            with pod:
                pod.settimeout(None)
                back = threading.Thread(target=_pump, args=(pod, caller), daemon=True)
                back.start()
                _pump(caller, pod)
                back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Hand on what comes until nothing does, and then say so to the other side."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
