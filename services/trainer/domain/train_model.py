"""The training use case: from a point-in-time training set to a registered version with its evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.trainer.domain.baseline import training_baseline
from services.trainer.domain.conformal import interval_of, interval_warnings
from services.trainer.domain.corrections import Applied, columns_for, lay_over
from services.trainer.domain.examples import Labelled, can_learn, label_examples, model_inputs
from services.trainer.domain.intervals import with_intervals
from services.trainer.domain.judging import best_candidate, evaluate, is_better, judge_gates, naive_baseline
from services.trainer.domain.model import Model, Outcome, Run
from services.trainer.domain.ports import (
    Bundler,
    Corrections,
    Definitions,
    Estimator,
    Estimators,
    Examples,
    Floats,
    Plan,
    Sealed,
    TrainingSet,
    TrainingSets,
    Versions,
)
from services.trainer.domain.split import (
    Rows,
    TimeSplit,
    split_at_random,
    split_by_time,
    split_validation,
    start_of_test,
)
from services.trainer.domain.without_history import Second, ladder_of, train_without_history
from tenon.core.errors import Precondition, Unavailable
from tenon.core.manifest import Evaluation, Evidence, InputColumn, Lineage, Manifest, Signature
from tenon.core.specs import DatasetSpec, check_model, model_signature
from tenon.core.specs.model import Task
from tenon.core.tenancy import TenantId
from tenon.core.timestamps import parse_duration, rfc3339

_FOREVER = 2**62
MIN_TRAIN_ROWS = 50
MIN_VALIDATION_ROWS = 20
FEW_OF_A_CLASS = 100
"""Below so many test rows of the rarer class a run says how uncertain its figures are."""
Report = Callable[[float, str], None]
"""Told how far the run has come (0 to 1) and what it is doing. May raise to stop it."""


@dataclass(frozen=True)
class TrainModel:
    """Trains one model. Expected refusals are `Precondition` or `Invalid` errors with a reason for the run."""

    definitions: Definitions
    training_sets: TrainingSets
    estimators: Estimators
    bundler: Bundler
    versions: Versions
    code_version: str
    corrections: Corrections | None = None
    """None: there is no monitor whose experts could have corrected anything."""

    def __call__(self, tenant: TenantId, model: Model, run: Run, report: Report) -> Outcome:
        """Train, judge, seal and register."""
        made = self.make(tenant, model, report, known_before=run.created_at)
        report(0.97, "registering the version")
        version = self.versions.register(tenant, model.name, run.id, made.bundle, made.sha256)
        return Outcome(
            version=version,
            bundle_sha256=made.sha256,
            evidence=made.manifest.evidence.model_dump(mode="json"),
            gates=[gate.model_dump(mode="json") for gate in made.manifest.gates],
        )

    def make(self, tenant: TenantId, model: Model, report: Report, *, known_before: int = _FOREVER) -> Sealed:
        """Train, judge and seal. The same document on the same data gives the same bundle, byte for byte, whichever run
        asks for it and whenever. What experts said after `known_before` is not known."""
        spec = model.spec
        report(0.01, f"asking features for the training set of {spec.spine}")
        spine = self.definitions.get_dataset(tenant, spec.spine)
        known = self.definitions.list_views(tenant)
        views = {name: view.spec for name, view in known.items()}
        check_model(spec, spine, views)
        # Data sets say which features are texts.
        read = {views[name].dataset for name in spec.features.views} - {spine.name}
        sources = {name: self.definitions.get_dataset(tenant, name) for name in sorted(read)}
        signature = model_signature(spec, spine, views, sources)
        inputs = model_inputs(signature)
        said = [] if self.corrections is None else self.corrections.known(tenant, spec.name, known_before)
        # Without corrections the training set is the one of before them, to the byte.
        carried = list(dict.fromkeys([*spec.features.request, spec.label.column, *columns_for(said, spine, spec)]))
        training_set = self.training_sets.build(tenant, spec.spine, carried, spec.features.views)
        for name, digest in training_set.view_digests.items():
            if name in known and known[name].digest != digest:
                raise Unavailable(
                    "DEFINITIONS_CHANGED", f"feature view {name!r} was changed while the training set was being made"
                )

        report(0.25, f"reading {training_set.rows:,} rows")
        entity = list(dict.fromkeys(name for view in spec.features.views for name in views[view].entity))
        corrected = lay_over(self.training_sets.read(tenant, training_set), spine, spec, entity, said)
        labelled = label_examples(corrected.frame, spec, spine, inputs)
        split = self._split(model, spine, labelled)
        train, test = labelled.examples.take(split.train), labelled.examples.take(split.test)
        _check_some_value(model, train)
        plan = Plan(spec.task, inputs, spec.metric, spec.seed)

        chosen, params, candidates, warnings = self._choose(model, plan, labelled, split, report)
        report(0.65, f"fitting {chosen.name} on all {len(train):,} training rows")
        fitted = chosen.fit(train, params, lambda done: report(0.65 + 0.12 * done, f"fitting {chosen.name}"))
        report(0.77, f"judging it on {len(test):,} test rows")
        scores = fitted.predict(test.frame)
        figures = with_intervals(spec.task, evaluate(spec.task, test.label, scores), test.label, scores, seed=spec.seed)
        baseline = naive_baseline(spec.task, train.label, test.label)
        flattered = self._random_split(chosen, params, plan, labelled.examples, split, report)
        second = self._without_history(model, chosen.name, plan, labelled, split, report)
        interval = interval_of(spec, spine, labelled, split, scores)

        evidence = Evidence(
            estimator=chosen.name,
            train_rows=len(train),
            train_from=rfc3339(int(labelled.event_time[split.train].min())),
            train_to=rfc3339(int(labelled.event_time[split.train].max())),
            test_from=rfc3339(split.start),
            test_to=rfc3339(int(labelled.event_time[split.test].max())),
            gap=spec.split.gap,
            model=figures,
            baseline=baseline,
            random_split=flattered,
            without_history=second.figures if second is not None else None,
            interval=interval,
            candidates=candidates,
            warnings=[
                *warnings,
                *_warnings(model, labelled, split, figures, flattered),
                *_left_out(corrected),
                *interval_warnings(spec.task, interval),
            ],
        )
        gates = judge_gates(spec.task, spec.gates, figures, baseline)
        report(0.92, "packing and checking parity")
        manifest = Manifest(
            tenant=tenant.value,
            model=spec.name,
            task=spec.task.value,
            engine=self.estimators.engine_of(chosen.name),  # type: ignore[arg-type]  # the manifest checks it
            signature=Signature(
                inputs=[InputColumn.model_validate(item.as_dict()) for item in signature],
                output="probability" if spec.task is Task.BINARY else "prediction",
                views={name: list(views[name].entity) for name in spec.features.views},
            ),
            lineage=self._lineage(model, training_set, corrected),
            evidence=evidence,
            gates=gates,
            baseline=training_baseline(train.frame, inputs, scores),
            parity={},
            threshold=spec.threshold,
            fallback=ladder_of(
                spec.fallback,
                spec.task,
                train.label,
                second,
                interval_of(spec, spine, labelled, split, second.scores) if second is not None else None,
            ),
            files={},
        )
        return self.bundler.seal(fitted, manifest, test.frame, second.fitted if second is not None else None)

    def _split(self, model: Model, spine: DatasetSpec, labelled: Labelled) -> TimeSplit:
        spec = model.spec
        start = start_of_test(spec.split, labelled.event_time)
        split = split_by_time(labelled.event_time, labelled.known_at, start=start, gap=parse_duration(spec.split.gap))
        last = rfc3339(int(labelled.event_time.max()))
        if not len(split.test):
            raise Precondition(
                "NO_TEST_ROWS",
                f"no labelled row of {spec.spine!r} has {spine.event_time} from {rfc3339(start)} on, so there is nothing "
                f"to test {spec.name!r} on; the last one is of {last}",
                hint="set split.testFrom to an earlier day, or give split.test, a length before the last row",
            )
        if len(split.train) < MIN_TRAIN_ROWS:
            raise Precondition(
                "TOO_FEW_TRAIN_ROWS",
                f"only {len(split.train)} rows of {spec.spine!r} are before the test period (from {rfc3339(start)}), outside "
                f"the gap of {spec.split.gap}, with a label known in time; at least {MIN_TRAIN_ROWS} are needed "
                f"({split.in_gap} are in the gap, {split.known_late} were known too late)",
                hint="shorten the test period or the gap, or ingest more data",
            )
        if spec.task is Task.BINARY:
            label = labelled.examples.label[split.train]
            if label.min() == label.max():
                found = "positive" if label[0] else "negative"
                rule = (
                    f"{spec.label.column} > {spec.label.above:g}" if spec.label.above is not None else spec.label.column
                )
                raise Precondition(
                    "TRAINING_ONE_CLASS",
                    f"all {len(label)} training rows of {spec.spine!r} are {found} (label {rule}); a binary model needs "
                    "both classes",
                    hint="change label.above" if spec.label.above is not None else None,
                    data={"class": found, "rows": len(label)},
                )
        return split

    def _choose(
        self, model: Model, plan: Plan, labelled: Labelled, split: TimeSplit, report: Report
    ) -> tuple[Estimator, Mapping[str, Any], dict[str, dict[str, float]], list[str]]:
        """Which estimator with which parameters, found on the last part of the training rows; the test is not seen."""
        spec = model.spec
        estimators = [self.estimators.build(name, plan) for name in dict.fromkeys(spec.estimators)]
        inner = split_validation(
            labelled.event_time[split.train], labelled.known_at[split.train], gap=parse_duration(spec.split.gap)
        )
        fit, validation = (labelled.examples.take(split.train[rows]) for rows in (inner.train, inner.test))
        if not (can_learn(spec.task, fit, MIN_TRAIN_ROWS) and can_learn(spec.task, validation, MIN_VALIDATION_ROWS)):
            first = estimators[0]
            return first, first.default_params, {}, [
                f"too few training rows for a validation period: {first.name} was taken with its default parameters"
            ]  # fmt: skip
        tuned = {}
        candidates = {}
        for index, estimator in enumerate(estimators):
            base, width = 0.3 + 0.35 * index / len(estimators), 0.35 / len(estimators)
            step = f"trying {estimator.name} on {len(fit):,} rows, validated on the {len(validation):,} after them"
            report(base, step)
            found = estimator.tune(fit, validation, _part(report, base, width, step))
            tuned[estimator.name] = found.params
            candidates[estimator.name] = evaluate(spec.task, validation.label, found.predictions).metrics
        name = best_candidate(spec.task, spec.metric, candidates)
        return next(item for item in estimators if item.name == name), tuned[name], candidates, []

    def _random_split(
        self,
        estimator: Estimator,
        params: Mapping[str, Any],
        plan: Plan,
        examples: Examples,
        split: TimeSplit,
        report: Report,
    ) -> Evaluation | None:
        """The figures a random split of the very same rows would have shown, with the same sizes and parameters."""
        step = "fitting again under a random split, to show how flattering that would have been"
        report(0.8, step)
        pool: Rows = np.concatenate([split.train, split.test])
        train_rows, test_rows = split_at_random(pool, train=len(split.train), seed=plan.seed)
        train, test = examples.take(train_rows), examples.take(test_rows)
        if not can_learn(plan.task, train, 1):
            return None
        fitted = estimator.fit(train, params, _part(report, 0.8, 0.08, step))
        scores = fitted.predict(test.frame)
        return with_intervals(plan.task, evaluate(plan.task, test.label, scores), test.label, scores, seed=plan.seed)

    def _without_history(
        self, model: Model, name: str, plan: Plan, labelled: Labelled, split: TimeSplit, report: Report
    ) -> Second | None:
        """The second model, where the document's ladder has one."""
        spec = model.spec
        if spec.fallback is None or not spec.fallback.has("without_history"):
            return None
        return train_without_history(
            self.estimators, name, plan, labelled, split,
            gap=parse_duration(spec.split.gap), fewest=(MIN_TRAIN_ROWS, MIN_VALIDATION_ROWS),
            tick=_part(report, 0.88, 0.04, f"fitting {name} without history, for when it cannot be had"),
        )  # fmt: skip

    def _lineage(self, model: Model, training_set: TrainingSet, corrected: Applied) -> Lineage:
        return Lineage(
            spec_digest=model.digest,
            dataset=model.spec.spine,
            dataset_version=training_set.dataset_versions.get(model.spec.spine, 0),
            dataset_versions=dict(training_set.dataset_versions),
            feature_views=dict(training_set.view_digests),
            training_set_digest=training_set.file_sha256,
            corrections=corrected.count or None,
            corrections_digest=corrected.digest or None,
            code_version=self.code_version,
            environment=dict(self.estimators.environment()),
            seed=model.spec.seed,
        )


