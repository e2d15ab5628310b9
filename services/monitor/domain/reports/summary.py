"""One sentence for people, the worst thing first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.monitor.domain.model import SCORE, Drift, Quality, Role
from tenon.core.levels import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.monitor.domain.model import ColumnReport, VersionReport


def summarise(
    version: int, columns: Sequence[ColumnReport], quality: Quality, versions: Sequence[VersionReport],
    unread: str | None, min_rows: int, levels: Sequence[tuple[str, int]] = (),
) -> str:  # fmt: skip
    """Quality before drift, trouble before calm, what could not be judged last."""
    if not versions:
        return "Not enough evidence: there are no predictions in this window."
    drift_rank, drift_text = _drift(version, columns, unread, min_rows)
    quality_rank, quality_text = _quality(version, quality, versions)
    parts = [text for _, text in sorted([(quality_rank, quality_text), (drift_rank, drift_text)], key=lambda p: p[0])]
    first, second = parts
    return f"{first[0].upper()}{first[1:]}; {second}{_without_fresh_history(levels)}."


def _without_fresh_history(levels: Sequence[tuple[str, int]]) -> str:
    rows = sum(count for _, count in levels)
    degraded = [(level, count) for level, count in levels if level != Level.FRESH]
    if not degraded:
        return ""
    parts = ", ".join(f"{count:,} {level.replace('_', ' ')}" for level, count in degraded)
    return f"; {sum(count for _, count in degraded):,} of {rows:,} answers had no fresh history ({parts})"


def _quality(version: int, quality: Quality, versions: Sequence[VersionReport]) -> tuple[int, str]:
    answering = [one for one in versions if one.role is not Role.SHADOW] or list(versions)
    worse = [one for one in answering if one.quality is Quality.WORSE]
    told = worse[0] if worse else next((one for one in answering if one.version == version), answering[0])
    labels = sum(one.labels for one in versions)
    predictions = sum(one.predictions for one in versions)
    coverage = f"{labels:,} of {predictions:,} predictions labelled"
    if quality is Quality.WORSE:
        return 0, f"version {told.version} answers worse than on its test: {told.summary}"
    if quality is Quality.BETTER:
        return 4, f"version {told.version} answers better than on its test: {told.summary}"
    if quality is Quality.AS_EXPECTED:
        return 3, f"version {told.version} answers as well as on its test: {told.summary}"
    return 5, f"quality cannot be judged yet ({coverage}: {told.summary})"


def _drift(version: int, columns: Sequence[ColumnReport], unread: str | None, min_rows: int) -> tuple[int, str]:
    if not columns:
        return 6, f"drift cannot be judged: {unread or 'there is no training baseline'}"
    drifting = [column for column in columns if column.verdict is Drift.DRIFT]
    judged = [column for column in columns if column.verdict is not Drift.NOT_ENOUGH_EVIDENCE]
    if drifting:
        worst = drifting[0]
        name = "the model's own score" if worst.column == SCORE else f"`{worst.column}`"
        others = f", and {len(drifting) - 1} more of {len(columns)} drift" if len(drifting) > 1 else ""
        return 1, f"drift from version {version}'s training in {name}: {worst.summary}{others}"
    if not judged:
        rows = max((column.rows for column in columns), default=0)
        return 6, f"drift cannot be judged: {rows:,} rows, at least {min_rows:,} are needed for a column"
    seasonal = [column for column in columns if column.verdict is Drift.SEASONAL]
    if seasonal:
        names = ", ".join(f"`{column.column}`" for column in seasonal[:3]) + (" …" if len(seasonal) > 3 else "")
        return 3, (
            f"no drift from version {version}'s training beyond the season in {len(judged)} columns; "
            f"{len(seasonal)} are not as in training but as in the same season or on the same weekdays before ({names})"
        )
    left = f" ({len(columns) - len(judged)} could not be judged)" if len(judged) < len(columns) else ""
    return 3, f"no drift from version {version}'s training in {len(judged)} columns{left}"
