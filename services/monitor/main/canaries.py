"""Verdicts on canaries and shadows."""

from __future__ import annotations

from services.monitor import metrics
from services.monitor.clients.trials import RegistryTrials
from services.monitor.domain.canary.judge_all import JudgeCanaries
from services.monitor.domain.incidents.from_canaries import CanaryCells
from services.monitor.main.parts import Parts, now_micros
from services.monitor.storage.operations.operations import SqlCanaryVerdicts
from tenon.kit.process import Background, Periodic


def judge_trials(
    parts: Parts, verdicts: SqlCanaryVerdicts, cells: CanaryCells
) -> tuple[JudgeCanaries, list[Background]]:
    """What judges all that is on trial, now and again and when it is asked."""
    judge = JudgeCanaries(
        RegistryTrials(parts.registry), parts.operations, parts.windows, parts.labels, parts.versions, parts.policies,
        verdicts, cells, parts.same_requests, now_micros,
    )  # fmt: skip

    def judge_once() -> None:
        with metrics.CANARY_FAILURES.count_exceptions():
            judge()

    return judge, [Periodic("canaries", judge_once, parts.settings.monitor_canary_seconds)]