def _left_out(corrected: Applied) -> list[str]:
    if not corrected.left_out:
        return []
    return [
        f"{corrected.left_out} of {corrected.left_out + corrected.count} labels by experts were left out: no row of the "
        "spine, or more than one, is what was asked about, or a later one is about the same row"
    ]


def _part(report: Report, base: float, width: float, step: str) -> Callable[[float], None]:
    """A tick that moves the run's progress through one part of the whole."""
    return lambda done: report(base + width * done, step)


def _check_some_value(model: Model, train: Examples) -> None:
    for column in train.frame:
        values = column.fill_nan(None) if column.dtype.is_float() else column
        if values.null_count() < len(values):
            return
    raise Precondition(
        "NO_FEATURE_VALUES",
        f"none of the {len(train)} training rows has a value in any feature of {model.name!r}",
        hint="look at the data set's rows: are the columns filled, and do the views' entities occur before?",
    )


def _warnings(
    model: Model, labelled: Labelled, split: TimeSplit, figures: Evaluation, flattered: Evaluation | None
) -> list[str]:
    spec = model.spec
    found = []
    delay: Floats = (labelled.known_at - labelled.event_time).astype(np.float64)
    late = float(np.mean(delay > parse_duration(spec.split.gap)))
    if late > 0.001:
        days = float(np.quantile(delay, 0.99)) / 86_400e6
        found.append(
            f"{late:.1%} of labels become known later than the gap of {spec.split.gap} (99 % within {days:.1f} days); "
            f"{split.known_late} training rows were left out because their label was not known when the test period starts"
        )
    if labelled.without_label:
        found.append(f"{labelled.without_label} rows have no label (yet) and were left out")
    if figures.positives is not None and figures.positives in {0, figures.rows}:
        found.append("the test period has one class only: roc_auc and pr_auc are not defined")
    if figures.rows < 200:
        found.append(f"only {figures.rows} test rows: the figures are uncertain")
    rarer = min(figures.positives, figures.rows - figures.positives) if figures.positives is not None else None
    if rarer and rarer < FEW_OF_A_CLASS and spec.metric in figures.intervals:
        low, high = figures.intervals[spec.metric]
        found.append(
            f"only {rarer} test rows of the rarer class: {spec.metric} {figures.metrics[spec.metric]:.4g} may as well be "
            f"{low:.4g} or {high:.4g} (95 % interval)"
        )
    honest, dishonest = figures.metrics.get(spec.metric), (flattered.metrics.get(spec.metric) if flattered else None)
    if honest is not None and dishonest is not None and is_better(spec.task, spec.metric, dishonest, honest):
        difference = abs(dishonest - honest)
        if difference > 0.02 * max(abs(honest), 1e-12):
            low, high = figures.intervals.get(spec.metric, (honest, honest))
            chance = ", which may be chance (within the 95 % interval)" if low <= dishonest <= high else ""
            found.append(
                f"a random split would have shown {spec.metric} {dishonest:.4g} instead of {honest:.4g}: flattering by "
                f"{difference:.4g}{chance}"
            )
    return found
