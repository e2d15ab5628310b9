"""Every metric of the registry."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterable, Mapping

from prometheus_client import Counter, Gauge

VERSIONS_REGISTERED = Counter(
    "tenon_registry_versions_registered_total", "Versions registered, by whether all gates were met.", ["gates_passed"]
)
BUNDLE_BYTES = Counter("tenon_registry_bundle_bytes_total", "Bytes of bundles, by direction.", ["direction"])
BUNDLES_REFUSED = Counter(
    "tenon_registry_bundles_refused_total", "Bundles that did not pass verification, by reason.", ["reason"]
)
RELEASES = Counter("tenon_registry_releases_total", "Release revisions made, by action.", ["action"])
WATCHERS = Gauge("tenon_registry_release_watchers_streams", "Open release watches of this process.")
SERVING_CHANGES = Counter(
    "tenon_registry_serving_changes_total", "Lines of serving history written: how often replicas changed."
)
TRANSACTION_RETRIES = Counter(
    "tenon_registry_transaction_retries_total", "Transactions begun again because a number was taken."
)
KEYS = Counter("tenon_registry_keys_total", "API keys made and revoked.", ["action"])
KEY_EXPIRY = Gauge(
    "tenon_registry_key_expiry_timestamp_seconds",
    "When the tenant's valid key that ends next will end, Unix seconds; absent where none ends.",
    ["tenant"],
)
DISAGREEMENTS = Gauge(
    "tenon_registry_serving_disagreements",
    "Differences between releases, what pods are pinned to, and what replicas serve, by kind; absent where all agree.",
    ["tenant", "model", "kind"],
)
DISAGREEMENTS_CHECKED = Gauge(
    "tenon_registry_serving_checked_timestamp_seconds", "When releases and replicas were last compared, Unix seconds."
)
_shown: set[str] = set()
_differing: set[tuple[str, str, str]] = set()


def show_disagreements(places: Iterable[tuple[str, str, str]]) -> None:
    """Set the gauges for these, each (tenant, model, kind) as often as it differs, and take the others away."""
    found = Counts(places)
    for labels in _differing - found.keys():
        DISAGREEMENTS.remove(*labels)
    for labels, count in found.items():
        DISAGREEMENTS.labels(*labels).set(count)
    _differing.clear()
    _differing.update(found)
    DISAGREEMENTS_CHECKED.set_to_current_time()


def show_key_expiries(next_ends: Mapping[str, float]) -> None:
    """Set the gauge for these tenants, and take it away from the others."""
    for tenant in _shown - next_ends.keys():
        KEY_EXPIRY.remove(tenant)
    for tenant, seconds in next_ends.items():
        KEY_EXPIRY.labels(tenant).set(seconds)
    _shown.clear()
    _shown.update(next_ends)
