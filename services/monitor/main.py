"""Builds monitor and runs it."""

from __future__ import annotations

import math
import secrets
import time
from typing import TYPE_CHECKING

from services.monitor import metrics
from services.monitor.api_grpc import FULL_NAME, MonitorServicer
from services.monitor.api_http import UseCases, add_routes
from services.monitor.api_http.sessions import Sessions
from services.monitor.clients.features import FeatureValues
from services.monitor.clients.registry import RegistryVersions
from services.monitor.clients.releases import RegistryReleases
from services.monitor.clients.spines import GrpcSpines
from services.monitor.clients.trainer import TrainerTrainings
from services.monitor.clients.trials import RegistryTrials
from services.monitor.clients.webhooks import HttpWebhooks, WebhookFile
from services.monitor.domain.alerts.deliver import DeliverAlerts
from services.monitor.domain.canary.judge_all import JudgeCanaries
from services.monitor.domain.drift.judge import DriftPolicy
from services.monitor.domain.incidents.from_canaries import CanaryCells
from services.monitor.domain.incidents.from_reports import ExamineModel, WorseQuality
from services.monitor.domain.incidents.handle import HandleIncidents
from services.monitor.domain.incidents.words import IncidentPolicy
from services.monitor.domain.kept.segment import Segment
from services.monitor.domain.labels.from_datasets import LabelsFromDatasets
from services.monitor.domain.labels.record import RecordLabels
from services.monitor.domain.labels.record_keyed import JoinLatePredictions, RecordKeyedLabels
from services.monitor.domain.log.erase import EraseSubject
from services.monitor.domain.log.layouts import Layouts
from services.monitor.domain.log.sketch_later import SketchLater
from services.monitor.domain.log.take import TakePredictions
from services.monitor.domain.quality.build import BuildQuality
from services.monitor.domain.quality.examined import ReadExamined
from services.monitor.domain.quality.measure import QualityPolicy
from services.monitor.domain.quality.mistakes import FindMistakes
from services.monitor.domain.reports.build import BuildReport
from services.monitor.domain.reports.evaluate import Evaluate, ShownIn
from services.monitor.domain.reports.history import ReadHistory, coarser
from services.monitor.domain.reports.model_view import ViewModel
from services.monitor.domain.reports.month import TellMonth
from services.monitor.domain.reports.overview import LookOver
from services.monitor.domain.retraining.consider import Retraining
from services.monitor.domain.retraining.signs import SignsInDepth
from services.monitor.domain.review.decide import Review
from services.monitor.domain.skew.compare import CheckSkew, ReportSkew
from services.monitor.domain.skew.sample_rows import RowSample
from services.monitor.domain.watch_fleet import Cadence, WatchFleet
from services.monitor.settings import MonitorSettings
from services.monitor.storage.alert_outbox import SqlOutbox
from services.monitor.storage.answered import SqlAnswered
from services.monitor.storage.archive import Archive
from services.monitor.storage.archiving import Archiving
from services.monitor.storage.erasure import SqlErasure
from services.monitor.storage.former_batches import FormerBatches
from services.monitor.storage.incidents import SqlIncidents
from services.monitor.storage.keyed_labels import SqlBookmarks, SqlKeyedLabels
from services.monitor.storage.label_lookup import SqlLabelLookup
from services.monitor.storage.operations import SqlCanaryVerdicts, SqlOperations
from services.monitor.storage.policies import SqlPolicies
from services.monitor.storage.prediction_log import ModelIds, SqlLabels, SqlPredictionLog
from services.monitor.storage.retraining import SqlRetrainingRequests
from services.monitor.storage.review import SqlKnownLabels, SqlReviews
from services.monitor.storage.segments import SqlSegments
from services.monitor.storage.skew import SqlSkewChecks
from services.monitor.storage.spine import DeltaSpineRows, SqlDatasetLabels
from services.monitor.storage.unsketched import SqlUnsketched
from services.monitor.storage.verdicts import SqlManifests, SqlVerdicts
from services.monitor.storage.windows import SqlWindows
from services.monitor.worker import GROUP, batches_handler, dataset_handler, operations_handler
from tenon.api.monitor.v1 import monitor_pb2_grpc
from tenon.core.errors import Unavailable
from tenon.core.timestamps import parse_duration
from tenon.kit.batch_events import BatchConsumer
from tenon.kit.blobs import open_blobs
from tenon.kit.config import load_settings
from tenon.kit.credentials import build_authenticator
from tenon.kit.events import DATASET_COMMITTED, OPERATIONS, PREDICTIONS, Consumer
from tenon.kit.grpc import Servicer, create_server
from tenon.kit.grpc_client import open_channel
from tenon.kit.http import create_app
from tenon.kit.migrating import open_service_database
from tenon.kit.process import Background, Periodic, run_service, starting
from tenon.kit.sql import database_problem
from tenon.kit.telemetry import configure_telemetry, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.monitor.domain.alerts.routes import OperatorHook
    from services.monitor.domain.incidents.words import Cell
    from tenon.kit.sql import Database

