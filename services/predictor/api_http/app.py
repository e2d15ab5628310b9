"""The HTTP door: health, metadata and repository index by FastAPI; predictions by `PredictDoor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from prometheus_client import generate_latest

import tenon
from services.predictor.api_http.admission import Admission
from services.predictor.api_http.described import describe
from services.predictor.api_http.door import PredictDoor
from services.predictor.api_http.naming import named_by
from services.predictor.api_http.repository import add_repository_paths
from services.predictor.domain.cold import Cold
from services.predictor.domain.model import Serving
from services.predictor.domain.naming import HostNames
from services.predictor.domain.ports import Observer
from services.predictor.domain.predict import Predictor
from services.predictor.domain.repository import Repository
from services.predictor.domain.tensors import metadata_of
from tenon.core.errors import Invalid
from tenon.core.tenancy import Scope, TenantId
from tenon.kit.auth import Authenticator
from tenon.kit.http import JsonResponse, create_app, principal_of
from tenon.kit.openapi import amend

EXTENSIONS = ["binary_tensor_data", "model_repository", "statistics"]


def _tenant(request: Request) -> TenantId:
    return principal_of(request).tenant_for(_named(request), Scope.PREDICT)


def _named(request: Request) -> str | None:
    return named_by(dict(request.scope["headers"]), request.scope.get("tenon.named"), request.app.state.hosts)


Tenant = Annotated[TenantId, Depends(_tenant)]


def metadata(versions: list[Serving], serving: Serving) -> dict[str, Any]:
    """A model's metadata in the form of the protocol."""
    served = serving.served
    sources = {column.name: column for column in served.columns}
    return {
        "name": served.model,
        "versions": [str(item.served.version) for item in versions],
        "platform": served.engine.replace("-", "_"),
        "properties": {"engine": served.engine, "kernel": served.kernel, "parity": served.parity},
        "inputs": [
            {
                "name": name,
                "datatype": datatype,
                "shape": shape,
                "parameters": {"source": sources[name].source, "nullable": sources[name].nullable},
            }
            for name, datatype, shape in metadata_of(served.columns)
        ],
        "outputs": [
            {"name": served.output, "datatype": "FP64", "shape": [-1]},
            {"name": "prediction_id", "datatype": "BYTES", "shape": [-1]},
        ],
    }


def build_app(
    *,
    predictor: Predictor,
    authenticator: Authenticator,
    observer: Observer,
    ready: Callable[[], dict[str, str]],
    max_body_bytes: int,
    max_inflated_bytes: int,
    max_json_bytes: int,
    admission: Admission,
    inline_rows: int,
    repository: Repository,
    hosts: HostNames | None = None,
    expose: Callable[[], bytes] = generate_latest,
) -> PredictDoor:
    """The app: `PredictDoor` before FastAPI's, which is its `app`."""
    app = create_app(
        service="predictor",
        authenticator=authenticator,
        ready=ready,
        max_body_bytes=max_body_bytes,
        expose=expose,
        description="Predictions: Open Inference Protocol V2 (/v2) and by entity (/v1).",
    )
    # A redirected POST loses its body or its key in many clients.
    app.router.redirect_slashes = False
    app.state.hosts = hosts
    table = predictor.table

    def look(tenant: TenantId, model: str, version: str | None) -> tuple[list[Serving], Serving]:
        entry = table.find(tenant, model)
        serving = table.find_version(tenant, model, version) if version is not None else entry.answering()[0]
        return list(entry.answering()), serving

    def find(tenant: TenantId, model: str, version: str | None) -> tuple[list[Serving], Serving]:
        try:
            return look(tenant, model, version)
        except Cold as cold:
            return predictor.patience.until(cold, lambda: look(tenant, model, version))

    @app.get("/v2")
    @app.get("/v2/", include_in_schema=False)
    def server_metadata(request: Request) -> JsonResponse:
        """Server metadata."""
        principal = principal_of(request)
        if named := _named(request):
            principal.tenant_for(named, Scope.PREDICT)
        return JsonResponse({"name": "tenon", "version": tenon.__version__, "extensions": EXTENSIONS})

    @app.get("/v2/health/live")
    def live() -> JsonResponse:
        """Whether the process answers; needs no key."""
        return JsonResponse({"live": True})

    @app.get("/v2/health/ready")
    def server_ready() -> JsonResponse:
        """Whether every model that must be served is; needs no key. Both keys, because clients differ in which they read."""
        is_ready = not ready()
        return JsonResponse({"ready": is_ready, "live": True}, status_code=200 if is_ready else 503)

    @app.get("/v2/models")
    def models(tenant: Tenant) -> JsonResponse:
        """The tenant's models."""
        return JsonResponse({"models": table.models(tenant)})

    # Before the paths of one model: `stats` is the name of none.
    add_repository_paths(app, repository)

    @app.get("/v2/models/{model}")
    @app.get("/v2/models/{model}/versions/{version}")
    def model_metadata(tenant: Tenant, model: str, version: str | None = None) -> JsonResponse:
        """What a model takes and gives."""
        return JsonResponse(metadata(*find(tenant, model, version)))

    @app.get("/v2/models/{model}/ready")
    @app.get("/v2/models/{model}/versions/{version}/ready")
    def model_ready(tenant: Tenant, model: str, version: str | None = None) -> JsonResponse:
        """Whether a model answers; 404 when it does not."""
        find(tenant, model, version)
        return JsonResponse({"name": model, "ready": True})

    _document_predict_paths(app)
    amend(app, describe)
    return PredictDoor(
        app,
        predictor=predictor,
        authenticator=authenticator,
        observer=observer,
        max_body_bytes=max_body_bytes,
        max_inflated_bytes=max_inflated_bytes,
        max_json_bytes=max_json_bytes,
        admission=admission,
        inline_rows=inline_rows,
        hosts=hosts,
    )


def _document_predict_paths(app: FastAPI) -> None:
    """Entries for /docs and for wrong methods; `PredictDoor` answers POST before these are reached."""

    @app.post("/v2/models/{model}/infer")
    @app.post("/v2/models/{model}/versions/{version}/infer")
    def infer(model: str, version: str | None = None) -> Response:  # noqa: ARG001
        """Open Inference Protocol V2 inference: JSON, or binary tensors with `Inference-Header-Content-Length`."""
        raise Invalid("REQUEST_INVALID", "not reached")

    @app.post("/v1/models/{model}:predict")
    def predict(model: str, explain: bool = False) -> Response:  # noqa: ARG001
        """Predictions by entity: `{"instances": [{"entity": {…}, "features": {…}}]}`; with `?explain=true`, or
        `"explain": true` in the body, each answer says what every input contributed."""
        raise Invalid("REQUEST_INVALID", "not reached")
