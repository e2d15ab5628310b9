"""What the registry has on trial, and what it is told of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from services.monitor.domain.canary.words import ANSWERING, CanaryJudgement, CanaryVerdict, Question, Stage, Trial
from services.monitor.domain.model import Role
from tenon.api.registry.v1 import registry_pb2, registry_pb2_grpc
from tenon.core.errors import DeadlineExceeded, Unavailable
from tenon.core.tenancy import TenantId
from tenon.kit.grpc_client import retrying

if TYPE_CHECKING:
    import grpc

_DEADLINE_SECONDS = 5.0
_ROLES = {registry_pb2.ROLE_CANARY: Role.CANARY, registry_pb2.ROLE_SHADOW: Role.SHADOW}
_VERDICTS = {
    CanaryVerdict.PROMOTE: registry_pb2.TRIAL_VERDICT_PROMOTE,
    CanaryVerdict.HOLD: registry_pb2.TRIAL_VERDICT_HOLD,
    CanaryVerdict.ROLL_BACK: registry_pb2.TRIAL_VERDICT_ROLL_BACK,
    CanaryVerdict.NOT_ENOUGH_EVIDENCE: registry_pb2.TRIAL_VERDICT_NOT_ENOUGH_EVIDENCE,
}


class RegistryTrials:
    """See `domain.judge_canaries.Trials`. While the registry is away, what was on trial is still judged."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = registry_pb2_grpc.ReleaseServiceStub(channel)
        self._known: list[Trial] | None = None
        self._lock = threading.Lock()

    def running(self) -> list[Trial]:
        """See the port."""
        try:
            answer = retrying(
                lambda: self._stub.ListTrials(registry_pb2.ListTrialsRequest(), timeout=_DEADLINE_SECONDS)
            )
        except (Unavailable, DeadlineExceeded):
            with self._lock:
                if self._known is None:
                    raise
                return self._known
        found = [_trial(message) for message in answer.trials]
        with self._lock:
            self._known = found
        return found

    def report(self, judgement: CanaryJudgement) -> str:
        """See the port; safe to send again."""
        trial, at = judgement.trial, Timestamp()
        at.FromMicroseconds(judgement.judged_at)
        request = registry_pb2.ReportVerdictRequest(
            tenant=trial.tenant.value,
            model=trial.model,
            revision=trial.revision,
            candidate_version=trial.candidate,
            verdict=_VERDICTS[judgement.verdict],
            summary=judgement.summary,
            judged_at=at,
            stage_answers=judgement.stage_answers,
        )
        answer = retrying(lambda: self._stub.ReportVerdict(request, timeout=_DEADLINE_SECONDS))
        return str(answer.waiting)


def _trial(message: registry_pb2.Trial) -> Trial:
    automatic = message.automatic if message.HasField("automatic") else None
    role = _ROLES.get(message.role, Role.CANARY)
    needs = ANSWERING if role == Role.CANARY else frozenset({Question.SCORES})
    if automatic is not None and automatic.needs:
        needs = frozenset(Question(name) for name in automatic.needs if name in set(Question))
    until = automatic.probation_until.ToMicroseconds() if automatic and automatic.HasField("probation_until") else 0
    return Trial(
        TenantId(message.tenant),
        message.model,
        message.revision,
        message.stable_version,
        message.candidate_version,
        role,
        tuple(
            Stage(
                stage.start.ToMicroseconds(),
                stage.end.ToMicroseconds() if stage.HasField("end") else None,
                stage.weight_permille / 1000,
            )
            for stage in message.stages
        ),
        needs,
        automatic is not None,
        until,
    )
