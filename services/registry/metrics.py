"""Every metric of the registry."""

from __future__ import annotations

from collections.abc import Mapping

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
_shown: set[str] = set()


def show_key_expiries(next_ends: Mapping[str, float]) -> None:
    """Set the gauge for these tenants, and take it away from the others."""
    for tenant in _shown - next_ends.keys():
        KEY_EXPIRY.remove(tenant)
    for tenant, seconds in next_ends.items():
        KEY_EXPIRY.labels(tenant).set(seconds)
    _shown.clear()
    _shown.update(next_ends)
