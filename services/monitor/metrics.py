"""Every metric of monitor. Labels are bounded by the tenants' models, never by columns or ids."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from services.monitor.domain.canary.words import CanaryVerdict
from services.monitor.domain.incidents.words import State
from services.monitor.domain.model import Drift, Quality, Report
from services.monitor.domain.retraining.judge import State as RetrainingState
from services.monitor.domain.skew.words import SkewResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.monitor.domain.alerts.deliver import Delivered
    from services.monitor.domain.canary.words import CanaryJudgement
    from services.monitor.domain.incidents.ledger import Ledger
    from services.monitor.domain.incidents.words import Happened
    from services.monitor.domain.kept.segment import Segment
    from services.monitor.domain.label_words import KeyedRecorded
    from services.monitor.domain.labels.record import LabelsRecorded
    from services.monitor.domain.quality.words import QualityReport
    from tenon.core.tenancy import TenantId

PREDICTIONS = Counter(
    "tenon_monitor_predictions_total", "Predictions taken into the log.", ["tenant", "model", "version", "role"]
)
LABELS = Counter("tenon_monitor_labels_total", "Labels accepted.", ["tenant", "model", "matched"])
REVIEWED = Counter(
    "tenon_monitor_reviewed_total", "Decisions of experts in the review queue.", ["tenant", "model", "decision"]
)
LOG_LAG = Gauge("tenon_monitor_log_lag_seconds", "Age of the newest prediction of the batch that was taken last.")
ARCHIVED = Counter("tenon_monitor_archived_predictions_total", "Predictions moved into the lake.")
ARCHIVE_AGE = Gauge(
    "tenon_monitor_archive_age_seconds", "How long ago the oldest predictions were taken that are not in the lake yet."
)
ARCHIVE_AFTER = Gauge(
    "tenon_monitor_archive_after_seconds", "The age from which predictions are to be moved into the lake."
)
VERDICT = Gauge(
    "tenon_monitor_verdict",
    "1 for the verdict that holds, 0 for the others; kind is drift or quality.",
    ["tenant", "model", "kind", "verdict"],
)
COLUMNS = Gauge("tenon_monitor_columns", "Columns of the model by their drift verdict.", ["tenant", "model", "verdict"])
DRIFT_SCORE = Gauge(
    "tenon_monitor_drift_score",
    "Effect (KS distance or share of changed levels) of the column that drifts most; absent while none does.",
    ["tenant", "model", "column"],
)
MATURED = Gauge(
    "tenon_monitor_labels_matured_ratio", "Share of the window's predictions whose label is known.", ["tenant", "model"]
)
LABEL_DELAY = Gauge(
    "tenon_monitor_label_delay_seconds", "Median time from the event to its label.", ["tenant", "model", "version"]
)
QUALITY = Gauge(
    "tenon_monitor_quality", "The metric on matured labels.", ["tenant", "model", "version", "metric", "bound"]
)
ESTIMATED = Gauge(
    "tenon_monitor_estimated_quality",
    "The metric as it is estimated before labels come; bound is value, low or high.",
    ["tenant", "model", "version", "metric", "bound"],
)
RETRAINING = Gauge(
    "tenon_monitor_retraining_state",
    "1 for the state of the model's newest request for a training (none: there is none), 0 for the others.",
    ["tenant", "model", "state"],
)
WINDOW_PREDICTIONS = Gauge(
    "tenon_monitor_window_predictions", "Predictions in the window that was judged.", ["tenant", "model"]
)
EVALUATION = Histogram(
    "tenon_monitor_evaluation_duration_seconds",
    "Time of one look at all active models.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300),
)
EVALUATION_FAILURES = Counter(
    "tenon_monitor_evaluation_failures_total", "Looks at all active models in which one could not be judged."
)
REPORTS = Histogram(
    "tenon_monitor_report_duration_seconds", "Time to build one report.", buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
)

SKEW_ROWS = Counter(
    "tenon_monitor_skew_rows_total",
    "Logged rows whose history was compared with what the training path gives for it.",
    ["tenant", "model", "version", "result"],
)


def expect_skew(tenant: TenantId, model: str, version: int) -> None:
    """Rows will be compared: a counter that begins above zero would hide its first rows from a rule."""
    for result in SkewResult:
        SKEW_ROWS.labels(tenant.value, model, str(version), result.value)


def count_skew(tenant: TenantId, model: str, version: int, result: SkewResult, rows: int) -> None:
    """Rows were compared."""
    SKEW_ROWS.labels(tenant.value, model, str(version), result.value).inc(rows)


CANARY_VERDICT = Gauge(
    "tenon_monitor_canary_verdict",
    "1 for the verdict that holds on a canary or shadow, 0 for the others; gone when there is none, or none can be judged.",
    ["tenant", "model", "version", "role", "verdict"],
)
CANARY_ANSWERS = Gauge(
    "tenon_monitor_canary_answers",
    "Answers of the version on trial, since its trial began.",
    ["tenant", "model", "version"],
)
CANARY_MISSING = Gauge(
    "tenon_monitor_canary_answers_needed",
    "Further answers that the version on trial will need; absent where nothing says.",
    ["tenant", "model", "version"],
)
CANARY_FAILURES = Counter(
    "tenon_monitor_canary_failures_total", "Looks at all canaries in which one could not be judged."
)


INCIDENTS = Gauge(
    "tenon_monitor_incidents",
    "Open incidents; one that is common to several tenants has the tenant `everyone`.",
    ["tenant", "kind", "severity"],
)
INCIDENT_ROUND = Histogram(
    "tenon_monitor_incident_round_duration_seconds",
    "Time of one look at the whole fleet.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300),
)
INCIDENT_ROUND_FAILURES = Counter(
    "tenon_monitor_incident_round_failures_total", "Looks at the fleet in which a model could not be judged."
)
ALERTS = Counter(
    "tenon_monitor_alert_deliveries_total", "Messages to webhooks: sent, to be tried again, given up.", ["outcome"]
)


def count_alerts(done: Delivered) -> None:
    """A round of deliveries is done."""
    for outcome, count in (("sent", done.sent), ("again", done.again), ("given_up", done.given_up)):
        ALERTS.labels(outcome).inc(count)


class IncidentGauges:
    """How many incidents are open, by whose they are."""

    def __init__(self) -> None:
        self._shown: set[tuple[str, str, str]] = set()

    def show(self, ledger: Ledger, _news: Sequence[Happened]) -> None:
        """Set the gauges; what is not open any more is taken away."""
        counts: dict[tuple[str, str, str], int] = dict.fromkeys(self._shown, 0)
        for one in ledger.incidents:
            if one.state is State.OPEN:
                tenant = "everyone" if one.scope == "common" else one.tenants[0]
                key = (tenant, one.kind.value, one.severity.value)
                counts[key] = counts.get(key, 0) + 1
        for key, count in counts.items():
            INCIDENTS.labels(*key).set(count)
        self._shown = {key for key, count in counts.items() if count}
        for key in counts.keys() - self._shown:
            INCIDENTS.remove(*key)


def count_predictions(segment: Segment, now: int) -> None:
    """Rows were taken, for the first time."""
    PREDICTIONS.labels(segment.tenant.value, segment.model, str(segment.version), segment.role.value).inc(len(segment))
    LOG_LAG.set(max(0.0, (now - int(segment.at.max())) / 1e6))


def count_labels(tenant: str, model: str, recorded: LabelsRecorded) -> None:
    """Labels were taken."""
    LABELS.labels(tenant, model, "yes").inc(recorded.matched)
    LABELS.labels(tenant, model, "no").inc(recorded.unmatched)


def show_retraining(tenant: TenantId, model: str, newest: RetrainingState | None) -> None:
    """How the newest request for a training of a model that answers stands."""
    holds = "none" if newest is None else newest.value
    for state in ("none", *RetrainingState):
        RETRAINING.labels(tenant.value, model, str(state)).set(state == holds)


def count_keyed_labels(tenant: str, model: str, recorded: KeyedRecorded) -> None:
    """Labels by entity and time were taken; those that found predictions are counted with these."""
    LABELS.labels(tenant, model, "no").inc(len(recorded.waiting))
    LABELS.labels(tenant, model, "yes").inc(recorded.matched)
    LABELS.labels(tenant, model, "ambiguous").inc(len(recorded.ambiguous))


class ReportGauges:
    """See `domain.ports.Gauges`. What no longer holds is taken away, so that an old alarm does not stay lit."""

    def __init__(self) -> None:
        self._worst: dict[tuple[str, str], str] = {}
        self._figures: dict[tuple[str, str], set[tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def show(self, report: Report) -> None:
        """Set one model's gauges."""
        key = (report.tenant, report.model)
        for drift in Drift:
            VERDICT.labels(*key, "drift", drift.value).set(report.drift is drift)
            COLUMNS.labels(*key, drift.value).set(sum(column.verdict is drift for column in report.columns))
        for quality in Quality:
            VERDICT.labels(*key, "quality", quality.value).set(report.quality is quality)
        MATURED.labels(*key).set(report.label_coverage)
        WINDOW_PREDICTIONS.labels(*key).set(report.predictions)
        for one in report.versions:
            if one.label_delay_median_seconds is not None:
                LABEL_DELAY.labels(*key, str(one.version)).set(one.label_delay_median_seconds)
        with self._lock:
            self._show_worst(key, report)
            self._show_figures(key, report)

    def _show_worst(self, key: tuple[str, str], report: Report) -> None:
        worst = report.worst_column
        before = self._worst.pop(key, None)
        if before is not None and (worst is None or worst.column != before):
            DRIFT_SCORE.remove(*key, before)
        if worst is not None:
            DRIFT_SCORE.labels(*key, worst.column).set(worst.effect)
            self._worst[key] = worst.column

    def _show_figures(self, key: tuple[str, str], report: Report) -> None:
        shown: set[tuple[str, ...]] = set()
        for figure in report.figures:
            bounds = {"value": figure.value, "low": figure.low, "high": figure.high, "expected": figure.expected}
            for bound, value in bounds.items():
                names = (*key, str(figure.version), figure.metric, bound)
                QUALITY.labels(*names).set(value)
                shown.add(names)
        for old in self._figures.get(key, set()) - shown:
            QUALITY.remove(*old)
        self._figures[key] = shown


