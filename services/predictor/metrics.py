"""Every metric of the predictor."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from services.predictor.domain.model import FloatArray, Role, Served, ServedModel
from services.predictor.domain.repository import Usage
from tenon.core.operations import FAILURES, LATENCY_BOUNDS, Failure, Operations
from tenon.core.tenancy import TenantId

_FAST = LATENCY_BOUNDS
_MEMORY = 256
_GAINS = tuple(1.0 / (count + 1) for count in range(_MEMORY + 1))
_BOUND = 1e100


class Tally:
    """What one version answered in one role over one protocol. Added to without a lock: none of these additions calls
    anything, so the interpreter changes threads before or after them, never within.

    Of the scores it keeps what only grows, so that rates can be taken of it: their sum by sign, and the squares of their
    distances from their running mean. (From sums of squares a deviation that is small beside the mean cannot be had again.)
    """

    __slots__ = (
        "answers", "buckets", "failures", "last_at", "mean", "negative", "positive", "rows", "scores", "seconds", "seen",
        "squares",
    )  # fmt: skip

    def __init__(self) -> None:
        self.answers = 0
        self.rows = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(_FAST) + 1)
        self.failures = [0] * len(FAILURES)
        self.seen = 0
        self.last_at = 0.0
        self.scores = 0
        self.positive = 0.0
        self.negative = 0.0
        self.squares = 0.0
        self.mean = 0.0

    def score(self, scores: FloatArray) -> None:
        """Add the scores of an answer of several rows."""
        mean, known = self.mean, min(self.scores, _MEMORY)
        away = scores - mean
        squares = float(away.dot(away))
        if not squares < _BOUND * _BOUND:
            # What is not finite, or nearly not, would spoil the sums for good.
            away = away[abs(away) < _BOUND]
            squares = float(away.dot(away))
        count = len(away)
        if not count:
            return
        moved = float(np.add.reduce(away)) / count
        squares = max(0.0, squares - count * moved * moved) + moved * moved * known * count / (known + count)
        total = count * (mean + moved)
        self.scores += count
        self.squares += squares
        self.mean = mean + moved * count / (known + count)
        if total >= 0:
            self.positive += total
        else:
            self.negative -= total

    def look(self, now: float) -> None:
        """Note when it was last seen to have grown: answering itself does not look at the clock for this."""
        if self.answers != self.seen:
            self.seen, self.last_at = self.answers, now


class RequestMetrics:
    """Requests, their rows and durations: counted in plain numbers, made into metrics when somebody looks, because a
    metric's own way of counting (a lock and some calls each) would cost more than finding out who answers."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, str, str, str], Tally] = {}
        self._refused: dict[tuple[str, str, str], int] = {}
        self._told: dict[tuple[str, str, str, str], list[int]] = {}
        self._lock = threading.Lock()

    def tally(self, served: Served, role: Role, protocol: str) -> Tally:
        """Where to add; the same one for the same labels, as long as the process lives."""
        names = (served.tenant.value, served.model, str(served.version), role.value, protocol)
        with self._lock:
            return self._tallies.setdefault(names, Tally())

    def usage(self, tenant: TenantId) -> dict[tuple[str, int], Usage]:
        """What a tenant's versions have answered, over all roles and protocols."""
        with self._lock:
            tallies = [(names, tally) for names, tally in self._tallies.items() if names[0] == tenant.value]
        now, found = time.time(), dict[tuple[str, int], Usage]()
        for (_, model, version, _, _), tally in tallies:
            tally.look(now)
            known = found.get((model, int(version)), Usage())
            found[model, int(version)] = Usage(
                known.requests + tally.answers,
                known.rows + tally.rows,
                known.seconds + tally.seconds,
                max(known.last_at_ms, round(tally.last_at * 1000)),
            )
        return found

    def refused(self, tenant: str, protocol: str, outcome: str) -> None:
        """A request was refused."""
        key = (tenant, protocol, outcome)
        with self._lock:
            self._refused[key] = self._refused.get(key, 0) + 1

    def news(self) -> list[Operations]:
        """What versions did since this was asked last, over all protocols. For one caller: what it was told is not said again."""
        with self._lock:
            tallies = list(self._tallies.items())
        totals: dict[tuple[str, str, str, str], list[int]] = {}
        for (tenant, model, version, role, _), tally in tallies:
            # Answers as the buckets have them: both belong together, and neither is locked.
            counts = [*tally.failures, *tally.buckets]
            before = totals.get((tenant, model, version, role))
            totals[tenant, model, version, role] = (
                counts if before is None else [one + other for one, other in zip(before, counts, strict=True)]
            )
        found = []
        for key, counts in totals.items():
            told = self._told.get(key)
            if counts == told or not any(counts):
                continue
            fresh = counts if told is None else [one - other for one, other in zip(counts, told, strict=True)]
            self._told[key] = counts
            failures, latency = tuple(fresh[: len(FAILURES)]), tuple(fresh[len(FAILURES) :])
            tenant, model, version, role = key
            found.append(Operations(TenantId(tenant), model, int(version), Role(role), sum(latency), failures, latency))
        return found

    def describe(self) -> Iterator[Metric]:
        """The metrics without figures."""
        yield CounterMetricFamily(
            "tenon_predictor_requests", "Requests by what answered them and how it ended.",
            labels=("tenant", "model", "version", "role", "protocol", "outcome"),
        )  # fmt: skip
        yield CounterMetricFamily(
            "tenon_predictor_rows", "Rows answered.", labels=("tenant", "model", "version", "role", "protocol")
        )
        yield HistogramMetricFamily(
            "tenon_predictor_request_duration_seconds", "From the decoded request to the logged answer.",
            labels=("tenant", "model", "role", "protocol"),
        )  # fmt: skip
        names = ("tenant", "model", "version", "role", "protocol")
        yield CounterMetricFamily("tenon_predictor_scores", "Rows whose score is in the sums below.", labels=names)
        yield CounterMetricFamily(
            "tenon_predictor_score_sum", "What was answered, added up: answers above 0, and how far others are below.",
            labels=(*names, "sign"),
        )  # fmt: skip
        yield CounterMetricFamily(
            "tenon_predictor_score_squared_deviations",
            "Squares of the answers' distances from the running mean of the last 256: by scores_total, their variance.",
            labels=names,
        )

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        with self._lock:
            tallies, refused = list(self._tallies.items()), list(self._refused.items())
        requests, rows, durations, scores, sums, squares = self.describe()
        now = time.time()
        spread: dict[tuple[str, ...], tuple[list[int], float]] = {}
        for names, tally in tallies:
            requests.add_metric((*names, "answered"), tally.answers)  # type: ignore[attr-defined]
            rows.add_metric(names, tally.rows)  # type: ignore[attr-defined]
            scores.add_metric(names, tally.scores)  # type: ignore[attr-defined]
            sums.add_metric((*names, "+"), tally.positive)  # type: ignore[attr-defined]
            sums.add_metric((*names, "-"), tally.negative)  # type: ignore[attr-defined]
            squares.add_metric(names, tally.squares)  # type: ignore[attr-defined]
            tally.look(now)
            tenant, model, _, role, protocol = names
            buckets, seconds = spread.get((tenant, model, role, protocol), ([0] * len(tally.buckets), 0.0))
            added = [one + other for one, other in zip(buckets, tally.buckets, strict=True)]
            spread[tenant, model, role, protocol] = (added, seconds + tally.seconds)
        for (tenant, protocol, outcome), count in refused:
            requests.add_metric((tenant, "", "", "", protocol, outcome), count)  # type: ignore[attr-defined]
        for key, (buckets, seconds) in spread.items():
            below = accumulate(buckets)
            bounds = [*map(floatToGoString, _FAST), "+Inf"]
            durations.add_metric(key, list(zip(bounds, below, strict=True)), seconds)  # type: ignore[attr-defined]
        yield from (requests, rows, durations, scores, sums, squares)


