"""Does what comes in differ from training? One verdict a column, false discoveries controlled over all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from services.monitor.domain.drift.distances import jensen_shannon, median_ratio, scale_of, wasserstein
from services.monitor.domain.drift.statistics import (
    benjamini_hochberg,
    chi_squared,
    coarsen,
    compare_shares,
    kolmogorov_smirnov,
    more_hits,
    pool_rare,
    population_stability,
    smallest_ks,
    smallest_total_variation,
)
from services.monitor.domain.model import SCORE, Change, ColumnReport, Drift, Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from services.monitor.domain.drift.sketch import Sketch, Tallied

DRAWN_BINS = 16
DRAWN_LEVELS = 10
_MANY_LEVELS, _OFTEN = 20, 5
_DIRECTIONS: dict[Change, str] = {
    "none": "no values to compare",
    "higher": "values are higher than in training",
    "lower": "values are lower than in training",
    "spread": "values are spread differently",
}


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """When a difference is called drift: sure enough *and* large enough, on enough rows."""

    false_discovery_rate: float = 0.05
    min_rows: int = 100
    effect_floor: float = 0.1
    psi_floor: float = 0.1
    share_floor: float = 0.05
    # A window that can only show shifts above this is not called quiet.
    blind_above: float = 0.25
    drawn: bool = True
    """Whether columns get a histogram for people."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A column's figures before the p-values of all columns are adjusted together."""

    column: str
    test: Literal["ks", "chi2"]
    tallied: Tallied
    statistic: float
    p_value: float
    effect: float
    psi: float
    jensen_shannon: float
    missing_shift: float
    smallest_effect: float
    change: str
    names_rows: bool = False
    """Nearly every row of training has a level of its own, as a key has: that others come now says nothing."""

    @property
    def missing_ratio(self) -> float:
        return self.tallied.window_missing / max(self.tallied.rows, 1)

    @property
    def baseline_missing_ratio(self) -> float:
        return self.tallied.baseline_missing / max(self.tallied.baseline_rows, 1)

    @property
    def unseen_ratio(self) -> float:
        return 0.0 if self.names_rows else self.tallied.unseen / max(self.tallied.rows, 1)

    def severity(self, policy: DriftPolicy) -> float:
        """The largest of the effects, each in units of the floor from which it matters."""
        return max(
            self.effect / policy.effect_floor,
            self.psi / policy.psi_floor,
            self.missing_shift / policy.share_floor,
            self.unseen_ratio / policy.share_floor,
        )


def judge_drift(sketch: Sketch, policy: DriftPolicy) -> tuple[ColumnReport, ...]:
    """Every column of one version's window against that version's training, worst first."""
    tallied = sketch.tallied()
    judged = judge_columns(logged(sketch, tallied), policy)
    return judged + tuple(unlogged(name) for name in tallied if name not in logged(sketch, tallied))


def logged(sketch: Sketch, tallied: Mapping[str, Tallied]) -> dict[str, Tallied]:
    """Those columns that came in any row of the window."""
    seen = {sketch.layout.shown[name] for name in sketch.layout.columns if sketch.seen(name)} | {SCORE}
    return {name: one for name, one in tallied.items() if name in seen}


def judge_columns(tallied: Mapping[str, Tallied], policy: DriftPolicy) -> tuple[ColumnReport, ...]:
    """The verdict of each column given, worst first; false discoveries are controlled over all of them."""
    findings = [examine(name, one, policy, len(tallied)) for name, one in tallied.items()]
    adjusted = benjamini_hochberg([finding.p_value for finding in findings])
    judged = [judge_finding(finding, p_value, policy) for finding, p_value in zip(findings, adjusted, strict=True)]
    return worst_first(judged)


def worst_first(judged: Iterable[ColumnReport]) -> tuple[ColumnReport, ...]:
    """In the order in which people should look at them."""
    rank = {Drift.DRIFT: 0, Drift.SEASONAL: 1, Drift.NO_DRIFT: 2, Drift.NOT_ENOUGH_EVIDENCE: 3}
    return tuple(sorted(judged, key=lambda report: (rank[report.verdict], -report.severity, report.column)))


def overall(columns: Iterable[ColumnReport]) -> Drift:
    """One verdict from all columns: drift if any drifts, quiet if any could be judged and none drifts beyond its season."""
    verdicts = {column.verdict for column in columns}
    if Drift.DRIFT in verdicts:
        return Drift.DRIFT
    return Drift.NO_DRIFT if verdicts & {Drift.NO_DRIFT, Drift.SEASONAL} else Drift.NOT_ENOUGH_EVIDENCE


