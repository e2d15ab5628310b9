"""The gRPC door: the same as the HTTP door, for services."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.trainer.domain.model import Model, Run
from services.trainer.domain.ports import Models, Runs
from services.trainer.domain.start_run import StartRun, find_run
from services.trainer.metrics import RUNS_STARTED
from tenon.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import Scope
from tenon.kit.grpc import Servicer, allowed_tenant

DEFAULT_LIMIT, MAX_LIMIT = 50, 500


class TrainingService(trainer_pb2_grpc.TrainingServiceServicer):
    """See trainer.proto."""

    def __init__(self, *, models: Models, runs: Runs, start_run: StartRun) -> None:
        self._models, self._runs, self._start_run = models, runs, start_run

    def GetModel(
        self, request: trainer_pb2.GetModelRequest, context: grpc.ServicerContext
    ) -> trainer_pb2.GetModelResponse:
        """The newest revision of a model."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        return trainer_pb2.GetModelResponse(model=_model(self._models.get(tenant, request.model)))

    def ListModels(
        self, request: trainer_pb2.ListModelsRequest, context: grpc.ServicerContext
    ) -> trainer_pb2.ListModelsResponse:
        """All models, by name."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        return trainer_pb2.ListModelsResponse(models=[_model(model) for model in self._models.list(tenant)])

    def StartRun(
        self, request: trainer_pb2.StartRunRequest, context: grpc.ServicerContext
    ) -> trainer_pb2.StartRunResponse:
        """Queue a run."""
        tenant = allowed_tenant(request.tenant, Scope.WRITE)
        run = self._start_run(tenant, request.model, request.idempotency_key)
        RUNS_STARTED.inc()
        return trainer_pb2.StartRunResponse(run=_run(run))

    def GetRun(self, request: trainer_pb2.GetRunRequest, context: grpc.ServicerContext) -> trainer_pb2.GetRunResponse:
        """A run as it is now."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        return trainer_pb2.GetRunResponse(run=_run(find_run(self._runs, tenant, request.run_id)))

    def ListRuns(
        self, request: trainer_pb2.ListRunsRequest, context: grpc.ServicerContext
    ) -> trainer_pb2.ListRunsResponse:
        """Runs, newest first."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        if not 0 <= request.limit <= MAX_LIMIT:
            raise Invalid("REQUEST_INVALID", f"limit is 1 to {MAX_LIMIT}", place=Place(field="limit"))
        found = self._runs.list(tenant, request.model or None, request.limit or DEFAULT_LIMIT)
        return trainer_pb2.ListRunsResponse(runs=[_run(run) for run in found])


def training_servicer(*, models: Models, runs: Runs, start_run: StartRun) -> Servicer:
    """The service as the kit's server wants it."""
    add: Callable[[Any, grpc.Server], None] = trainer_pb2_grpc.add_TrainingServiceServicer_to_server
    service = TrainingService(models=models, runs=runs, start_run=start_run)
    return Servicer(add, service, "tenon.api.trainer.v1.TrainingService")


def _model(model: Model) -> trainer_pb2.Model:
    spec = json.dumps(model.spec.canonical(), sort_keys=True).encode()
    return trainer_pb2.Model(tenant=model.tenant.value, name=model.name, revision=model.revision, spec_json=spec)


def _run(run: Run) -> trainer_pb2.Run:
    return trainer_pb2.Run(
        id=run.id,
        tenant=run.tenant.value,
        model=run.model,
        model_revision=run.model_revision,
        state=run.state.value,
        progress=run.progress,
        step=run.step,
        attempts=run.attempts,
        reason=run.reason,
        problem=run.problem,
        hint=run.hint,
        version=run.version,
        bundle_sha256=run.bundle_sha256,
        evidence_json=json.dumps(run.evidence).encode() if run.evidence is not None else b"",
        gates_json=json.dumps(run.gates).encode() if run.evidence is not None else b"",
        created_at=_timestamp(run.created_at),
        started_at=_timestamp(run.started_at),
        finished_at=_timestamp(run.finished_at),
    )


def _timestamp(micros: int | None) -> Timestamp | None:
    if micros is None:
        return None
    stamp = Timestamp()
    stamp.FromMicroseconds(micros)
    return stamp
