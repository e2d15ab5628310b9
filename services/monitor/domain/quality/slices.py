"""Quality, coverage and drift of each level of declared columns, false discoveries controlled over all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from services.monitor.domain.drift.judge import DriftPolicy, judge_columns
from services.monitor.domain.drift.sketch import Layout
from services.monitor.domain.drift.statistics import benjamini_hochberg
from services.monitor.domain.model import Quality
from services.monitor.domain.quality.measure import QualityPolicy, bootstrap
from services.monitor.domain.quality.words import SliceReport
from tenon.core.manifest import CategoricalBaseline, NumericBaseline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from services.monitor.domain.quality.examined import Examined
    from tenon.core.manifest import Manifest

    Floats = npt.NDArray[np.float64]

MOST_LEVELS = 20
OTHER, MISSING = "(other)", "(missing)"
_PARTS = 4
_METRIC: dict[str, str] = {"binary": "roc_auc", "regression": "mae"}


@dataclass(frozen=True, slots=True)
class _Slice:
    column: str
    level: str
    inside: npt.NDArray[np.bool_]
    before: npt.NDArray[np.bool_]
    baseline_share: float | None


def judge_slices(
    manifest: Manifest, version: int, columns: Sequence[str], now: Examined, before: Examined, policy: QualityPolicy,
    drift: DriftPolicy,
) -> tuple[SliceReport, ...]:  # fmt: skip
    """Every level of every column with rows in the window, at most twenty of a column and the rest together; numbers in the four
    quarters of training. A slice is worse when its mean error is above that of all other rows surely (Welch's test,
    Benjamini-Hochberg over all slices) and by the margin. Worst first."""
    found = [one for column in columns for one in _slices(manifest, column, now, before)]
    error = _error(manifest.task, now)
    labelled = np.isfinite(error)
    tests = [_differs(error, one.inside & labelled, ~one.inside & labelled, policy.min_rows) for one in found]
    judged = [place for place, (_, _, p) in enumerate(tests) if p is not None]
    adjusted = dict(zip(judged, benjamini_hochberg([tests[place][2] or 0.0 for place in judged]), strict=True))
    drifted = _drifted(manifest, found, now, before, drift)
    reports = []
    for place, one in enumerate(found):
        here, rest, _ = tests[place]
        p_value = float(adjusted.get(place, 1.0))
        verdict = Quality.NOT_ENOUGH_EVIDENCE
        if place in adjusted and here is not None and rest is not None:
            verdict = Quality.AS_EXPECTED
            if p_value <= 1 - policy.confidence and abs(here - rest) > policy.margin * rest:
                verdict = Quality.WORSE if here > rest else Quality.BETTER
        value, low, high = _metric(manifest.task, now, one.inside & labelled, policy)
        rows = int(one.inside.sum())
        reports.append(
            SliceReport(
                column=one.column, level=one.level, version=version, rows=rows, labels=int((one.inside & labelled).sum()),
                share=rows / max(len(now), 1), baseline_share=one.baseline_share, metric=_METRIC[manifest.task], value=value,
                low=low, high=high, loss=here, rest=rest, p_value=p_value, verdict=verdict, drifted=drifted[place],
            )
        )  # fmt: skip
    rank = {Quality.WORSE: 0, Quality.BETTER: 1, Quality.AS_EXPECTED: 2, Quality.NOT_ENOUGH_EVIDENCE: 3}
    return tuple(sorted(reports, key=lambda one: (rank[one.verdict], one.p_value, one.column, -one.rows)))


def _slices(manifest: Manifest, column: str, now: Examined, before: Examined) -> list[_Slice]:
    baseline = manifest.baseline.columns.get(column)
    if column not in now.texts and column not in now.numbers:
        return []
    if isinstance(baseline, NumericBaseline) or column not in now.texts:
        return _quarters(baseline if isinstance(baseline, NumericBaseline) else None, column, now, before)
    levels, counts = np.unique(now.texts[column], return_counts=True)
    order = np.lexsort((levels, -counts))
    names = [str(level) for level in levels[order] if level][:MOST_LEVELS]
    shares: Mapping[str, float] = {}
    if isinstance(baseline, CategoricalBaseline) and baseline.rows:
        shares = {level: count / baseline.rows for level, count in baseline.counts.items()}
        shares |= {MISSING: baseline.missing / baseline.rows}
    then = before.texts.get(column, np.zeros(len(before), dtype="U1"))
    here = now.texts[column]
    found = [
        _Slice(column, name, here == name, then == name, shares.get(name, 0.0 if shares else None)) for name in names
    ]
    others = ~np.isin(here, [*names, ""])
    if others.any():
        found.append(_Slice(column, OTHER, others, ~np.isin(then, [*names, ""]), None))
    if (here == "").any():
        found.append(_Slice(column, MISSING, here == "", then == "", shares.get(MISSING)))
    return found


def _quarters(baseline: NumericBaseline | None, column: str, now: Examined, before: Examined) -> list[_Slice]:
    """Numbers by the quarters of training (without a baseline: of the window); few different ones by value."""
    here = now.numbers[column] if column in now.numbers else np.full(len(now), np.nan)
    then = before.numbers.get(column, np.full(len(before), np.nan))
    values = np.unique(here[~np.isnan(here)])
    if len(values) <= _PARTS:
        found = [_Slice(column, f"{value:g}", here == value, then == value, None) for value in values.tolist()]
    else:
        if baseline is not None and baseline.edges:
            shares = np.cumsum(baseline.counts) / max(sum(baseline.counts), 1)
            places = np.searchsorted(shares[:-1], np.arange(1, _PARTS) / _PARTS)
            cuts = np.unique(np.asarray(baseline.edges)[np.minimum(places, len(baseline.edges) - 1)])
        else:
            cuts = np.unique(np.quantile(here[~np.isnan(here)], np.arange(1, _PARTS) / _PARTS))
        edges = [-math.inf, *cuts.tolist(), math.inf]
        found = []
        for low, high in pairwise(edges):
            level = (
                f"≤ {high:.6g}"
                if math.isinf(low)
                else f"> {low:.6g}"
                if math.isinf(high)
                else f"{low:.6g} – {high:.6g}"
            )
            found.append(
                _Slice(column, level, (here > low) & (here <= high), (then > low) & (then <= high), None)
            )  # fmt: skip
    if np.isnan(here).any():
        found.append(_Slice(column, MISSING, np.isnan(here), np.isnan(then), None))
    return [one for one in found if one.inside.any()]


def _error(task: Literal["binary", "regression"], rows: Examined) -> Floats:
    gap = rows.score - rows.value
    return gap**2 if task == "binary" else np.abs(gap)


def _differs(
    error: Floats, inside: npt.NDArray[np.bool_], outside: npt.NDArray[np.bool_], needed: int
) -> tuple[float | None, float | None, float | None]:
    """(mean here, mean elsewhere, p-value); no p-value where too little is known."""
    here, rest = error[inside], error[outside]
    means = (float(here.mean()) if len(here) else None, float(rest.mean()) if len(rest) else None)
    if len(here) < needed or len(rest) < needed or means[0] is None or means[1] is None:
        return *means, None
    one, other = float(here.var(ddof=1)) / len(here), float(rest.var(ddof=1)) / len(rest)
    if one + other == 0:
        return *means, 1.0 if means[0] == means[1] else 0.0
    freedom = (one + other) ** 2 / (one**2 / (len(here) - 1) + other**2 / (len(rest) - 1))
    statistic = abs(means[0] - means[1]) / math.sqrt(one + other)
    return *means, float(2 * special.stdtr(freedom, -statistic))


def _metric(
    task: Literal["binary", "regression"], rows: Examined, chosen: npt.NDArray[np.bool_], policy: QualityPolicy
) -> tuple[float | None, float | None, float | None]:
    score, value = rows.score[chosen], rows.value[chosen]
    if len(score) < policy.min_rows:
        return None, None, None
    if task == "binary" and min(value.sum(), len(value) - value.sum()) < policy.min_class:
        return None, None, None
    few = QualityPolicy(resamples=200, resampled_rows=2_000, seed=policy.seed)
    point, samples = bootstrap(task, score, value, few)[_METRIC[task]]
    low, high = np.percentile(samples, [2.5, 97.5])
    return point, float(low), float(high)


def _drifted(
    manifest: Manifest, slices: Sequence[_Slice], now: Examined, before: Examined, policy: DriftPolicy
) -> list[tuple[str, ...]]:
    """By slice, the columns that are otherwise than in the window before; false discoveries over all of them together."""
    layout = Layout.of(manifest.baseline)
    verdicts: list[list[tuple[str, float, float]]] = []
    for one in slices:
        here, then = now.sketched(layout, one.inside), before.sketched(layout, one.before)
        if here is None or then is None or min(here.rows, then.rows) < policy.min_rows:
            verdicts.append([])
            continue
        columns = judge_columns(here.tallied(then), policy)
        verdicts.append(
            [(found.column, found.raw_p_value, found.severity) for found in columns if found.column != one.column]
        )
    adjusted = iter(benjamini_hochberg([p for found in verdicts for _, p, _ in found]))
    return [
        tuple(name for name, _, severity in found if next(adjusted) <= policy.false_discovery_rate and severity >= 1)
        for found in verdicts
    ]
