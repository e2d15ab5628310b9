"""Repository and statistics paths, in the shapes that Triton's clients know."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response

from services.predictor.api_http.naming import named_by
from services.predictor.domain.repository import Repository, Statistics
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import Scope, TenantId
from tenon.kit.http import JsonResponse, parse_json, principal_of


def _named(request: Request) -> str | None:
    return named_by(dict(request.scope["headers"]), request.scope.get("tenon.named"), request.app.state.hosts)


def _reader(request: Request) -> TenantId:
    return principal_of(request).tenant_for(_named(request), Scope.PREDICT)


def _writer(request: Request) -> TenantId:
    return principal_of(request).tenant_for(_named(request), Scope.WRITE)


async def _options(request: Request) -> dict[str, Any]:
    body = await request.body()
    options = parse_json(body) if body.strip() else {}
    if not isinstance(options, dict):
        raise Invalid("REQUEST_INVALID", "the body is not a JSON object", place=Place(line=1, column=1))
    return options


async def _parameters(request: Request) -> dict[str, Any]:
    parameters = (await _options(request)).get("parameters") or {}
    if not isinstance(parameters, dict):
        raise Invalid("REQUEST_INVALID", "`parameters` is an object", place=Place(field="parameters"))
    return parameters


Reader = Annotated[TenantId, Depends(_reader)]
Writer = Annotated[TenantId, Depends(_writer)]
Options = Annotated[dict[str, Any], Depends(_options)]
Parameters = Annotated[dict[str, Any], Depends(_parameters)]


def add_repository_paths(app: FastAPI, repository: Repository) -> None:
    """The paths."""

    @app.post("/v2/repository/index")
    def index(tenant: Reader, options: Options) -> JsonResponse:
        """Every released version and its state; the body may be empty."""
        ready = options.get("ready", False)
        if not isinstance(ready, bool):
            raise Invalid("REQUEST_INVALID", "`ready` is true or false", place=Place(field="ready"))
        return JsonResponse([line._asdict() for line in repository.index(tenant, ready_only=ready)])

    @app.post("/v2/repository/models/{model}/load")
    def load(tenant: Writer, model: str, parameters: Parameters) -> Response:
        """Have what is released of a model in memory now; needs the scope `write`. The body may be empty."""
        repository.load(tenant, model, parameters)
        return Response()

    @app.post("/v2/repository/models/{model}/unload")
    def unload(tenant: Writer, model: str, _parameters: Parameters) -> Response:
        """Take a model out of memory until it is asked for; needs the scope `write`. The body may be empty."""
        repository.unload(tenant, model)
        return Response()

    @app.get("/v2/models/stats")
    def all_statistics(tenant: Reader) -> JsonResponse:
        """What every version has answered since this process began."""
        return JsonResponse({"model_stats": [_json(item) for item in repository.statistics(tenant)]})

    @app.get("/v2/models/{model}/stats")
    @app.get("/v2/models/{model}/versions/{version}/stats")
    def statistics(tenant: Reader, model: str, version: str = "") -> JsonResponse:
        """What a model's versions have answered since this process began."""
        return JsonResponse({"model_stats": [_json(item) for item in repository.statistics(tenant, model, version)]})


def _json(item: Statistics) -> dict[str, Any]:
    usage = item.usage
    whole = {"count": usage.requests, "ns": round(usage.seconds * 1e9)}
    none = {"count": 0, "ns": 0}
    return {
        "name": item.model,
        "version": str(item.version),
        "last_inference": usage.last_at_ms,
        "inference_count": usage.rows,
        "execution_count": usage.requests,
        # Only whole requests are timed: taking each apart would cost more than most of its parts.
        "inference_stats": {
            "success": whole,
            "fail": none,
            "queue": none,
            "compute_input": none,
            "compute_infer": whole,
            "compute_output": none,
            "cache_hit": none,
            "cache_miss": none,
        },
        "batch_stats": [],
        "memory_usage": [{"type": "CPU", "id": 0, "byte_size": item.nbytes}] if item.nbytes else [],
    }