REQUESTS = RequestMetrics()
REGISTRY.register(REQUESTS)
FETCH = Histogram("tenon_predictor_feature_fetch_duration_seconds", "Calls to features.", ("outcome",), buckets=_FAST)
FEATURE_AGE = Histogram(
    "tenon_predictor_feature_age_seconds",
    "Age of the freshest history used.",
    ("tenant", "model"),
    buckets=(1, 10, 60, 600, 3600, 21_600, 86_400, 604_800, 2_592_000),
)
FALLBACK_ROWS = Counter(
    "tenon_predictor_fallback_rows_total", "Rows answered without the history they should have.", ("tenant", "model")
)
HISTORY_ROWS = Counter(
    "tenon_predictor_history_rows_total",
    "Rows whose history was looked up, by what their answers rest on.",
    ("tenant", "model", "level"),
)
LAST_KNOWN = Gauge(
    "tenon_predictor_last_known_entities", "Entities whose history is remembered for when features is down."
)
EXPLAINER_BYTES = Gauge("tenon_predictor_explainer_bytes", "Memory of the explainers that are kept.")
SHADOW = Counter("tenon_predictor_shadow_evaluations_total", "What became of shadow evaluations.", ("outcome",))
SPOOL_BYTES = Gauge("tenon_predictor_spool_bytes", "Prediction log on disk that is not shipped yet.")
SPOOL_MEMORY = Gauge(
    "tenon_predictor_spool_memory_bytes", "The same in memory, because there is no room on disk: alarm."
)
STREAM_FULL = Gauge(
    "tenon_predictor_stream_full", "1 while nothing is shipped because the stream's readers are too far behind: alarm."
)
STREAM_BYTES = Gauge(
    "tenon_predictor_stream_bytes", "Memory that the prediction log takes in Redis, as last seen while shipping."
)
STREAM_CAP = Gauge("tenon_predictor_stream_cap_bytes", "Beyond this nothing is shipped until readers catch up.")
SPOOL_DROPPED = Counter("tenon_predictor_spool_dropped_rows_total", "Answered rows that could not be logged: alarm.")
SHIPPED = Counter("tenon_predictor_shipped_rows_total", "Logged rows that reached the stream.")
SHIP_FAILURES = Counter("tenon_predictor_ship_failures_total", "Attempts to ship that failed.")
LOADED_BYTES = Gauge("tenon_predictor_loaded_bytes", "Memory of all loaded models.")
MODELS = Gauge("tenon_predictor_models", "Models in effect.")
MODELS_LOADED = Gauge("tenon_predictor_models_loaded", "Models in memory.")
MODEL_MEMORY_BUDGET = Gauge("tenon_predictor_model_memory_budget_bytes", "Memory that models may take; 0: any.")
MODEL_EVICTIONS = Counter("tenon_predictor_model_evictions_total", "Models taken out of memory to make room.")
COLD_LOADS = Histogram(
    "tenon_predictor_cold_load_duration_seconds",
    "Loading models that a request waited for.",
    ("outcome",),
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 60),
)
MODEL_PROBLEMS = Gauge("tenon_predictor_model_problems", "Models whose desired revision is not served.")
MODEL_INFO = Gauge(
    "tenon_predictor_model_info", "Always 1: what is in effect.", ("tenant", "model", "version", "role", "digest")
)
RELEASES_CONNECTED = Gauge("tenon_predictor_releases_connected", "1 while the registry's releases are watched.")

