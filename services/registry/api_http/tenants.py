"""Routes of tenants, their keys and their audit log."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query

from services.registry.api_http.shapes import Admin, Caller, KeyBody, Reader, Writer, audit_json, key_json, tenant_json
from services.registry.domain.audit import AuditLog
from services.registry.domain.keys import KeyRing
from services.registry.domain.tenants import TenantBook
from services.registry.metrics import KEYS
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import Scope, TenantId
from tenon.core.timestamps import parse_duration
from tenon.kit.http import JsonResponse


def tenants_router(tenants: TenantBook, keys: KeyRing, audit: AuditLog) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/tenants", tags=["tenants"])

    @router.get("")
    def list_tenants(caller: Caller) -> JsonResponse:
        """All tenants for the platform's keys; its own for a tenant's key."""
        if caller.tenant is None:
            caller.require(TenantId("all"), Scope.READ)
            return JsonResponse({"tenants": [tenant_json(tenant) for tenant in tenants.all()]})
        caller.require(caller.tenant, Scope.READ)
        return JsonResponse({"tenants": [tenant_json(tenants.get(caller.tenant))]})

    @router.put("/{tenant}")
    def apply_tenant(
        admin: Admin,
        tenant: Annotated[str, Path()],
        document: Annotated[dict[str, Any], Body(description="The canonical Tenant document, without its envelope.")],
        dry_run: Annotated[bool, Query(description="Say what would change, and change nothing.")] = False,
    ) -> JsonResponse:
        """Create or change a tenant; the same document again changes nothing."""
        applied = tenants.apply(TenantId(tenant), document, admin.name, dry_run=dry_run)
        return JsonResponse(
            {
                "tenant": tenant,
                "name": tenant,
                "change": applied.change.value,
                "revision": applied.revision,
                "digest": _digest(applied.spec),
                "spec": dict(applied.spec),
                "dry_run": dry_run,
            }
        )

    @router.get("/{tenant}")
    def get_tenant(tenant: Reader) -> JsonResponse:
        """One tenant."""
        found = tenants.get(tenant)
        return JsonResponse(tenant_json(found) | {"digest": _digest(found.spec)})

    @router.post("/{tenant}/keys", status_code=201)
    def create_key(tenant: Writer, caller: Caller, body: KeyBody) -> JsonResponse:
        """Make a key. The answer is the only place the key ever appears in."""
        expires_in = None if body.expires_in is None else parse_duration(body.expires_in, "expires_in")
        made = keys.create(tenant, body.scopes, caller, name=body.name, expires_in=expires_in)
        KEYS.labels("created").inc()
        return JsonResponse(key_json(made.key, _now()) | {"key": made.text}, status_code=201)

    @router.get("/{tenant}/keys")
    def list_keys(tenant: Reader) -> JsonResponse:
        """A tenant's keys, without the keys."""
        now = _now()
        return JsonResponse({"keys": [key_json(key, now) for key in keys.of_tenant(tenant)]})

    @router.delete("/{tenant}/keys/{key_id}")
    def revoke_key(tenant: Writer, caller: Caller, key_id: str) -> JsonResponse:
        """Make a key open nothing any more."""
        revoked = keys.revoke(tenant, key_id, caller.name)
        KEYS.labels("revoked").inc()
        return JsonResponse(key_json(revoked, _now()))

    @router.get("/{tenant}/audit")
    def read_audit(
        tenant: Reader,
        before: Annotated[int | None, Query(ge=1, description="Only lines with a smaller seq.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> JsonResponse:
        """Who did what, newest first."""
        entries = audit.read(tenant, before=before, limit=limit)
        more = bool(entries) and entries[-1].seq > 1
        return JsonResponse(
            {
                "entries": [audit_json(entry) for entry in entries],
                "head": entries[0].hash if entries and before is None else None,
                "next_before": entries[-1].seq if more else None,
            }
        )

    @router.get("/{tenant}/audit:verify")
    def verify_audit(
        tenant: Reader,
        head: Annotated[str | None, Query(description="A hash noted earlier, which must still occur.")] = None,
    ) -> JsonResponse:
        """Check the whole chain of hashes."""
        if head is not None and not (len(head) == 64 and set(head) <= set("0123456789abcdef")):
            raise Invalid("HASH_INVALID", "head is not a sha256 in lower-case hex", place=Place(field="head"))
        verdict = audit.verify(tenant, expected_head=head)
        return JsonResponse(
            {
                "intact": verdict.intact,
                "entries": verdict.entries,
                "head": verdict.head,
                "broken_at": verdict.broken_at,
                "problem": verdict.problem or None,
            }
        )

    return router


def _digest(spec: Mapping[str, Any]) -> str:
    text = json.dumps(dict(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _now() -> int:
    return time.time_ns() // 1000
