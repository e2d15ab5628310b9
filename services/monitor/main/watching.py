"""Incidents of all tenants, and messages about them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from services.monitor import metrics
from services.monitor.clients.webhooks import HttpWebhooks, WebhookFile
from services.monitor.domain.alerts.deliver import DeliverAlerts
from services.monitor.domain.alerts.routes import OperatorHook
from services.monitor.domain.incidents.from_operations import ExamineOperations
from services.monitor.domain.incidents.from_reports import ExamineModel
from services.monitor.domain.incidents.words import Cell, IncidentPolicy
from services.monitor.domain.skew.compare import ReportSkew
from services.monitor.domain.watch_fleet import Cadence, WatchFleet
from services.monitor.main.parts import Parts, now_micros
from services.monitor.storage.incidents.incidents import SqlIncidents
from services.monitor.storage.incidents.outbox import SqlOutbox
from services.monitor.storage.operations.fleet import SqlFleetOperations
from services.monitor.storage.skew import SqlSkewChecks
from tenon.core.errors import Unavailable
from tenon.core.timestamps import parse_duration
from tenon.kit.process import Background, Periodic
from tenon.kit.telemetry import get_logger

logger = get_logger(__name__)


def watch(
    parts: Parts, incidents: SqlIncidents, checks: SqlSkewChecks, sources: Sequence[Callable[[], list[Cell]]]
) -> list[Background]:
    """Incidents of all tenants, and messages about them to webhooks."""
    settings = parts.settings
    webhooks = WebhookFile(settings.monitor_webhooks_file)

    def operator_hooks() -> Sequence[OperatorHook]:
        try:
            return webhooks.operators()
        except Unavailable as err:
            # Incidents are kept all the same; whoever looks at them sees them.
            logger.warning("the operator's webhooks are not told", reason=err.reason, error=err.message)
            return ()

    watch_fleet = WatchFleet(
        parts.log,
        parts.log,
        ExamineModel(parts.windows, parts.drift, ReportSkew(checks), parts.references),
        incidents,
        parts.policies,
        parts.releases,
        now=now_micros,
        new_id=lambda: secrets.token_hex(6),
        hooks=operator_hooks,
        sources=sources,
        operations=ExamineOperations(SqlFleetOperations(parts.database)),
        policy=IncidentPolicy(
            false_discovery_rate=settings.monitor_false_discovery_rate,
            period=parse_duration(settings.monitor_incident_period),
        ),
        cadence=Cadence(rows=settings.monitor_incident_rows, fewest=settings.monitor_min_rows),
        show=metrics.IncidentGauges().show,
    )
    deliver = DeliverAlerts(SqlOutbox(parts.database), HttpWebhooks(webhooks, settings.webhook_networks), now_micros)

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
