"""Every metric of ingest."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

FILES = Counter("tenon_ingest_files_total", "Files that reached an end.", ["outcome"])  # committed, refused, postponed
RECEIVED = Counter("tenon_ingest_files_received_total", "Files acknowledged.", ["duplicate"])
RECEIVED_BYTES = Counter("tenon_ingest_received_bytes_total", "Bytes of the files acknowledged, as sent.")
ROWS_READ = Counter("tenon_ingest_rows_read_total", "Rows read from committed and refused files.")
ROWS_COMMITTED = Counter("tenon_ingest_rows_committed_total", "Rows written to the lake.")
ROWS_SUPERSEDED = Counter("tenon_ingest_rows_superseded_total", "Rows replaced by a later row of the same file.")
ROWS_QUARANTINED = Counter("tenon_ingest_rows_quarantined_total", "Rows set aside, by their first reason.", ["reason"])
REFUSALS = Counter("tenon_ingest_files_refused_total", "Files refused, by reason.", ["reason"])
LOAD_SECONDS = Histogram(
    "tenon_ingest_load_duration_seconds",
    "From the claim of a batch to its outcome.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900),
)
QUEUE_OLDEST = Gauge(
    "tenon_ingest_queue_oldest_seconds", "Age of the oldest file that waits or is being loaded; 0 when none is."
)
QUEUE_DEPTH = Gauge("tenon_ingest_queue_depth_files", "Files that wait or are being loaded.")
