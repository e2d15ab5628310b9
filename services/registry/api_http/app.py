"""Puts the routes together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI

from services.registry.api_http.models import models_router
from services.registry.api_http.releases import releases_router
from services.registry.api_http.tenants import tenants_router
from services.registry.domain.audit import AuditLog
from services.registry.domain.keys import KeyRing
from services.registry.domain.releases import ReleaseDesk
from services.registry.domain.serving import ServingBoard
from services.registry.domain.tenants import TenantBook
from services.registry.domain.versions import VersionShelf
from tenon.kit.auth import Authenticator
from tenon.kit.http import create_app


@dataclass(frozen=True)
class HttpDoor:
    """The use cases behind the door."""

    tenants: TenantBook
    keys: KeyRing
    versions: VersionShelf
    releases: ReleaseDesk
    serving: ServingBoard
    audit: AuditLog


def build_app(
    door: HttpDoor, authenticator: Authenticator, ready: Callable[[], dict[str, str]], max_body_bytes: int
) -> FastAPI:
    """The whole door."""
    app = create_app(
        service="registry",
        authenticator=authenticator,
        ready=ready,
        max_body_bytes=max_body_bytes,
        description="Tenants and keys, model versions, releases, what is really served, and the audit log.",
    )
    app.include_router(tenants_router(door.tenants, door.keys, door.audit))
    app.include_router(models_router(door.versions))
    app.include_router(releases_router(door.releases, door.serving))
    return app
