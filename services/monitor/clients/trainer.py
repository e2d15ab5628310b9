"""The trainer: runs are started and followed by gRPC."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from services.monitor.domain.retraining.judge import TrainingRun
from tenon.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from tenon.core.manifest import Evidence
from tenon.kit.grpc_client import retrying

if TYPE_CHECKING:
    import grpc

    from tenon.core.tenancy import TenantId

_DEADLINE_SECONDS = 5.0


class TrainerTrainings:
    """See `domain.retraining.Trainings`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = trainer_pb2_grpc.TrainingServiceStub(channel)

    def learns_nothing_new(self, tenant: TenantId, model: str) -> str:
        """See the port. A test period that begins on a fixed day keeps all later rows out of the training for ever."""
        request = trainer_pb2.GetModelRequest(tenant=tenant.value, model=model)
        answer = retrying(lambda: self._stub.GetModel(request, timeout=_DEADLINE_SECONDS))
        day = json.loads(answer.model.spec_json).get("split", {}).get("testFrom")
        if not day:
            return ""
        return (
            f"the Model document {model!r} tests on everything from {day} on, so a new training would learn from the same rows; "
            "give split.test, a length before the last row, instead of split.testFrom"
        )

    def start(self, tenant: TenantId, model: str, key: str) -> str:
        """See the port."""
        request = trainer_pb2.StartRunRequest(tenant=tenant.value, model=model, idempotency_key=key)
        return str(retrying(lambda: self._stub.StartRun(request, timeout=_DEADLINE_SECONDS)).run.id)

    def run(self, tenant: TenantId, run_id: str) -> TrainingRun:
        """See the port."""
        request = trainer_pb2.GetRunRequest(tenant=tenant.value, run_id=run_id)
        run = retrying(lambda: self._stub.GetRun(request, timeout=_DEADLINE_SECONDS)).run
        if run.state not in ("succeeded", "failed"):
            return TrainingRun(finished=False)
        evidence = Evidence.model_validate_json(run.evidence_json) if run.state == "succeeded" else None
        return TrainingRun(True, run.version, evidence, f"{run.reason}: {run.problem}" if run.problem else "")
