"""The registry: releases as they change, bundles, and the report of what is served."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

from services.predictor.domain.model import Release, Role, ServedModel, Track
from services.predictor.domain.releases import Follower
from tenon.api.registry.v1 import registry_pb2 as pb
from tenon.api.registry.v1 import registry_pb2_grpc
from tenon.core.errors import Invalid, TenonError, TooLarge
from tenon.core.tenancy import TenantId
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

_ROLES = {pb.ROLE_STABLE: Role.STABLE, pb.ROLE_CANARY: Role.CANARY, pb.ROLE_SHADOW: Role.SHADOW}
_ROLES_BACK = {role: number for number, role in _ROLES.items()}
_MAX_BUNDLE_BYTES = 1 << 30


def release_from_proto(message: pb.Release) -> Release:
    """A release of the domain. Raises `Invalid` for what no registry of ours would send."""
    tracks = []
    for track in message.tracks:
        try:
            role = Role(track.arm) if track.role == pb.ROLE_ARM else _ROLES[track.role]
        except (KeyError, ValueError):
            raise Invalid(
                "RELEASE_INVALID", f"revision {message.revision} of {message.model!r} has an unknown role"
            ) from None
        tracks.append(Track(role, track.version, track.bundle_sha256, track.weight_permille))
    return Release(TenantId(message.tenant), message.model, message.revision, tuple(tracks))


class ReleaseWatch:
    """Feeds a follower from the registry's stream, and connects again after every end, with growing jittered pauses."""

    def __init__(
        self,
        channel: Any,
        follower: Follower,
        tenants: Sequence[str] = (),
        on_synced: Callable[[], object] = lambda: None,
    ) -> None:
        self._stub = registry_pb2_grpc.ReleaseServiceStub(channel)
        self._follower = follower
        self._tenants = list(tenants)
        self._on_synced = on_synced
        self._ending = threading.Event()
        self._stream: Any = None
        self._thread: threading.Thread | None = None
        self.connected = False

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._loop, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ending.set()
        if self._stream is not None:
            self._stream.cancel()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _loop(self) -> None:
        failures = 0
        while not self._ending.is_set():
            try:
                self._watch()
                failures = 0
            except TenonError as err:
                failures = 0 if self.connected else failures + 1
                if not self._ending.is_set() and failures in (0, 1):
                    log.warning("the registry's releases cannot be watched; serving the last known", error=err.message)
            except Exception:
                # A background loop is a door: whatever ends the stream, it is opened again.
                failures += 1
                log.exception("watching releases failed")
            self.connected = False
            self._ending.wait(min(5.0, 0.1 * 2 ** min(failures, 6)) * random.uniform(0.5, 1.5))

    def _watch(self) -> None:
        self._stream = self._stub.WatchReleases(pb.WatchReleasesRequest(tenants=self._tenants))
        self._follower.begin_sync()
        for message in self._stream:
            if not self.connected:
                self.connected = True
                log.info("watching releases")
            if message.HasField("release"):
                try:
                    self._follower.receive(release_from_proto(message.release))
                except Invalid as err:
                    log.warning("a release was not understood", error=err.message)
            if message.synced:
                if not self._follower.synced():
                    log.error("the registry has no release at all; serving the last known")
                self._on_synced()
            if self._ending.is_set():
                return


class RegistryBundles:
    """Downloads bundles."""

    def __init__(self, channel: Any, *, timeout_seconds: float = 60.0) -> None:
        self._stub = registry_pb2_grpc.VersionServiceStub(channel)
        self._timeout = timeout_seconds

    def download(self, tenant: TenantId, model: str, version: int) -> bytes:
        """A bundle's bytes. Raises `TenonError`."""
        request = pb.DownloadBundleRequest(tenant=tenant.value, model=model, version=version)
        chunks, size = [], 0
        for message in self._stub.DownloadBundle(request, timeout=self._timeout):
            size += len(message.chunk)
            if size > _MAX_BUNDLE_BYTES:
                raise TooLarge("BUNDLE_TOO_LARGE", f"the bundle of {model!r} version {version} is over 1 GiB")
            chunks.append(message.chunk)
        return b"".join(chunks)


class RegistryReporter:
    """See `Reporter`."""

    def __init__(self, channel: Any, replica: str, serves_only: Sequence[str] = ()) -> None:
        self._stub = registry_pb2_grpc.ReleaseServiceStub(channel)
        self._replica = replica
        self._serves_only = list(serves_only)

    def report(self, models: Sequence[ServedModel], *, leaving: bool = False) -> None:
        """Send the whole state. Raises `TenonError`."""
        lines = [
            pb.ServedModel(
                tenant=model.tenant.value,
                model=model.model,
                revision=model.revision,
                tracks=[
                    pb.Track(
                        role=_ROLES_BACK.get(track.role, pb.ROLE_ARM),
                        arm=track.role if track.role.is_arm else "",
                        version=track.version,
                        bundle_sha256=track.bundle_sha256,
                        weight_permille=track.weight_permille,
                    )
                    for track in model.tracks
                ],
                problem=model.problem,
            )
            for model in models
        ]
        request = pb.ReportServingRequest(
            replica=self._replica, models=lines, leaving=leaving, serves_only=self._serves_only
        )
        self._stub.ReportServing(request, timeout=1.0 if leaving else 3.0)