WAITING = Gauge("tenon_predictor_waiting_requests", "Requests in line because other tenants ask as well.")


class PrometheusObserver:
    """See `Observer`."""

    def __init__(self) -> None:
        self._answers: dict[tuple[int, Role, str], Tally] = {}
        self._held: list[Served] = []
        self._infos: set[tuple[str, ...]] = set()

    def answered(self, served: Served, role: Role, protocol: str, scores: float | FloatArray, seconds: float) -> None:
        """A version answered rows."""
        tally = self._answers.get((id(served), role, protocol))
        if tally is None:
            tally = self._answers[id(served), role, protocol] = REQUESTS.tally(served, role, protocol)
            # So that no other version gets its id while this is kept.
            self._held.append(served)
        tally.answers += 1
        tally.seconds += seconds
        bucket = bisect_left(_FAST, seconds)
        tally.buckets[bucket] += 1
        if not isinstance(scores, float):
            if len(scores) != 1:
                tally.rows += len(scores)
                tally.score(scores)
                return
            scores = float(scores[0])
        tally.rows += 1
        # `Tally.score` for one row, in place; also false for NaN.
        if -_BOUND < scores < _BOUND:
            known = tally.scores
            gain = _GAINS[known if known < _MEMORY else _MEMORY]
            away = scores - tally.mean
            tally.mean += away * gain
            tally.squares += away * away * (1.0 - gain)
            tally.scores = known + 1
            if scores >= 0.0:
                tally.positive += scores
            else:
                tally.negative -= scores

    def failed(self, served: Served, role: Role, protocol: str, failure: Failure) -> None:
        """A version did not answer what had reached it."""
        REQUESTS.tally(served, role, protocol).failures[FAILURES.index(failure)] += 1

    def usage(self, tenant: TenantId) -> Mapping[tuple[str, int], Usage]:
        """See `UsageSource`."""
        return REQUESTS.usage(tenant)

    def refused(self, tenant: str, protocol: str, outcome: str) -> None:
        """A request was refused. The model's name is not a label: callers could invent any number of them."""
        REQUESTS.refused(tenant, protocol, outcome)

    def history_missing(self, tenant: TenantId, model: str, rows: int) -> None:
        """Rows were answered without history."""
        FALLBACK_ROWS.labels(tenant.value, model).inc(rows)

    def history_level(self, tenant: TenantId, model: str, level: str, rows: int) -> None:
        """What rows rest on whose history was looked up."""
        HISTORY_ROWS.labels(tenant.value, model, level).inc(rows)

    def feature_age(self, tenant: TenantId, model: str, seconds: float) -> None:
        """How old the freshest history used was."""
        FEATURE_AGE.labels(tenant.value, model).observe(seconds)

    def cold_load(self, outcome: str, seconds: float) -> None:
        """A model that a request waited for was loaded, or not."""
        COLD_LOADS.labels(outcome).observe(seconds)

    def evicted(self, models: int) -> None:
        """Models were taken out of memory to make room."""
        MODEL_EVICTIONS.inc(models)

    def shadow(self, outcome: str) -> None:
        """A shadow evaluation was done, failed or dropped."""
        SHADOW.labels(outcome).inc()

    def feature_call(self, outcome: str, seconds: float) -> None:
        """A call to features ended, or was skipped."""
        FETCH.labels(outcome).observe(seconds)

    def serving(self, models: Sequence[ServedModel], loaded: Sequence[Served]) -> None:
        """What is served changed."""
        self._answers, self._held = {}, []
        LOADED_BYTES.set(sum(served.nbytes for served in loaded))
        MODELS_LOADED.set(len({(served.tenant, served.model) for served in loaded}))
        MODELS.set(sum(1 for model in models if model.tracks))
        MODEL_PROBLEMS.set(sum(1 for model in models if model.problem))
        infos: set[tuple[str, ...]] = {
            (model.tenant.value, model.model, str(track.version), track.role.value, track.bundle_sha256[:12])
            for model in models
            for track in model.tracks
        }
        for labels in self._infos - infos:
            MODEL_INFO.remove(*labels)
        for labels in infos:
            MODEL_INFO.labels(*labels).set(1)
        self._infos = infos
