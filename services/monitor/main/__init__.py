"""Builds monitor and runs it."""

from __future__ import annotations

import time
from dataclasses import replace

from services.monitor import metrics
from services.monitor.api_grpc import FULL_NAME, MonitorServicer
from services.monitor.api_http import UseCases, add_routes
from services.monitor.api_http.sessions import Sessions
from services.monitor.clients.trainer import TrainerTrainings
from services.monitor.domain.incidents.from_canaries import CanaryCells
from services.monitor.domain.incidents.from_reports import WorseQuality
from services.monitor.domain.incidents.handle import HandleIncidents
from services.monitor.domain.log.erase import EraseSubject
from services.monitor.domain.quality.build import BuildQuality
from services.monitor.domain.quality.examined import ReadExamined
from services.monitor.domain.quality.mistakes import FindMistakes
from services.monitor.domain.quality.watch_estimates import WatchEstimates
from services.monitor.domain.reports.build import BuildReport
from services.monitor.domain.reports.evaluate import Evaluate, ShownIn
from services.monitor.domain.reports.history import ReadHistory, coarser, on_page
from services.monitor.domain.reports.model_view import ViewModel
from services.monitor.domain.reports.month import TellMonth
from services.monitor.domain.reports.overview import LookOver
from services.monitor.domain.retraining.consider import Retraining
from services.monitor.domain.retraining.signs import SignsInDepth
from services.monitor.domain.skew.compare import ReportSkew
from services.monitor.main.canaries import judge_trials
from services.monitor.main.labels import build_labels
from services.monitor.main.log import take_log, take_operations
from services.monitor.main.parts import MIGRATIONS, Parts, now_micros
from services.monitor.main.skew import compare_skew
from services.monitor.main.watching import watch
from services.monitor.settings import MonitorSettings
from services.monitor.storage.incidents.incidents import SqlIncidents
from services.monitor.storage.labels.lookup import SqlLabelLookup
from services.monitor.storage.log.erasure import SqlErasure
from services.monitor.storage.operations.operations import SqlCanaryVerdicts
from services.monitor.storage.retraining import SqlRetrainingRequests
from services.monitor.storage.skew import SqlSkewChecks
from tenon.api.monitor.v1 import monitor_pb2_grpc
from tenon.kit.config import load_settings
from tenon.kit.credentials import build_authenticator
from tenon.kit.grpc import Servicer, create_server
from tenon.kit.http import create_app
from tenon.kit.process import Background, Periodic, run_service
from tenon.kit.sql import database_problem
from tenon.kit.telemetry import configure_telemetry

DESCRIPTION = "The prediction log, labels, and verdicts on drift and quality."


