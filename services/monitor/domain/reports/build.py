"""Put together what monitor thinks of a model in a window: drift, quality, traffic, and one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.drift.judge import DriftPolicy, judge_drift, overall
from services.monitor.domain.drift.season import judge_window
from services.monitor.domain.drift.sketch import Layout, Sketch
from services.monitor.domain.model import (
    ColumnReport,
    LabelledRows,
    Quality,
    QualityFigure,
    Report,
    Role,
    VersionReport,
    Window,
)
from services.monitor.domain.quality.measure import QualityPolicy
from services.monitor.domain.quality.remember import JudgeQuality
from services.monitor.domain.reports.summary import summarise
from tenon.core.errors import NotFound, Place, Unavailable, did_you_mean
from tenon.core.levels import Level
from tenon.core.timestamps import MICROS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.monitor.domain.kept.counted import Counted
    from services.monitor.domain.ports import Labels, PredictionLog, Versions, Windows
    from services.monitor.domain.reports.references import ReadReferences
    from tenon.core.manifest import Manifest
    from tenon.core.tenancy import TenantId

Traffic = dict[tuple[int, Role], int]
ByVersion = Mapping[tuple[int, Role], LabelledRows]


class BuildReport:
    """The use case behind reports at every door and behind the background evaluator."""

    def __init__(
        self, log: PredictionLog, windows: Windows, labels: Labels, versions: Versions, *,
        drift: DriftPolicy | None = None, quality: QualityPolicy | None = None,
        references: ReadReferences | None = None, only_drifting: bool = False,
    ) -> None:  # fmt: skip
        """`only_drifting`: the past is read only where a column is not as in training, for whoever builds many reports."""
        self._references, self._only_drifting = references, only_drifting
        self._log, self._windows, self._labels, self._versions = log, windows, labels, versions
        self._drift, self._judge_quality = drift or DriftPolicy(), JudgeQuality(quality or QualityPolicy())

    def __call__(
        self, tenant: TenantId, model: str, window: Window, *,
        version: int = 0, role: Role | None = None, known_at: int | None = None, labelled: ByVersion | None = None,
    ) -> Report:  # fmt: skip
        """Judge a model's window; `version` 0 is all versions, labels count as known at `known_at` (None: now). `labelled` is
        what `labelled()` gave for this window, where it is read once for several questions.

        Each version is compared with its own training and test. Drift is told of one version: the one asked for, else
        the one that answered most of the window.
        """
        self._seen(tenant, model)
        counted = self._windows.counted(tenant, model, window)
        known = self._labels.labelled(tenant, model, window, known_at) if labelled is None else labelled
        return self._judge(tenant, model, window, counted, known, version=version, role=role, known_at=known_at)

    def series(
        self, tenant: TenantId, model: str, window: Window, step: int, *, known_at: int | None = None,
        labelled: ByVersion | None = None,
    ) -> list[Report]:  # fmt: skip
        """The same for each part of the window, cut at multiples of `step`; counts and labels are read once."""
        self._seen(tenant, model)
        starts = range(window.start - window.start % step, window.end, step)
        parts = [Window(max(start, window.start), min(start + step, window.end), window.by) for start in starts]
        counted = self._counted_by_part(tenant, model, parts, step)
        known = self._labels.labelled(tenant, model, window, known_at) if labelled is None else labelled
        edges = np.array([part.start for part in parts[1:]], dtype=np.int64)
        places = {key: np.searchsorted(edges, rows.moment, side="right") for key, rows in known.items()}
        reports = []
        for place, part in enumerate(parts):
            chosen = {key: np.flatnonzero(found == place) for key, found in places.items()}
            some = {key: known[key].take(rows) for key, rows in chosen.items() if len(rows)}
            reports.append(self._judge(tenant, model, part, counted[part.start], some, known_at=known_at))
        return reports

    def labelled(self, tenant: TenantId, model: str, window: Window, known_at: int | None = None) -> ByVersion:
        """The window's labelled answers."""
        return self._labels.labelled(tenant, model, window, known_at)

    def _counted_by_part(
        self, tenant: TenantId, model: str, parts: Sequence[Window], step: int
    ) -> dict[int, Sequence[Counted]]:  # fmt: skip
        """Counts by a part's start. Whole steps come in one reading, ragged ends one by one, as does everything where only longer
        stretches are kept."""
        whole = [part for part in parts if part.end - part.start == step]
        found: dict[int, list[Counted]] = {part.start: [] for part in whole}
        if whole:
            between = Window(whole[0].start, whole[-1].end, whole[0].by)
            series = self._windows.counted(tenant, model, between, step=step)
            if any(one.end - one.start > step for one in series):
                found = {}
            else:
                for one in series:
                    found[one.start].append(one)
        alone = {part.start: self._windows.counted(tenant, model, part) for part in parts if part.start not in found}
        return {**found, **alone}

    def _seen(self, tenant: TenantId, model: str) -> None:
        if self._log.seen_model(tenant, model) is None:
            near = did_you_mean(model, [seen.model for seen in self._log.seen(tenant)])
            raise NotFound(
                "MODEL_NOT_SEEN", f"no predictions or labels of a model {model!r} have arrived for tenant {tenant}",
                place=Place(field="model"), hint=f"did you mean {near!r}?" if near else None,
            )  # fmt: skip

    def _judge(
        self, tenant: TenantId, model: str, window: Window, counted: Sequence[Counted],
        known: ByVersion, *,
        version: int = 0, role: Role | None = None, known_at: int | None = None,
    ) -> Report:  # fmt: skip
        traffic = {
            (one.version, one.role): one.rows
            for one in counted
            if version in {0, one.version} and role in {None, one.role}
        }
        chosen = version or main_version(traffic)
        manifests, unread = self._manifests(tenant, model, {number for number, _ in traffic} | {chosen} - {0})
        columns = self._columns(tenant, model, window, counted, chosen, role, manifests.get(chosen))
        labelled = {key: rows for key, rows in known.items() if key in traffic}
        verdicts, figures = self._judge_versions(manifests, labelled, traffic, unread)
        versions = tuple(
            _version_report(key, rows, labelled.get(key), *verdicts[key[0]]) for key, rows in sorted(traffic.items())
        )
        quality = _overall_quality(chosen, versions)
        found = _levels(counted)
        levels = tuple((level.value, found[level.value]) for level in Level if level.value in found)
        return Report(
            tenant=tenant.value,
            model=model,
            window=window,
            known_at=known_at,
            predictions=sum(traffic.values()),
            labels=sum(len(rows) for rows in labelled.values()),
            drift_version=chosen,
            drift=overall(columns),
            columns=columns,
            quality=quality,
            figures=figures,
            versions=versions,
            summary=summarise(chosen, columns, quality, versions, unread.get(chosen), self._drift.min_rows, levels),
            levels=levels,
        )

    def _manifests(
        self, tenant: TenantId, model: str, versions: set[int]
    ) -> tuple[dict[int, Manifest], dict[int, str]]:
        """Manifests by version, and why the others could not be read."""
        found: dict[int, Manifest] = {}
        unread: dict[int, str] = {}
        for number in sorted(versions):
            try:
                found[number] = self._versions.manifest(tenant, model, number)
            except NotFound:
                unread[number] = f"the registry has no version {number}"
            except Unavailable:
                unread[number] = f"the registry cannot be asked for version {number}'s training baseline"
        return found, unread

    def _columns(
        self, tenant: TenantId, model: str, window: Window, counted: Sequence[Counted], version: int, role: Role | None,
        manifest: Manifest | None,
    ) -> tuple[ColumnReport, ...]:  # fmt: skip
        if manifest is None:
            return ()
        found = [
            one.sketch
            for one in counted
            if one.version == version and role in {None, one.role} and one.sketch is not None
        ]
        # Making a layout costs more than judging a small window.
        sketch = Sketch(found[0].layout if found else Layout.of(manifest.baseline))
        for one in found:
            sketch.merge(one)
        if self._references is None:
            return judge_drift(sketch, self._drift)
        read = partial(self._references, tenant, model, window, version, sketch.layout)
        return judge_window(sketch, self._drift, read, only_drifting=self._only_drifting)

    def _judge_versions(
        self, manifests: Mapping[int, Manifest], labelled: ByVersion, traffic: Traffic,
        unread: Mapping[int, str],
    ) -> tuple[dict[int, tuple[Quality, str]], tuple[QualityFigure, ...]]:  # fmt: skip
        verdicts: dict[int, tuple[Quality, str]] = {}
        figures: list[QualityFigure] = []
        for number in sorted({number for number, _ in traffic}):
            manifest = manifests.get(number)
            parts = [rows for (labelled_version, _), rows in sorted(labelled.items()) if labelled_version == number]
            if manifest is None:
                verdicts[number] = (Quality.NOT_ENOUGH_EVIDENCE, unread[number])
                continue
            score = np.concatenate([rows.score for rows in parts]) if parts else np.empty(0)
            value = np.concatenate([rows.value for rows in parts]) if parts else np.empty(0)
            verdict, found, text = self._judge_quality(manifest.task, number, score, value, manifest.evidence.model)
            verdicts[number] = (verdict, text)
            figures.extend(found)
        return verdicts, tuple(figures)