class EstimateGauges:
    """Estimated quality by version; what is no longer estimated is taken away."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], set[tuple[str, ...]]] = {}

    def show(self, report: QualityReport) -> None:
        """Set one model's gauges."""
        key = (report.tenant, report.model)
        found = {
            (*key, str(one.version), one.metric, bound): value
            for one in report.estimates
            for bound, value in (("value", one.value), ("low", one.low), ("high", one.high))
        }
        for names, value in found.items():
            ESTIMATED.labels(*names).set(value)
        for old in self._shown.get(key, set()) - found.keys():
            ESTIMATED.remove(*old)
        self._shown[key] = set(found)


class CanaryGauges:
    """See `domain.judge_canaries.CanaryGauges`. A verdict that is no longer given is taken away: silence is no pass."""

    def __init__(self) -> None:
        self._shown: dict[Gauge, set[tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def show(self, judgements: Iterable[CanaryJudgement]) -> None:
        """Set all, and take away what is left of before."""
        with self._lock:
            found: dict[Gauge, dict[tuple[str, ...], float]] = {
                CANARY_VERDICT: {},
                CANARY_ANSWERS: {},
                CANARY_MISSING: {},
            }
            for one in judgements:
                trial = one.trial
                names: tuple[str, ...] = (trial.tenant.value, trial.model, str(trial.candidate))
                for verdict in CanaryVerdict:
                    found[CANARY_VERDICT][*names, trial.role.value, verdict.value] = one.verdict is verdict
                found[CANARY_ANSWERS][names] = one.answers
                if one.more_answers is not None:
                    found[CANARY_MISSING][names] = one.more_answers
            for gauge, values in found.items():
                for names, value in values.items():
                    gauge.labels(*names).set(value)
                for old in self._shown.get(gauge, set()) - values.keys():
                    gauge.remove(*old)
                self._shown[gauge] = set(values)