def main() -> None:
    """Start, serve until told to stop, stop cleanly."""
    settings = load_settings(MonitorSettings, "database_url", "redis_url", "registry_grpc")
    configure_telemetry("monitor", settings.log_level, settings.otlp_endpoint)
    parts = Parts(settings)
    authenticator = build_authenticator(settings)
    background: list[Background] = [authenticator.background]

    labels = build_labels(parts)
    skew_checks = SqlSkewChecks(parts.database, parts.ids)
    sample, comparing = compare_skew(parts, skew_checks)
    background += take_log(parts, sample.offer if sample is not None else None)
    background += [*take_operations(parts), *labels.background, *comparing]

    log, versions, policies, window = parts.log, parts.versions, parts.policies, parts.window
    drift, quality = parts.drift, parts.quality
    build_report = BuildReport(
        log, parts.windows, parts.labels, versions, drift=drift, quality=quality, references=parts.references
    )
    read_examined = ReadExamined(log, parts.answered, SqlLabelLookup(parts.database, parts.ids))
    build_quality = BuildQuality(log, read_examined, versions, policies, quality=quality, drift=drift)

    worse_quality = WorseQuality(now_micros)
    shown = ShownIn(metrics.ReportGauges(), worse_quality)
    evaluate = Evaluate(log, build_report, parts.verdicts, shown, window=window, now=now_micros)

    estimate = WatchEstimates(log, build_quality, metrics.EstimateGauges().show, window=window, now=now_micros)

    def evaluate_once() -> None:
        with metrics.EVALUATION.time(), metrics.EVALUATION_FAILURES.count_exceptions():
            evaluate()

    canary_cells = CanaryCells(metrics.CanaryGauges(), now_micros)
    canary_verdicts = SqlCanaryVerdicts(parts.database)
    judge_canaries, judging = judge_trials(parts, canary_verdicts, canary_cells)
    incidents = SqlIncidents(parts.database)
    background += watch(parts, incidents, skew_checks, [worse_quality, canary_cells])

    retraining = Retraining(
        SqlRetrainingRequests(parts.database), TrainerTrainings(parts.trainer) if parts.trainer is not None else None,
        log, parts.verdicts, versions, parts.labels, policies, quality, window=window, now=now_micros,
        more_signs=SignsInDepth(build_quality, window=window, now=now_micros), show=metrics.show_retraining,
    )  # fmt: skip
    background += [
        Periodic("evaluator", evaluate_once, settings.monitor_evaluate_seconds),
        Periodic("estimates", estimate, settings.monitor_evaluate_seconds),
        *judging,
        Periodic("retraining", retraining, settings.monitor_retraining_seconds),
    ]

    look_over = LookOver(
        log, log, parts.verdicts, parts.releases, window=window, now=now_micros, trial=judge_canaries.current
    )
    build_point = BuildReport(
        log, parts.windows, parts.labels, versions, drift=replace(drift, drawn=False), quality=coarser(quality), references=parts.references,
        only_drifting=True,
    )  # fmt: skip
    read_history = ReadHistory(build_point, versions, parts.releases, drift=drift)
    use = UseCases(
        erase_subject=EraseSubject(
            log, SqlErasure(parts.database, parts.ids, parts.archive), labels.keyed, labels.reviews.forget
        ),
        build_report=build_report,
        build_quality=build_quality,
        record_labels=labels.record,
        record_keyed_labels=labels.record_keyed,
        review=labels.review,
        log=log,
        verdicts=parts.verdicts,
        policies=policies,
        incidents=HandleIncidents(incidents, now_micros, settings.monitor_docs_url),
        look_over=look_over,
        view_model=ViewModel(
            log,
            look_over,
            BuildReport(
                log,
                parts.windows,
                parts.labels,
                versions,
                drift=drift,
                quality=on_page(quality),
                references=parts.references,
            ),
            read_history,
            parts.releases,
            FindMistakes(parts.answered, SqlLabelLookup(parts.database, parts.ids)),
            judge_canaries.current,
            now_micros,
            retraining.known,
        ),
        report_skew=ReportSkew(skew_checks),
        tell_month=TellMonth(
            log, build_report, read_history, parts.releases, build_quality, now_micros, retraining.known
        ),
        sessions=Sessions(authenticator, authenticator.named, settings.service_tokens, time.time),
        judge_canaries=judge_canaries,
        canary_verdicts=canary_verdicts,
        retraining=retraining,
        now=now_micros,
        window=window,
    )

    def ready() -> dict[str, str]:
        problem = database_problem(parts.database, MIGRATIONS)
        return {"database": problem} if problem else {}

    app = create_app(
        service="monitor",
        authenticator=authenticator,
        ready=ready,
        max_body_bytes=settings.max_body_mib << 20,
        description=DESCRIPTION,
    )
    add_routes(app, use)
    servicer = MonitorServicer(
        build_report,
        labels.record,
        now_micros,
        window,
        use.report_skew,
        labels.review,
        build_quality,
        use.incidents,
        policies,
    )
    door = create_server(
        settings,
        authenticator,
        [Servicer(monitor_pb2_grpc.add_MonitorServiceServicer_to_server, servicer, FULL_NAME)],
    )
    run_service(app, settings, door=door, background=background, on_stop=[parts.close])
