"""The pinned source: a follower is fed with the versions that the process was started with."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from services.predictor.domain.model import Release
from services.predictor.domain.pins import Pin, releases_of
from services.predictor.domain.releases import Follower
from tenon.api.registry.v1 import registry_pb2 as pb
from tenon.api.registry.v1 import registry_pb2_grpc
from tenon.core.errors import NotFound, TenonError
from tenon.core.tenancy import TenantId
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)


class LocalBundles:
    """Bundles that lie in files beside the predictor; everything else is downloaded."""

    def __init__(self, pins: Sequence[Pin], download: Callable[[TenantId, str, int], bytes]) -> None:
        self._files = {(*pin.key, pin.version): Path(pin.bundle) for pin in pins if pin.bundle}
        self._download = download

    def digest(self, pin: Pin) -> str:
        """The sha256 of a pin's file. Raises `NotFound` when it cannot be read."""
        return hashlib.sha256(self._read(pin.key.model, pin.version, Path(pin.bundle))).hexdigest()

    def download(self, tenant: TenantId, model: str, version: int) -> bytes:
        """A bundle's bytes."""
        path = self._files.get((tenant, model, version))
        return self._download(tenant, model, version) if path is None else self._read(model, version, path)

    def _read(self, model: str, version: int, path: Path) -> bytes:
        if path.is_dir():
            path /= f"{model}-{version}.bundle"
        try:
            return path.read_bytes()
        except OSError as err:
            raise NotFound(
                "BUNDLE_FILE_MISSING", f"the bundle file of version {version} of {model!r}: {err.strerror}"
            ) from None


class PinnedSource:
    """Finds out the digests of the pinned versions, from the pins, their files, the last time or the registry, and keeps
    on trying; then the follower does the rest."""

    connected = False

    def __init__(
        self,
        pins: Sequence[Pin],
        channel: Any,
        follower: Follower,
        bundles: LocalBundles,
        known: Sequence[Release],
        on_synced: Callable[[], object] = lambda: None,
    ) -> None:
        self._pins = list(pins)
        self._stub = registry_pb2_grpc.VersionServiceStub(channel)
        self._follower = follower
        self._bundles = bundles
        self._known: Mapping[tuple[Any, ...], str] = {
            (*release.key, track.version): track.bundle_sha256 for release in known for track in release.tracks
        }
        self._on_synced = on_synced
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop, name="pinned", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def attempt(self) -> bool:
        """Hand the releases to the follower, if every digest can be had; else say why not."""
        try:
            releases = releases_of(self._pins, self._digest)
        except TenonError as err:
            self._follower.unknown = f"a pinned version cannot be found: {err.message}"
            log.warning("a pinned version cannot be found", error=err.message)
            return False
        self._follower.begin_sync()
        for release in releases:
            self._follower.receive(release)
        self._follower.synced()
        self.connected = True
        self._on_synced()
        return True

    def _loop(self) -> None:
        failures = 0
        while not self._ending.is_set() and not self.attempt():
            failures += 1
            self._ending.wait(min(10.0, 0.2 * 2 ** min(failures, 6)) * random.uniform(0.75, 1.25))

    def _digest(self, pin: Pin) -> str:
        if pin.sha256:
            return pin.sha256
        if pin.bundle:
            return self._bundles.digest(pin)
        known = self._known.get((*pin.key, pin.version))
        if known is not None:
            # Versions never change: the registry need not be asked again.
            return known
        tenant, model = pin.key.tenant.value, pin.key.model
        request = pb.GetVersionRequest(tenant=tenant, model=model, version=pin.version)
        digest: str = self._stub.GetVersion(request, timeout=5.0).version.bundle_sha256
        return digest
