"""Routes of releases and of what is really served."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query

from services.registry.api_http.shapes import (
    Caller,
    PromoteBody,
    Reader,
    ReleaseBody,
    RollbackBody,
    Writer,
    change_json,
    disagreement_json,
    release_json,
    replica_json,
)
from services.registry.domain.releases import Outcome, ReleaseDesk
from services.registry.domain.serving import ServingBoard
from services.registry.metrics import RELEASES
from tenon.kit.http import JsonResponse

Limit = Annotated[int, Query(ge=1, le=500)]


def releases_router(releases: ReleaseDesk, serving: ServingBoard) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/tenants/{tenant}", tags=["releases"])

    @router.get("/models/{model}/release")
    def get_release(tenant: Reader, model: str) -> JsonResponse:
        """What is desired now."""
        return JsonResponse(release_json(releases.current(tenant, model)))

    @router.put("/models/{model}/release")
    def set_release(tenant: Writer, caller: Caller, model: str, body: ReleaseBody) -> JsonResponse:
        """Serve these versions, as a new revision; `change` is `unchanged` when they are served already."""
        outcome = releases.set(
            tenant,
            model,
            body.wish(),
            caller.name,
            force=body.force,
            reason=body.reason,
            expected_revision=body.expected_revision,
            automatic=body.automatic.wanted() if body.automatic else None,
        )
        return _answer(outcome)

    @router.post("/models/{model}/release:promote")
    def promote_release(
        tenant: Writer, caller: Caller, model: str, body: Annotated[PromoteBody | None, Body()] = None
    ) -> JsonResponse:
        """Make the canary, or the named arm, stable."""
        given = body or PromoteBody()
        return _answer(
            releases.promote(
                tenant,
                model,
                caller.name,
                arm=given.arm,
                reason=given.reason,
                expected_revision=given.expected_revision,
            )
        )

    @router.post("/models/{model}/release:rollback")
    def rollback_release(
        tenant: Writer, caller: Caller, model: str, body: Annotated[RollbackBody | None, Body()] = None
    ) -> JsonResponse:
        """Serve an earlier revision's content again."""
        given = body or RollbackBody()
        return _answer(
            releases.rollback(
                tenant,
                model,
                caller.name,
                to_revision=given.to_revision,
                reason=given.reason,
                expected_revision=given.expected_revision,
            )
        )

    @router.get("/models/{model}/release/history")
    def release_history(tenant: Reader, model: str, limit: Limit = 50) -> JsonResponse:
        """Revisions, newest first."""
        return JsonResponse({"releases": [release_json(item) for item in releases.history(tenant, model, limit)]})

    @router.get("/models/{model}/serving")
    def model_serving(tenant: Reader, model: str) -> JsonResponse:
        """What is desired of a model, and what every living replica serves."""
        view = serving.view(tenant, model)
        desired = list(view.desired)
        body: dict[str, Any] = {
            "tenant": tenant.value,
            "model": model,
            "settled": view.settled,
            "desired": release_json(desired[0]) if desired else None,
            "replicas": [replica_json(replica, desired) for replica in view.replicas],
            "disagreements": [disagreement_json(line) for line in view.disagreements],
        }
        return JsonResponse(body)

    @router.get("/models/{model}/serving/history")
    def serving_history(tenant: Reader, model: str, limit: Limit = 100) -> JsonResponse:
        """Which replica served what from when on, as measured; newest first."""
        return JsonResponse({"changes": [change_json(item) for item in serving.history(tenant, model, limit)]})

    @router.get("/serving")
    def tenant_serving(tenant: Reader) -> JsonResponse:
        """The same for all of a tenant's models."""
        view = serving.view(tenant)
        desired = list(view.desired)
        body = {
            "tenant": tenant.value,
            "settled": view.settled,
            "desired": [release_json(release) for release in desired],
            "replicas": [replica_json(replica, desired) for replica in view.replicas],
            "disagreements": [disagreement_json(line) for line in view.disagreements],
        }
        return JsonResponse(body)

    return router


def _answer(outcome: Outcome) -> JsonResponse:
    if outcome.changed:
        RELEASES.labels(outcome.release.action).inc()
    change = "created" if outcome.changed else "unchanged"
    return JsonResponse(release_json(outcome.release) | {"change": change})
