"""Comparing what was served with what the training path computes."""

from __future__ import annotations

import math

from services.monitor import metrics
from services.monitor.clients.features import FeatureValues
from services.monitor.domain.skew.compare import CheckSkew
from services.monitor.domain.skew.sample_rows import RowSample
from services.monitor.main.parts import Parts, now_micros
from services.monitor.storage.skew import SqlSkewChecks
from tenon.kit.process import Background, Periodic


def compare_skew(parts: Parts, checks: SqlSkewChecks) -> tuple[RowSample | None, list[Background]]:
    """The sample of rows to compare and what compares them; nothing without a features service."""
    settings = parts.settings
    if parts.features is None or settings.monitor_skew_rows_per_hour <= 0:
        return None, []
    sample = RowSample(
        math.ceil(settings.monitor_skew_rows_per_hour * settings.monitor_skew_seconds / 3600), metrics.expect_skew
    )
    values = FeatureValues(parts.features)
    check = CheckSkew(sample, parts.versions, values, checks, now=now_micros, counted=metrics.count_skew)
    return sample, [Periodic("skew", check, settings.monitor_skew_seconds)]
