"""Every metric of the service."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from services.features.domain.model import OnlineState
from tenon.core.tenancy import TenantId

LAG = Gauge(
    "tenon_features_online_lag_versions",
    "Versions of the lake table that the online store is behind.",
    ["tenant", "view"],
)
TABLE_VERSION = Gauge(
    "tenon_features_online_table_version", "Version of the lake table that is online.", ["tenant", "view"]
)
NEWEST_EVENT = Gauge(
    "tenon_features_online_newest_event_seconds", "Latest event time online, Unix seconds.", ["tenant", "view"]
)
ENTITIES = Gauge("tenon_features_online_entities", "Entities with a blob.", ["tenant", "view"])
BLOB_BYTES = Gauge("tenon_features_online_blob_bytes", "Bytes of all blobs of a view.", ["tenant", "view"])
ENTITY_BYTES = Gauge(
    "tenon_features_online_entity_bytes",
    "Bytes of an entity's blob, of a thousand chosen by chance: the median, the 99th percentile and the largest.",
    ["tenant", "view", "share"],
)
BUILDS = Histogram(
    "tenon_features_online_build_duration_seconds",
    "Time to build a view from the lake.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900),
)
BUILD_FAILURES = Counter("tenon_features_online_build_failures_total", "Builds that failed.", ["reason"])
TRAINING_SETS = Histogram(
    "tenon_features_training_set_duration_seconds",
    "Time to build a training set, or to find that it was built before.",
    ["reused"],
    buckets=(0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900),
)
TRAINING_ROWS = Counter("tenon_features_training_rows_total", "Rows of training sets given.")
LOOKUPS = Histogram(
    "tenon_features_online_lookup_duration_seconds",
    "Time to read and compute online values, without the doors.",
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1),
)
AGES = Histogram(
    "tenon_features_online_age_seconds",
    "How long before the time asked for the newest value that counts was known; one row of every 16th lookup.",
    ["tenant", "view"],
    buckets=(1, 10, 60, 600, 3_600, 21_600, 86_400, 604_800, 2_592_000, 31_536_000),
)
LOOKUP_ROWS = Counter("tenon_features_online_lookup_rows_total", "Rows looked up online.")


PUSHED_ROWS = Counter("tenon_features_pushed_rows_total", "Rows that were pushed past the lake.", ["tenant", "dataset"])
PUSHED_WAITING = Gauge(
    "tenon_features_pushed_waiting_rows", "Pushed rows that wait for their commit.", ["tenant", "dataset"]
)


class PrometheusMeter:
    """See `ports.Meter`."""

    def built(self, tenant: TenantId, view: str, state: OnlineState, seconds: float) -> None:
        """See `ports.Meter`."""
        BUILDS.observe(seconds)
        TABLE_VERSION.labels(tenant.value, view).set(state.table_version)
        ENTITIES.labels(tenant.value, view).set(state.entities)
        BLOB_BYTES.labels(tenant.value, view).set(state.blob_bytes)
        for share, size in (("p50", state.median_bytes), ("p99", state.p99_bytes), ("largest", state.largest_bytes)):
            ENTITY_BYTES.labels(tenant.value, view, share).set(size)
        if state.newest_event is not None:
            NEWEST_EVENT.labels(tenant.value, view).set(state.newest_event / 1e6)

    def behind(self, tenant: TenantId, view: str, versions: int) -> None:
        """See `ports.Meter`."""
        LAG.labels(tenant.value, view).set(versions)

    def failed(self, tenant: TenantId, view: str, reason: str) -> None:  # noqa: ARG002 - the log names the view
        """See `ports.Meter`."""
        BUILD_FAILURES.labels(reason).inc()

    def waiting(self, tenant: TenantId, dataset: str, rows: int) -> None:
        """See `ports.Meter`."""
        PUSHED_WAITING.labels(tenant.value, dataset).set(rows)

    def pushed(self, tenant: TenantId, dataset: str, rows: int) -> None:
        """See `ports.Meter`."""
        PUSHED_ROWS.labels(tenant.value, dataset).inc(rows)

    def trained(self, rows: int, seconds: float, *, reused: bool) -> None:
        """See `ports.Meter`."""
        TRAINING_SETS.labels(str(reused).lower()).observe(seconds)
        TRAINING_ROWS.inc(rows)

    def aged(self, tenant: TenantId, view: str, seconds: float) -> None:
        """See `ports.Meter`."""
        AGES.labels(tenant.value, view).observe(seconds)

    def looked_up(self, rows: int, seconds: float) -> None:
        """See `ports.Meter`."""
        LOOKUPS.observe(seconds)
        LOOKUP_ROWS.inc(rows)
