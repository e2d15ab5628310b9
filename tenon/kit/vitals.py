"""What every process tells of itself beside its doors: room for its files, and how long its certificate holds."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

from cryptography import x509
from prometheus_client import Gauge

# Labelled, so that a process that has no such thing shows none, instead of a 0 that would look like an alarm.
DISK_FREE = Gauge("tenon_disk_free_bytes", "Room on the disk of the service's own folder.", ["folder"])
DISK_SIZE = Gauge("tenon_disk_size_bytes", "Size of the disk of the service's own folder.", ["folder"])
CERTIFICATE_EXPIRY = Gauge(
    "tenon_tls_certificate_expiry_timestamp_seconds",
    "When the first certificate of the doors' file ends, Unix seconds; NaN: it cannot be read.",
    ["use"],
)


def watch_disk(folder: Path) -> None:
    """Tell the room of the disk that this folder is on, whenever somebody looks."""
    DISK_FREE.labels("data").set_function(lambda: _usage(folder)[1])
    DISK_SIZE.labels("data").set_function(lambda: _usage(folder)[0])


def watch_certificate(file: Path) -> None:
    """Tell when the certificate in this PEM file ends; read at every look, because others replace the file."""
    CERTIFICATE_EXPIRY.labels("doors").set_function(lambda: _expiry(file))


def _usage(folder: Path) -> tuple[float, float]:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        # Not made yet, or its disk is gone: no figure is better than a wrong one.
        return math.nan, math.nan
    return float(usage.total), float(usage.free)


def _expiry(file: Path) -> float:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return math.nan