def _levels(counted: Sequence[Counted]) -> dict[str, int]:
    """Answers, of all versions, by what they rest on."""
    totals: dict[str, int] = {}
    for one in counted:
        for level, rows in one.levels.items() if one.role is not Role.SHADOW else ():
            totals[level] = totals.get(level, 0) + rows
    return totals


def main_version(traffic: Traffic) -> int:
    """The version that answered most; shadows only when nothing else ran. 0 when the window is empty."""
    answered = {key: rows for key, rows in traffic.items() if key[1] is not Role.SHADOW} or traffic
    totals: dict[int, int] = {}
    for (number, _), rows in answered.items():
        totals[number] = totals.get(number, 0) + rows
    return max(totals, key=lambda number: (totals[number], number), default=0)


def _version_report(
    key: tuple[int, Role], predictions: int, labelled: LabelledRows | None, quality: Quality, text: str
) -> VersionReport:
    median = p90 = None
    if labelled is not None and len(labelled):
        median, p90 = (float(value) / MICROS_PER_SECOND for value in np.quantile(labelled.delay, [0.5, 0.9]))
    return VersionReport(
        version=key[0],
        role=key[1],
        predictions=predictions,
        labels=len(labelled) if labelled is not None else 0,
        label_delay_median_seconds=median,
        label_delay_p90_seconds=p90,
        quality=quality,
        summary=text,
    )


def _overall_quality(chosen: int, versions: tuple[VersionReport, ...]) -> Quality:
    """Worse if any version that answers is worse; otherwise what holds for the main version."""
    answering = [one for one in versions if one.role is not Role.SHADOW] or list(versions)
    if any(one.quality is Quality.WORSE for one in answering):
        return Quality.WORSE
    return next((one.quality for one in answering if one.version == chosen), Quality.NOT_ENOUGH_EVIDENCE)
