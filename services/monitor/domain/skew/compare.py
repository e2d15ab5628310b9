"""Train/serve skew by value: logged rows are recomputed by the training path and compared bit for bit."""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from services.monitor.domain.skew.words import (
    COMPARED,
    Logged,
    SampledRow,
    Skew,
    SkewCheck,
    SkewedFeature,
    SkewReport,
    SkewResult,
)
from tenon.core.errors import DeadlineExceeded, NotFound, TenonError, Unavailable
from tenon.core.levels import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from services.monitor.domain.model import Window
    from services.monitor.domain.ports import Versions
    from services.monitor.domain.skew.sample_rows import Key, RowSample
    from services.monitor.domain.skew.words import SkewChecks, TrainedValues
    from tenon.core.manifest import Manifest
    from tenon.core.tenancy import TenantId


@dataclass(frozen=True, slots=True)
class SkewPolicy:
    """How much is looked at, and when it is enough to say that there is no skew."""

    # Rows that differ are looked at again with the data of their own time, one by one.
    explained_rows: int = 8
    # The online store follows the tables: values of so many commits before the answer are values of its time, too.
    commits_behind: int = 3
    round_seconds: float = 240.0
    min_rows: int = 50
    confidence: float = 0.95
    keep_days: int = 90


class CheckSkew:
    """One round: the rows that were sampled since the last are compared, model by model, and what is found is kept.

    A difference alone is not skew. A row whose answer said that it rested on remembered values, or on none, is counted
    apart. Where the values are those that the training path gives with the data of the answer's time, the data came in
    later; only what no such data explain is skew. A correction that became known after the row's event time never counts,
    by what the training path itself believes at that time.
    """

    def __init__(
        self, sample: RowSample, versions: Versions, trained: TrainedValues, checks: SkewChecks, *,
        now: Callable[[], int], policy: SkewPolicy | None = None,
        counted: Callable[[TenantId, str, int, SkewResult, int], object] = lambda *_: None,
    ) -> None:  # fmt: skip
        self._sample, self._versions, self._trained, self._checks = sample, versions, trained, checks
        self._now, self._policy, self._counted = now, policy or SkewPolicy(), counted

    def __call__(self) -> list[SkewCheck]:
        """Compare what was sampled. What cannot be compared in time is counted as unchecked."""
        until = self._now() + int(self._policy.round_seconds * 1e6)
        made = []
        for key, rows in self._sample.take().items():
            check = self._check(key, rows, until)
            if check is None:
                continue
            tenant, model, version = key
            self._checks.add(tenant, check)
            for result, count in check.counts.items():
                self._counted(tenant, model, version, result, count)
            made.append(check)
        self._checks.drop_before(self._now() - self._policy.keep_days * 86_400_000_000)
        return made

    def _check(self, key: Key, rows: list[SampledRow], until: int) -> SkewCheck | None:
        tenant, model, version = key
        try:
            manifest = self._versions.manifest(tenant, model, version)
        except (NotFound, Unavailable):
            return SkewCheck(model, version, self._now(), {SkewResult.UNCHECKED: len(rows)}, ())
        if not manifest.signature.views:
            return None
        one = _OneVersion(manifest, tenant, self._trained, self._policy, lambda: self._now() < until)
        counts, found = one.compare(rows)
        return SkewCheck(model, version, self._now(), counts, tuple(found))