def examine(name: str, tallied: Tallied, policy: DriftPolicy, columns: int) -> Finding:
    """Compare values, the share of missing ones and that of unseen levels; a column's p-value is the
    least of its tests', times their number (Bonferroni)."""
    alpha = policy.false_discovery_rate / columns
    window_rows, baseline_rows = int(tallied.window.sum()), int(tallied.baseline.sum())
    numeric = tallied.edges is not None
    names_rows = not numeric and _names_rows(tallied)
    if numeric:
        values = kolmogorov_smirnov(tallied.baseline, tallied.window)
        groups = coarsen(tallied.baseline, tallied.window)
        smallest = smallest_ks(window_rows, baseline_rows, alpha)
        change = _DIRECTIONS[_direction(tallied)]
    else:
        baseline, window = pool_rare(tallied.baseline, tallied.window)
        groups = (baseline, window)
        values = chi_squared(baseline, window)
        smallest = smallest_total_variation(window_rows, baseline_rows, max(len(baseline), 2), alpha)
        change = _level_change(tallied)
    missing = compare_shares(tallied.baseline_missing, tallied.baseline_rows, tallied.window_missing, tallied.rows)
    judged_values = window_rows >= policy.min_rows and not names_rows
    p_values = [p for p, used in ((values.p_value, judged_values), (missing.p_value, _any_missing(tallied))) if used]
    if not numeric and not names_rows:
        # Rare levels are pooled, and an unseen one with them: it is looked at by itself as well.
        unlisted = int(tallied.baseline[-1]), int(tallied.window[-1])
        p_values.append(more_hits(unlisted[0], baseline_rows, unlisted[1], window_rows))
    return Finding(
        column=name,
        test="ks" if numeric else "chi2",
        tallied=tallied,
        statistic=values.statistic,
        p_value=min(1.0, min(p_values) * len(p_values)) if p_values and tallied.rows >= policy.min_rows else 1.0,
        effect=values.effect if judged_values else 0.0,
        psi=population_stability(*groups) if judged_values else 0.0,
        jensen_shannon=jensen_shannon(*groups) if judged_values else 0.0,
        missing_shift=missing.effect,
        smallest_effect=max(smallest, policy.effect_floor),
        change=change,
        names_rows=names_rows,
    )


def _names_rows(tallied: Tallied) -> bool:
    """Whether the levels listed, the most frequent ones of the training, hold fewer than two rows each, and none of them many."""
    listed = tallied.baseline[:-1]
    return len(listed) >= _MANY_LEVELS and int(listed.sum()) < 2 * len(listed) and int(listed.max()) < _OFTEN


def judge_finding(finding: Finding, p_value: float, policy: DriftPolicy) -> ColumnReport:
    """The verdict against training alone, at an adjusted p-value."""
    tallied = finding.tallied
    known = int(tallied.window.sum())
    significant = p_value <= policy.false_discovery_rate
    if significant and finding.severity(policy) >= 1:
        verdict, summary = Drift.DRIFT, _drift_sentence(finding, p_value, policy)
    elif finding.names_rows:
        verdict = Drift.NOT_ENOUGH_EVIDENCE
        summary = "nearly every row of the training has a value of its own, as a key has; new ones say nothing"
    elif known < policy.min_rows:
        verdict = Drift.NOT_ENOUGH_EVIDENCE
        summary = f"{known:,} values in the window; at least {policy.min_rows:,} are needed"
    elif finding.smallest_effect > policy.blind_above:
        verdict = Drift.NOT_ENOUGH_EVIDENCE
        summary = (
            f"{known:,} values against {int(tallied.baseline.sum()):,} in training could only have shown shifts "
            f"of {finding.smallest_effect:.2f} or more"
        )
    else:
        verdict = Drift.NO_DRIFT
        summary = (
            f"{statistic_text(finding)}, adjusted p {_p(p_value)}, n = {known:,}; a shift of {finding.smallest_effect:.2f} "
            "or more would have been seen"
        )
    return ColumnReport(
        column=finding.column,
        verdict=verdict,
        test=finding.test,
        statistic=finding.statistic,
        p_value=p_value,
        effect=finding.effect,
        psi=finding.psi,
        rows=tallied.rows,
        baseline_rows=tallied.baseline_rows,
        missing_ratio=finding.missing_ratio,
        baseline_missing_ratio=finding.baseline_missing_ratio,
        unseen_ratio=finding.unseen_ratio,
        smallest_effect=finding.smallest_effect,
        summary=summary,
        histogram=_draw(tallied, finding.test == "ks") if policy.drawn else None,
        raw_p_value=finding.p_value,
        severity=finding.severity(policy),
        change=_main_change(finding, policy),
        jensen_shannon=finding.jensen_shannon,
        wasserstein=_distance(tallied),
        median_ratio=_ratio(tallied),
    )


def unlogged(name: str) -> ColumnReport:
    """Of a column that no row of the window came with."""
    return ColumnReport(
        column=name, verdict=Drift.NOT_ENOUGH_EVIDENCE, test="none", statistic=0.0, p_value=1.0, effect=0.0, psi=0.0,
        rows=0, baseline_rows=0, missing_ratio=0.0, baseline_missing_ratio=0.0, unseen_ratio=0.0, smallest_effect=1.0,
        summary="not in the prediction log of this window",
    )  # fmt: skip