logger = get_logger(__name__)

DESCRIPTION = "The prediction log, labels, and verdicts on drift and quality."


def now_micros() -> int:
    """Now, in microseconds since the epoch."""
    return time.time_ns() // 1000


MIGRATIONS = "services.monitor.migrations"
OPERATIONS_KEPT = 30 * 86_400 * 10**6
# A batch may come again after its predictor was down for as long.
TAKEN_KEPT = 30 * 86_400 * 10**6


def keep_log(archiving: Archiving, settings: MonitorSettings) -> None:
    """Move what is old enough into the archive, and forget what is older than is kept."""
    now = now_micros()
    metrics.ARCHIVED.inc(archiving.move(now - parse_duration(settings.monitor_archive_after)))
    oldest = archiving.oldest()
    metrics.ARCHIVE_AGE.set(0.0 if oldest is None else (now - oldest) / 1e6)
    archiving.forget(
        now - parse_duration(settings.monitor_rows_kept), now - parse_duration(settings.monitor_windows_kept),
        now - TAKEN_KEPT,
    )  # fmt: skip


def main() -> None:
    """Start, serve until told to stop, stop cleanly."""
    settings = load_settings(MonitorSettings, "database_url", "redis_url", "registry_grpc")
    configure_telemetry("monitor", settings.log_level, settings.otlp_endpoint)
    with starting():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        database = open_service_database(settings, MIGRATIONS)
    authenticator = build_authenticator(settings)

    ids = ModelIds()
    archive = Archive(open_blobs(settings.blob_url)) if settings.blob_url else None
    log, labels = SqlPredictionLog(database, ids, archive), SqlLabels(database, ids, archive)
    verdicts, manifests = SqlVerdicts(database, ids), SqlManifests(database, ids)
    policies = SqlPolicies(database)
    registry = open_channel(settings, settings.registry_grpc)
    versions = RegistryVersions(registry, manifests)
    releases = RegistryReleases(registry, now_micros)

    drift = DriftPolicy(
        false_discovery_rate=settings.monitor_false_discovery_rate,
        min_rows=settings.monitor_min_rows,
        effect_floor=settings.monitor_effect_floor,
        psi_floor=settings.monitor_psi_floor,
        share_floor=settings.monitor_share_floor,
    )
    quality = QualityPolicy(min_rows=settings.monitor_min_labels, margin=settings.monitor_quality_margin)
    layouts = Layouts(versions, time.monotonic)
    windows = SqlWindows(database, ids, layouts, archive)
    build_report = BuildReport(log, windows, labels, versions, drift=drift, quality=quality)
    record_labels = RecordLabels(labels, log, versions, now_micros)
    answered, keyed = SqlAnswered(database, ids, archive), SqlKeyedLabels(database, ids)
    read_examined = ReadExamined(log, answered, SqlLabelLookup(database, ids))
    build_quality = BuildQuality(log, read_examined, versions, policies, quality=quality, drift=drift)
    record_keyed = RecordKeyedLabels(log, answered, keyed, versions, record_labels)
    join_late = JoinLatePredictions(answered, keyed, SqlBookmarks(database, ids), record_labels)
    known, reviews = SqlKnownLabels(database, ids), SqlReviews(database, ids)
    review = Review(log, answered, known, reviews, versions, policies, record_labels, now_micros)
    window = parse_duration(settings.monitor_window)
    # Without a features service there is nothing to compare with.
    compares = bool(settings.features_grpc) and settings.monitor_skew_rows_per_hour > 0
    sample = RowSample(
        math.ceil(settings.monitor_skew_rows_per_hour * settings.monitor_skew_seconds / 3600), metrics.expect_skew
    )

    def recorded(segment: Segment) -> None:
        metrics.count_predictions(segment, now_micros())
        if compares:
            sample.offer(segment)

    take = TakePredictions(SqlSegments(database, ids), layouts, recorded)
    sketch_later = SketchLater(SqlUnsketched(database, ids, archive), layouts)
    former = FormerBatches(database)
    skew_checks = SqlSkewChecks(database, ids)
    features = open_channel(settings, settings.features_grpc) if compares else None
    background: list[Background] = []
    if features is not None:
        values = FeatureValues(features)
        check_skew = CheckSkew(sample, versions, values, skew_checks, now=now_micros, counted=metrics.count_skew)
        background.append(Periodic("skew", check_skew, settings.monitor_skew_seconds))
    worse_quality = WorseQuality(now_micros)
    shown = ShownIn(metrics.ReportGauges(), worse_quality)
    # Without those who own models, data sets and the lake, labels come by API and upload only.
    if settings.trainer_grpc and settings.ingest_grpc and settings.blob_url:
        spines = GrpcSpines(
            open_channel(settings, settings.trainer_grpc),
            open_channel(settings, settings.ingest_grpc),
            open_channel(settings, settings.features_grpc) if settings.features_grpc else None,
        )
        from_datasets = LabelsFromDatasets(
            spines, DeltaSpineRows(open_blobs(settings.blob_url)), log, log, answered, SqlBookmarks(database, ids),
            SqlDatasetLabels(database, ids), record_labels, now_micros,
        )  # fmt: skip
        background += [
            Consumer(settings.redis_url, DATASET_COMMITTED, GROUP, dataset_handler(from_datasets.committed)),
            Periodic("labels of late predictions", from_datasets.late, settings.monitor_join_seconds),
            Periodic("labels from data sets", from_datasets.heal, 30 * settings.monitor_join_seconds),
        ]
    evaluate = Evaluate(log, build_report, verdicts, shown, window=window, now=now_micros)

    incidents = SqlIncidents(database)
    canary_cells = CanaryCells(metrics.CanaryGauges(), now_micros)
    examine = ExamineModel(windows, drift, ReportSkew(skew_checks))
    sources: list[Callable[[], list[Cell]]] = [worse_quality, canary_cells]
    background += _watching(settings, database, incidents, log, examine, policies, releases, sources)

    sessions = Sessions(authenticator, authenticator.named, settings.service_tokens, time.time)

    consumer = BatchConsumer(
        settings.redis_url,
        PREDICTIONS,
        GROUP,
        batches_handler(take),
        claim_after_seconds=settings.monitor_claim_after_seconds,
    )

    operations = SqlOperations(database)
    canary_verdicts = SqlCanaryVerdicts(database)
    judge_canaries = JudgeCanaries(
        RegistryTrials(registry), operations, windows, labels, versions, policies, canary_verdicts, canary_cells,
        now_micros,
    )  # fmt: skip
    look_over = LookOver(log, log, verdicts, releases, window=window, now=now_micros, trial=judge_canaries.current)
    build_point = BuildReport(log, windows, labels, versions, drift=drift, quality=coarser(quality))
    read_history = ReadHistory(build_point, versions, releases, drift=drift)
    view_model = ViewModel(
        log,
        look_over,
        build_report,
        read_history,
        releases,
        FindMistakes(log, answered, known),
        judge_canaries.current,
        now_micros,
    )
    trainer = open_channel(settings, settings.trainer_grpc) if settings.trainer_grpc else None
    retraining = Retraining(
        SqlRetrainingRequests(database), TrainerTrainings(trainer) if trainer is not None else None, log, verdicts,
        versions, labels, policies, quality, window=window, now=now_micros,
        more_signs=SignsInDepth(build_quality, window=window, now=now_micros),
    )  # fmt: skip
    tell_month = TellMonth(log, build_report, read_history, releases, build_quality, now_micros)
    operations_consumer = Consumer(
        settings.redis_url,
        OPERATIONS,
        GROUP,
        operations_handler(lambda record: operations.take(record, now_micros())),
        claim_after_seconds=settings.monitor_claim_after_seconds,
    )

    def judge_once() -> None:
        with metrics.CANARY_FAILURES.count_exceptions():
            judge_canaries()

    def evaluate_once() -> None:
        with metrics.EVALUATION.time(), metrics.EVALUATION_FAILURES.count_exceptions():
            evaluate()

    def settle() -> None:
        while former.move():
            pass
        sketch_later()

    def ready() -> dict[str, str]:
        problem = database_problem(database, MIGRATIONS)
        return {"database": problem} if problem else {}

    app = create_app(
        service="monitor",
        authenticator=authenticator,
        ready=ready,
        max_body_bytes=settings.max_body_mib << 20,
        description=DESCRIPTION,
    )
    erase_subject = EraseSubject(log, SqlErasure(database, ids, archive), keyed, reviews.forget)
    use = UseCases(
        erase_subject=erase_subject,
        build_report=build_report,
        build_quality=build_quality,
        record_labels=record_labels,
        record_keyed_labels=record_keyed,
        review=review,
        log=log,
        verdicts=verdicts,
        policies=policies,
        incidents=HandleIncidents(incidents, now_micros, settings.monitor_docs_url),
        look_over=look_over,
        view_model=view_model,
        report_skew=ReportSkew(skew_checks),
        tell_month=tell_month,
        sessions=sessions,
        judge_canaries=judge_canaries,
        canary_verdicts=canary_verdicts,
        retraining=retraining,
        now=now_micros,
        window=window,
    )
    add_routes(app, use)
    servicer = MonitorServicer(build_report, record_labels, now_micros, window, use.report_skew, review, build_quality)
    door = create_server(
        settings,
        authenticator,
        [Servicer(monitor_pb2_grpc.add_MonitorServiceServicer_to_server, servicer, FULL_NAME)],
    )
    run_service(
        app,
        settings,
        door=door,
        background=[
            authenticator.background,
            consumer,
            Periodic("sketches", settle, 5.0),
            Periodic("archive", lambda: keep_log(Archiving(database, archive), settings), 300.0),
            Periodic("label joiner", join_late, settings.monitor_join_seconds),
            Periodic("evaluator", evaluate_once, settings.monitor_evaluate_seconds),
            operations_consumer,
            Periodic("canaries", judge_once, settings.monitor_canary_seconds),
            Periodic("retraining", retraining, settings.monitor_retraining_seconds),
            Periodic("operations kept", lambda: operations.forget(now_micros() - OPERATIONS_KEPT), 3600.0),
            *background,
        ],
        on_stop=[registry.close, *(one.close for one in (features, trainer) if one is not None), database.close],
    )