class _OneVersion:
    """The comparison of one version's rows."""

    def __init__(
        self, manifest: Manifest, tenant: TenantId, trained: TrainedValues, policy: SkewPolicy,
        in_time: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._tenant, self._trained, self._policy, self._in_time = tenant, trained, policy, in_time
        self._digests = manifest.lineage.feature_views
        self._entities = manifest.signature.views
        self._types = {column.name: column.type for column in manifest.signature.inputs}
        self._features = [column.name for column in manifest.signature.inputs if column.source == "history"]

    def compare(self, rows: Iterable[SampledRow]) -> tuple[dict[SkewResult, int], list[SkewedFeature]]:
        """How many rows came out how, and the features that were served with another value."""
        counts: Counter[SkewResult] = Counter()
        ready: list[tuple[SampledRow, dict[str, str]]] = []
        for row in rows:
            keys = self._keys(row)
            if row.level == Level.STALE:
                counts[SkewResult.STALE] += 1
            elif row.level == Level.MISSING or not any(name in row.values for name in self._features):
                counts[SkewResult.MISSING] += 1
            elif keys is None:
                counts[SkewResult.NO_ENTITY] += 1
            else:
                ready.append((row, keys))
        skewed: dict[str, SkewedFeature] = {}
        try:
            differing = self._differing(ready)
        except (NotFound, Unavailable, DeadlineExceeded):
            counts[SkewResult.UNCHECKED] += len(ready)
            return dict(counts), []
        counts[SkewResult.SAME] += len(ready) - len(differing)
        for place, (row, keys, trained) in enumerate(differing):
            if place >= self._policy.explained_rows or not self._in_time():
                counts[SkewResult.UNCHECKED] += 1
                continue
            unexplained = self._unexplained(row, keys, trained)
            if unexplained is None:
                counts[SkewResult.UNCHECKED] += 1
                continue
            counts[SkewResult.SKEW if unexplained else SkewResult.LATE] += 1
            for name, value in unexplained.items():
                before = skewed.get(name)
                served = row.values[name]
                seen = before.rows if before else 0
                skewed[name] = SkewedFeature(name, row.version, seen + 1, served, value, row.at)
        found = sorted(skewed.values(), key=lambda one: (-one.rows, one.feature))
        return {result: count for result, count in counts.items() if count}, found

    def _keys(self, row: SampledRow) -> dict[str, str] | None:
        """The entity's keys in canonical text; None when the row does not say all of them."""
        keys: dict[str, str] = {}
        for name in dict.fromkeys(name for names in self._entities.values() for name in names):
            if name not in row.values:
                return None
            # A key that was sent as missing has no history, in training and here.
            if (text := key_text(row.values[name], self._types.get(name, "string"))) is not None:
                keys[name] = text
        return keys

    def _differing(
        self, ready: Sequence[tuple[SampledRow, dict[str, str]]]
    ) -> list[tuple[SampledRow, dict[str, str], dict[str, Logged]]]:
        """The rows of which some value is not what the training path gives, with what it gives for those features."""
        if not ready:
            return []
        if not self._in_time():
            raise DeadlineExceeded("SKEW_ROUND_OVER", "the time for this round of comparisons is over")
        values = self._ask([(keys, row.event_time) for row, keys in ready])
        found = []
        for place, (row, keys) in enumerate(ready):
            others = _others(row, {name: column[place] for name, column in values.items()})
            if others:
                found.append((row, keys, others))
        return found

    def _unexplained(
        self, row: SampledRow, keys: dict[str, str], trained: Mapping[str, Logged]
    ) -> dict[str, Logged] | None:
        """What is left of a difference with the data of the answer's time; None when that cannot be asked."""
        left = dict(trained)
        for commits in range(self._policy.commits_behind):
            try:
                values = self._ask([(keys, row.event_time)], as_of=row.at, commits_before=commits)
            except TenonError:
                return None
            for name in list(left):
                if name in values and same_value(row.values[name], values[name][0]):
                    del left[name]
            if not left or not self._in_time():
                break
        return left

    def _ask(
        self, rows: Sequence[tuple[Mapping[str, str], int]], *, as_of: int | None = None, commits_before: int = 0
    ) -> Mapping[str, Sequence[Logged]]:
        return self._trained.recompute(
            self._tenant, self._digests, tuple(self._entities), rows, as_of=as_of, commits_before=commits_before
        )


def _others(row: SampledRow, trained: Mapping[str, Logged]) -> dict[str, Logged]:
    """Features that were logged with another value than the training path gives."""
    return {
        name: value for name, value in trained.items() if name in row.values and not same_value(row.values[name], value)
    }


def same_value(one: Logged, other: Logged) -> bool:
    """Whether two values are the same text, or the same number to the last bit; all that is missing is alike.

    >>> same_value("a", "a"), same_value(None, float("nan")), same_value("a", None), same_value(0.5, 0.5)
    (True, True, False, True)
    """
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return same_bits(math.nan if one is None else one, math.nan if other is None else other)


def same_bits(one: float, other: float) -> bool:
    """Whether two values are the same number, to the last bit; all that is missing is alike.

    >>> same_bits(0.1 + 0.2, 0.3), same_bits(float("nan"), -float("nan")), same_bits(0.0, -0.0)
    (False, True, False)
    """
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return struct.pack("<d", one) == struct.pack("<d", other)


def key_text(value: Logged, kind: str) -> str | None:
    """A logged key in the text that features knows entities by; None is missing.

    >>> key_text(17.0, "integer"), key_text(1.0, "boolean"), key_text("p1", "string"), key_text(2.5, "decimal")
    ('17', 'true', 'p1', '2.5')
    """
    if value is None or isinstance(value, str):
        return value
    if math.isnan(value):
        return None
    if kind == "boolean":
        return "true" if value else "false"
    return np.format_float_positional(value, trim="-")


class ReportSkew:
    """What all comparisons of a window say together."""

    def __init__(self, checks: SkewChecks, policy: SkewPolicy | None = None) -> None:
        self._checks, self._policy = checks, policy or SkewPolicy()

    def __call__(self, tenant: TenantId, model: str, window: Window, *, version: int = 0) -> SkewReport:
        """Judge; `version` 0 is all versions."""
        checks = [one for one in self._checks.between(tenant, model, window) if version in {0, one.version}]
        counts: Counter[SkewResult] = Counter()
        features: dict[tuple[str, int], SkewedFeature] = {}
        for check in checks:
            counts.update(check.counts)
            for one in check.features:
                before = features.get((one.feature, one.version))
                rows = one.rows + (before.rows if before else 0)
                features[one.feature, one.version] = SkewedFeature(
                    one.feature, one.version, rows, one.served, one.trained, one.at
                )
        found = tuple(sorted(features.values(), key=lambda one: (-one.rows, one.feature, one.version)))
        compared = sum(counts[result] for result in COMPARED)
        verdict = Skew.NO_SKEW if compared >= self._policy.min_rows else Skew.NOT_ENOUGH_EVIDENCE
        if counts[SkewResult.SKEW]:
            verdict = Skew.SKEW
        highest = highest_share(counts[SkewResult.SKEW], compared, self._policy.confidence)
        return SkewReport(
            tenant=tenant.value, model=model, window=window, verdict=verdict,
            counts={result: counts[result] for result in SkewResult if counts[result]},
            features=found, highest_share=highest,
            summary=_summary(verdict, counts, compared, found, highest, self._policy.min_rows),
        )  # fmt: skip


def highest_share(hits: int, rows: int, confidence: float) -> float:
    """The upper end of the one-sided exact interval of a share. No hits among 100 rows leave 3 %.

    Clopper, C., Pearson, E. (1934). The use of confidence or fiducial limits. Biometrika 26(4).

    >>> round(highest_share(0, 100, 0.95), 3), highest_share(0, 0, 0.95)
    (0.03, 1.0)
    """
    return 1.0 if hits >= rows else float(special.betaincinv(hits + 1, rows - hits, confidence))


def _summary(
    verdict: Skew, counts: Mapping[SkewResult, int], compared: int, features: Sequence[SkewedFeature], highest: float,
    needed: int,
) -> str:  # fmt: skip
    apart = [
        f"{counts[result]:,} {words}"
        for result, words in (
            (SkewResult.LATE, "explained by data that came in after the answer"),
            (SkewResult.STALE, "rested on remembered values"),
            (SkewResult.MISSING, "had no history"),
            (SkewResult.NO_ENTITY, "do not say whom they are about"),
            (SkewResult.UNCHECKED, "could not be checked"),
        )
        if counts.get(result)
    ]
    rest = f" ({'; '.join(apart)})" if apart else ""
    if verdict is Skew.SKEW:
        worst = features[0]
        others = f" and {len(features) - 1} more" if len(features) > 1 else ""
        return (
            f"{worst.feature}{others} served with another value than training gives, in {counts[SkewResult.SKEW]:,} of "
            f"{compared:,} rows compared: version {worst.version} got {worst.served!r}, training has {worst.trained!r}{rest}"
        )
    if verdict is Skew.NO_SKEW:
        return f"all of {compared:,} rows compared have the values of training; at most {highest:.2%} do not{rest}"
    return f"{compared:,} rows compared; at least {needed:,} are needed to say that there is no skew{rest}"
