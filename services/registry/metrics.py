"""Every metric of the registry."""

from __future__ import annotations

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