def _watching(
    settings: MonitorSettings, database: Database, incidents: SqlIncidents, log: SqlPredictionLog, examine: ExamineModel,
    policies: SqlPolicies, releases: RegistryReleases, sources: Sequence[Callable[[], list[Cell]]],
) -> list[Background]:  # fmt: skip
    """Incidents of all tenants, and messages about them to webhooks."""
    webhooks = WebhookFile(settings.monitor_webhooks_file)

    def operator_hooks() -> Sequence[OperatorHook]:
        try:
            return webhooks.operators()
        except Unavailable as err:
            # Incidents are kept all the same; whoever looks at them sees them.
            logger.warning("the operator's webhooks are not told", reason=err.reason, error=err.message)
            return ()

    watch_fleet = WatchFleet(
        log,
        log,
        examine,
        incidents,
        policies,
        releases,
        now=now_micros,
        new_id=lambda: secrets.token_hex(6),
        hooks=operator_hooks,
        sources=sources,
        policy=IncidentPolicy(
            false_discovery_rate=settings.monitor_false_discovery_rate,
            period=parse_duration(settings.monitor_incident_period),
        ),
        cadence=Cadence(rows=settings.monitor_incident_rows, fewest=settings.monitor_min_rows),
        show=metrics.IncidentGauges().show,
    )
    deliver = DeliverAlerts(SqlOutbox(database), HttpWebhooks(webhooks, settings.webhook_networks), now_micros)

    def watch_once() -> None:
        with metrics.INCIDENT_ROUND.time(), metrics.INCIDENT_ROUND_FAILURES.count_exceptions():
            watch_fleet()

    def deliver_once() -> None:
        done = deliver()
        metrics.count_alerts(done)
        for problem in done.problems:
            logger.warning("an alert was not delivered", problem=problem)

    return [
        Periodic("incidents", watch_once, settings.monitor_incident_seconds),
        Periodic("alerts", deliver_once, settings.monitor_alert_seconds),
    ]
