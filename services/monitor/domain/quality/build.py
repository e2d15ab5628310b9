"""Quality of a model in depth: estimates, calibration, changed errors, slices, worth. Computed when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.drift.judge import DriftPolicy
from services.monitor.domain.quality.business_value import price_answers
from services.monitor.domain.quality.calibration import CalibrationPolicy, judge_calibration
from services.monitor.domain.quality.concept import follow_errors
from services.monitor.domain.quality.estimate import Known, estimate_binary, estimate_regression
from services.monitor.domain.quality.measure import QualityPolicy, bootstrap
from services.monitor.domain.quality.slices import judge_slices
from services.monitor.domain.quality.words import Estimate, QualityReport
from tenon.core.errors import NotFound, Place, Unavailable, did_you_mean
from tenon.core.specs.model import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from services.monitor.domain.model import Role, Window
    from services.monitor.domain.ports import Policies, PredictionLog, Versions
    from services.monitor.domain.quality.examined import Examined, Halves, ReadExamined
    from services.monitor.domain.quality.words import Calibration, ConceptDrift, SliceReport, Worth
    from tenon.core.manifest import Manifest
    from tenon.core.specs import MonitorSpec
    from tenon.core.tenancy import TenantId

_COLUMNS_OF_LOSSES = 60
# An error of so many mean errors of the test counts as this large when errors are followed.
_LARGEST_ERROR = 8.0


class BuildQuality:
    """The use case. Everything is as known at `known_at`: an estimate of then stands beside what came true until then."""

    def __init__(
        self, log: PredictionLog, read: ReadExamined, versions: Versions, policies: Policies, *,
        quality: QualityPolicy | None = None, drift: DriftPolicy | None = None, calibration: CalibrationPolicy | None = None,
    ) -> None:  # fmt: skip
        self._log, self._read, self._versions, self._policies = log, read, versions, policies
        self._quality, self._drift = quality or QualityPolicy(), drift or DriftPolicy()
        self._calibration = calibration or CalibrationPolicy()

    def __call__(
        self, tenant: TenantId, model: str, window: Window, *, version: int = 0, role: Role | None = None,
        known_at: int | None = None,
    ) -> QualityReport:  # fmt: skip
        """Judge a model's window; `version` 0 is all versions, shadows only where their role is asked for.

        Raises `NotFound` for a model that was never seen.
        """
        if self._log.seen_model(tenant, model) is None:
            near = did_you_mean(model, [seen.model for seen in self._log.seen(tenant)])
            raise NotFound(
                "MODEL_NOT_SEEN", f"no predictions or labels of a model {model!r} have arrived for tenant {tenant}",
                place=Place(field="model"), hint=f"did you mean {near!r}?" if near else None,
            )  # fmt: skip
        spec = self._policies.of(tenant, model)
        parts = []
        notes: list[str] = []
        halves = self._read(tenant, model, window, version=version, role=role, known_at=known_at)
        for number, half in halves.items():
            try:
                manifest = self._versions.manifest(tenant, model, number)
            except (NotFound, Unavailable) as err:
                notes.append(f"version {number} is not judged: {err.message}")
                continue
            parts.append(_OneVersion(number, manifest, half, self._quality, self._drift, self._calibration, spec))
            notes += [f"version {number}: {text}" for text in parts[-1].notes()]
        return QualityReport(
            tenant=tenant.value, model=model, window=window, known_at=known_at,
            rows=sum(half.rows for half in halves.values()), examined=sum(len(half.now) for half in halves.values()),
            estimates=tuple(found for part in parts for found in part.estimates()),
            calibration=tuple(part.calibration() for part in parts),
            concept=tuple(part.concept() for part in parts),
            slices=tuple(found for part in parts for found in part.slices()),
            worth=tuple(found for part in parts if (found := part.worth()) is not None),
            notes=tuple(notes),
        )  # fmt: skip


class _OneVersion:
    """One version's rows and what it promised."""

    def __init__(
        self, version: int, manifest: Manifest, half: Halves, quality: QualityPolicy, drift: DriftPolicy,
        calibration: CalibrationPolicy, spec: MonitorSpec,
    ) -> None:  # fmt: skip
        self._version, self._manifest, self._half, self._spec = version, manifest, half, spec
        self._quality, self._drift, self._calibration = quality, drift, calibration
        self._expected = manifest.evidence.model
        self._usable = _usable(manifest, half.now)

    def notes(self) -> Iterator[str]:
        """What was asked for and cannot be said."""
        known = {column.name for column in self._manifest.signature.inputs}
        for column in self._spec.slices:
            if column not in known:
                yield f"there is no column {column!r} to slice by"
        value = self._spec.value
        if value is not None and value.task is not Task(self._manifest.task):
            yield f"the declared value is for task {value.task.value}, not {self._manifest.task}"

    def estimates(self) -> list[Estimate]:
        """Each metric as estimated for all rows of the window, with what came true by now."""
        now, before = self._half.now, self._half.before
        usable = _usable(self._manifest, before)
        names = self._numbers()
        known = Known(
            before.score[usable], before.value[usable], {name: before.numbers[name][usable] for name in names}
        )
        if self._manifest.task == "binary":
            found = estimate_binary(self._version, now.score, known, self._expected, self._quality)
        else:
            found = estimate_regression(
                self._version, now.score, {name: now.numbers[name] for name in names}, known, self._expected,
                self._manifest.evidence.interval, self._quality,
            )  # fmt: skip
        return self._beside(found)

    def _beside(self, found: list[Estimate]) -> list[Estimate]:
        score, value = self._half.now.score[self._usable], self._half.now.value[self._usable]
        few = len(score) < self._quality.min_rows
        if self._manifest.task == "binary":
            few = few or min(value.sum(), len(value) - value.sum()) < self._quality.min_class
        if few:
            return found
        realised = bootstrap(self._manifest.task, score, value, self._quality)
        beside = []
        for one in found:
            point, samples = realised[one.metric]
            low, high = (float(edge) for edge in np.percentile(samples, [2.5, 97.5]))
            beside.append(
                Estimate(
                    one.metric, one.version, one.rows, one.value, one.low, one.high, one.expected, one.basis, one.basis_rows,
                    one.verdict, point, low, high, len(score),
                )
            )  # fmt: skip
        return beside

    def _numbers(self) -> list[str]:
        now, before = self._half.now.numbers, self._half.before.numbers
        inputs = [column.name for column in self._manifest.signature.inputs]
        return [name for name in inputs if name in now and name in before][:_COLUMNS_OF_LOSSES]

    def calibration(self) -> Calibration:
        """On the labels of the window."""
        return judge_calibration(
            self._manifest.task, self._version, self._half.now.score[self._usable], self._half.now.value[self._usable],
            self._calibration, interval=self._manifest.evidence.interval,
        )  # fmt: skip

    def concept(self) -> ConceptDrift:
        """Errors of the time before and of the window, in the order in which they became known."""
        parts = [(self._half.before, _usable(self._manifest, self._half.before)), (self._half.now, self._usable)]
        score, value, known = (
            np.concatenate([getattr(rows, name)[usable] for rows, usable in parts])
            for name in ("score", "value", "known")
        )
        if self._manifest.task == "binary":
            return follow_errors(self._version, (score - value) ** 2, known, "squared error", 1.0)
        scale = _LARGEST_ERROR * max(self._expected.metrics.get("mae", 0.0), 0.0)
        if not scale:
            # A test without errors, or without this figure: what is usual is read from training's middle half.
            scale = _LARGEST_ERROR * (self._manifest.baseline.score.iqr or 1.0)
        return follow_errors(self._version, np.abs(score - value), known, "absolute error", scale)

    def slices(self) -> tuple[SliceReport, ...]:
        """Of the declared columns."""
        if not self._spec.slices:
            return ()
        return judge_slices(
            self._manifest,
            self._version,
            self._spec.slices,
            self._half.now,
            self._half.before,
            self._quality,
            self._drift,
        )

    def worth(self) -> Worth | None:
        """As declared; None without a declaration, or one for another task."""
        value = self._spec.value
        if value is None or value.task is not Task(self._manifest.task):
            return None
        score, truth = self._half.now.score[self._usable], self._half.now.value[self._usable]
        return price_answers(self._version, score, truth, value, self._manifest.threshold)


def _usable(manifest: Manifest, rows: Examined) -> npt.NDArray[np.bool_]:
    found = rows.labelled
    return found & ((rows.value == 0) | (rows.value == 1)) if manifest.task == "binary" else found
