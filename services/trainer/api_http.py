"""The HTTP door: models and runs for people, gateways and the command."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Query, Response

from services.trainer.domain.define_model import DefineModel
from services.trainer.domain.model import Model, Run
from services.trainer.domain.ports import Models, Runs
from services.trainer.domain.start_run import StartRun, find_run
from services.trainer.metrics import MODELS_DEFINED, RUNS_STARTED
from tenon.core.errors import Invalid, Place
from tenon.core.names import check_resource_name
from tenon.core.specs import ModelSpec, parse_spec
from tenon.core.tenancy import Scope, TenantId
from tenon.core.timestamps import rfc3339
from tenon.kit.http import allow

Reader = Annotated[TenantId, Depends(allow(Scope.READ))]
Writer = Annotated[TenantId, Depends(allow(Scope.WRITE))]
Limit = Annotated[int, Query(ge=1, le=500)]


def add_routes(app: FastAPI, *, models: Models, runs: Runs, define_model: DefineModel, start_run: StartRun) -> None:
    """Put the trainer's routes on an app."""
    router = APIRouter(prefix="/v1/tenants/{tenant}", tags=["trainer"])

    @router.put("/models/{name}")
    def put_model(tenant: Writer, name: str, spec: Annotated[Any, Body()], dry_run: bool = False) -> dict[str, Any]:
        """Declare a model: its document as JSON in camelCase, without `kind`. With `dry_run` nothing is stored."""
        check_resource_name(name, "model")
        parsed = parse_spec(ModelSpec, {"name": name, **spec} if isinstance(spec, dict) else spec)
        if parsed.name != name:
            raise Invalid(
                "NAME_MISMATCH",
                f"the document's name is {parsed.name!r}, the path says {name!r}",
                place=Place(field="name"),
            )
        change, model = define_model(tenant, parsed, dry_run=dry_run)
        if not dry_run:
            MODELS_DEFINED.labels(change).inc()
        return {"change": change, **model_body(model)}

    @router.get("/models")
    def list_models(tenant: Reader) -> dict[str, Any]:
        """Every model at its newest revision, by name."""
        return {"models": [model_body(model) for model in models.list(tenant)]}

    @router.get("/models/{name}")
    def get_model(tenant: Reader, name: str) -> dict[str, Any]:
        """A model at its newest revision."""
        return model_body(models.get(tenant, name))

    @router.post("/models/{name}/runs", status_code=202)
    def post_run(
        tenant: Writer, name: str, response: Response, wanted: Annotated[Any, Body()] = None
    ) -> dict[str, Any]:
        """Train: answers at once with a run that is queued. The same `idempotency_key` gives the same run again."""
        run = start_run(tenant, name, _idempotency_key(wanted))
        RUNS_STARTED.inc()
        response.headers["location"] = f"/v1/tenants/{tenant}/runs/{run.id}"
        return run_body(run)

    @router.get("/runs")
    def list_runs(tenant: Reader, model: str | None = None, limit: Limit = 50) -> dict[str, Any]:
        """Runs, newest first."""
        return {"runs": [run_body(run) for run in runs.list(tenant, model, limit)]}

    @router.get("/runs/{run_id}")
    def get_run(tenant: Reader, run_id: str) -> dict[str, Any]:
        """A run as it is now."""
        return run_body(find_run(runs, tenant, run_id))

    app.include_router(router)


def model_body(model: Model) -> dict[str, Any]:
    """A model on the wire."""
    return {
        "tenant": model.tenant.value,
        "name": model.name,
        "revision": model.revision,
        "digest": model.digest,
        "spec": model.spec.canonical(),
    }


def run_body(run: Run) -> dict[str, Any]:
    """A run on the wire; what is not known yet is null."""
    return {
        "id": run.id,
        "tenant": run.tenant.value,
        "model": run.model,
        "model_revision": run.model_revision,
        "state": run.state.value,
        "progress": run.progress,
        "step": run.step,
        "attempts": run.attempts,
        "reason": run.reason or None,
        "problem": run.problem or None,
        "hint": run.hint or None,
        "version": run.version or None,
        "bundle_sha256": run.bundle_sha256 or None,
        "evidence": run.evidence,
        "gates": run.gates,
        "created_at": rfc3339(run.created_at),
        "started_at": rfc3339(run.started_at) if run.started_at is not None else None,
        "finished_at": rfc3339(run.finished_at) if run.finished_at is not None else None,
    }


def _idempotency_key(wanted: Any) -> str:
    if wanted is None:
        return ""
    if not isinstance(wanted, dict) or set(wanted) - {"idempotency_key"}:
        raise Invalid("REQUEST_INVALID", 'the body is {"idempotency_key": "TEXT"}, or empty')
    key = wanted.get("idempotency_key") or ""
    if not isinstance(key, str):
        raise Invalid("REQUEST_INVALID", "idempotency_key is text", place=Place(field="idempotency_key"))
    return key