def _any_missing(tallied: Tallied) -> bool:
    return bool(tallied.baseline_missing or tallied.window_missing)


def _drift_sentence(finding: Finding, p_value: float, policy: DriftPolicy) -> str:
    parts = []
    if finding.missing_shift >= policy.share_floor:
        parts.append(
            f"missing in {finding.missing_ratio:.1%} of rows, {finding.baseline_missing_ratio:.1%} in training"
        )
    if finding.unseen_ratio >= policy.share_floor:
        what = "lie outside all values" if finding.test == "ks" else "have a level"
        parts.append(
            f"{finding.unseen_ratio:.1%} of rows {what} that training {'ever' if finding.test == 'ks' else 'never'} saw"
        )
    if finding.effect >= policy.effect_floor or finding.psi >= policy.psi_floor:
        parts.append(f"{finding.change} ({statistic_text(finding)})")
    return f"{'; '.join(parts)}; adjusted p {_p(p_value)}, n = {finding.tallied.rows:,}"


def statistic_text(finding: Finding) -> str:
    """How large the difference is."""
    if finding.test == "ks":
        return f"KS {finding.statistic:.2f}, PSI {finding.psi:.2f}"
    return f"{finding.effect:.0%} of rows changed level, PSI {finding.psi:.2f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _direction(tallied: Tallied) -> Change:
    """Where the mass went, from the two distribution functions."""
    if not tallied.window.any() or not tallied.baseline.any():
        return "none"
    gap = np.cumsum(tallied.baseline) / tallied.baseline.sum() - np.cumsum(tallied.window) / tallied.window.sum()
    up, down = float(gap.max()), float(-gap.min())
    if min(up, down) > 0.5 * max(up, down):
        return "spread"
    return "higher" if up > down else "lower"


def _main_change(finding: Finding, policy: DriftPolicy) -> Change:
    """What changed most, in units of the floor from which it matters."""
    by_values = max(finding.effect / policy.effect_floor, finding.psi / policy.psi_floor)
    missing, unseen = finding.missing_shift / policy.share_floor, finding.unseen_ratio / policy.share_floor
    if missing > max(by_values, unseen):
        return "missing"
    if finding.test == "ks":
        return _direction(finding.tallied)
    return "unseen" if unseen > by_values else "levels"


def _distance(tallied: Tallied) -> float | None:
    if tallied.edges is None or not tallied.window.any():
        return None
    scale = scale_of(tallied.baseline, tallied.edges, tallied.iqr)
    return None if scale is None else wasserstein(tallied.baseline, tallied.window, tallied.edges) / scale


def _ratio(tallied: Tallied) -> float | None:
    return None if tallied.edges is None else median_ratio(tallied.baseline, tallied.window, tallied.edges)


def _level_change(tallied: Tallied) -> str:
    """The level whose share moved most."""
    if not tallied.window.any() or not tallied.baseline.any():
        return "no values to compare"
    now, then = tallied.window / tallied.window.sum(), tallied.baseline / tallied.baseline.sum()
    place = int(np.argmax(np.abs(now - then)))
    return f"{tallied.labels[place][:40]!r} is {now[place]:.1%} of rows, {then[place]:.1%} in training"


def _draw(tallied: Tallied, numeric: bool) -> Histogram:
    """A few bins or levels as shares, for people."""
    if numeric:
        total = max(int(tallied.baseline.sum()), 1)
        middle = (np.cumsum(tallied.baseline) - tallied.baseline / 2) / total
        group = np.minimum((middle * DRAWN_BINS).astype(np.int64), DRAWN_BINS - 1)
        # A group is called by the upper edge of its last bin.
        last = np.flatnonzero(np.diff(group, append=DRAWN_BINS)).tolist()
        labels = tuple(tallied.labels[place] for place in last)
        baseline, window = coarsen(tallied.baseline, tallied.window, DRAWN_BINS)
        if len(labels) != len(baseline):
            labels = tuple("" for _ in baseline)
    else:
        order = np.argsort(-(tallied.baseline + tallied.window), kind="stable")
        kept, rest = order[:DRAWN_LEVELS], order[DRAWN_LEVELS:]
        labels = (*(tallied.labels[place][:40] for place in kept), *(("rest",) if len(rest) else ()))
        baseline = np.append(tallied.baseline[kept], tallied.baseline[rest].sum() if len(rest) else [])
        window = np.append(tallied.window[kept], tallied.window[rest].sum() if len(rest) else [])
    then, now = max(float(baseline.sum()), 1.0), max(float(window.sum()), 1.0)
    return Histogram(labels, tuple((baseline / then).tolist()), tuple((window / now).tolist()))
