"""`make bench-retraining`: eight years of flights with a model trained on the two before: never again, monthly, or when there is reason.

Needs `TENON_TEST_DATA`. Features' own code makes the point-in-time training set of ten years, the trainer's fits, monitor's
counts, judges and asks; only the services between them are left out. A model is trained as its document says: tested on the last
90 days, and learning from what was known before them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import yaml
from deltalake import write_deltalake

from examples.flights.prepare import COLUMNS, read_flights
from services.features.domain.build_training_set import BuildTrainingSet
from services.features.domain.model import LakeTable
from services.features.storage.lake import DeltaLake
from services.features.storage.training_files import BlobTrainingFiles
from services.monitor.domain.drift.judge import DriftPolicy, judge_drift, overall
from services.monitor.domain.drift.sketch import Layout, Sketch
from services.monitor.domain.model import Column, Drift, LabelledRows, NumericColumn, Role, TextColumn, VerdictRecord
from services.monitor.domain.quality.measure import QualityPolicy, judge_quality
from services.monitor.domain.retraining.judge import Request, State, backtest, cooling, reasons_to_retrain
from services.trainer.domain.baseline import training_baseline
from services.trainer.domain.examples import Labelled, label_examples, model_inputs
from services.trainer.domain.judging import evaluate
from services.trainer.domain.ports import Plan
from services.trainer.domain.split import split_by_time
from services.trainer.engine.estimators import InstalledEstimators
from tenon.core.manifest import Manifest
from tenon.core.specs import DatasetSpec, FeatureViewSpec, ModelSpec, model_signature
from tenon.core.specs.model import Task
from tenon.core.specs.monitor import Retrain
from tenon.core.tenancy import TenantId
from tenon.core.timestamps import rfc3339
from tenon.kit.blobs import open_blobs
from tests.bench import frame
from tests.bench.tables import Tables
from tests.support.features_fakes import FakeMeter, FakeViews
from tests.support.monitor_data import manifest, numeric_baseline

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

SPECS = Path(__file__).parents[2] / "examples" / "flights" / "specs"
DAY = 86_400_000_000
TEST, GAP, WINDOW = 90 * DAY, 2 * DAY, 90 * DAY
ROUNDS = 100
MONTHS = [int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000_000 for year in range(2010, 2018) for month in range(1, 13)]  # fmt: skip
DRIFTED = Retrain.model_validate({"reasons": ["quality", "drift"], "coolDown": "90d"})
POLICIES: dict[str, Retrain | str] = {
    "never": "never",
    "monthly": "monthly",
    "policy: worse, cool-down 30 days": Retrain.model_validate({"reasons": ["quality"], "coolDown": "30d"}),
    "policy: worse or drifted, cool-down 90 days": DRIFTED,
}  # fmt: skip
RULES = {"policy: the same, released where not surely worse row by row": "paired, not worse", "policy: the same, released where surely better row by row": "paired, better"}  # fmt: skip


@dataclass
class Version:
    """A trained model: its answers to all flights of ten years, and what it promised."""

    number: int
    manifest: Manifest
    answers: npt.NDArray[np.float64]
    layout: Layout


@dataclass
class Airline:
    """Ten years of one airline, and the models trained on it so far, by the day they were trained."""

    tenant: TenantId
    spec: ModelSpec
    spine: DatasetSpec
    inputs: Sequence[Any]
    rows: Labelled
    versions: dict[int, Version] = field(default_factory=dict)
    seconds: float = 0.0

    def train(self, now: int) -> Version:
        """The model that a training of that moment makes; trained once, whichever policy asks."""
        if now not in self.versions:
            began = time.process_time()
            known = self.rows.known_at < now
            split = split_by_time(self.rows.event_time, self.rows.known_at, start=now - TEST, gap=GAP)
            test = split.test[known[split.test]]
            plan = Plan(self.spec.task, self.inputs, self.spec.metric, self.spec.seed)
            estimator = InstalledEstimators(1).build("xgboost", plan)
            fitted = estimator.fit(
                self.rows.examples.take(split.train), {**estimator.default_params, "rounds": ROUNDS}, lambda _: None
            )
            answers = fitted.predict(self.rows.examples.frame)
            figures = evaluate(self.spec.task, self.rows.examples.label[test], answers[test])
            made = manifest({}, numeric_baseline(answers[test]), tenant=self.tenant.value, model=self.spec.name)
            learnt = self.rows.event_time[split.train]
            found = made.evidence.model_copy(
                update={
                    "model": figures, "train_rows": len(split.train), "train_to": rfc3339(int(learnt.max())),
                    "test_from": rfc3339(now - TEST), "test_to": rfc3339(now - 1),
                }
            )  # fmt: skip
            baseline = training_baseline(self.rows.examples.take(split.train).frame, self.inputs, answers[test])
            made = made.model_copy(update={"evidence": found, "baseline": baseline})
            self.versions[now] = Version(len(self.versions) + 1, made, answers, Layout.of(baseline))
            self.seconds += time.process_time() - began
        return self.versions[now]


@dataclass
class Course:
    """What became of an airline under one policy."""

    answers: npt.NDArray[np.float64]
    served: npt.NDArray[np.int64]
    trainings: int = 0
    adopted: int = 0
    compared: list[tuple[bool, float, float, float]] = field(default_factory=list)
    """Of each backtest: whether it said better, the paired difference of log loss on its period (positive: the new one is better) with its
    standard error, and what the difference came to in the 90 days after."""


def main() -> None:
    """Run the airlines named (default: AA)."""
    data = Path(os.environ.get("TENON_TEST_DATA", "../shared/data"))
    if not (data / "flights" / "flights.csv.gz").is_file():
        sys.exit("error: set TENON_TEST_DATA to the folder that holds flights/flights.csv.gz")
    figures: list[frame.Figure] = []
    notes: list[str] = []
    flights = read_flights(data)
    for carrier in sys.argv[1:] or ["AA"]:
        frame.tell(carrier)
        airline = read(carrier, flights)
        courses = {name: follow(airline, policy) for name, policy in POLICIES.items()}
        courses |= {name: follow(airline, DRIFTED, rule) for name, rule in RULES.items()}
        first = MONTHS[0]
        replayed = airline.rows.event_time >= first
        label = airline.rows.examples.label[replayed]
        never, monthly = (_figures(courses[name], replayed, label) for name in ("never", "monthly"))
        notes.append(f"{carrier}: {int(replayed.sum()):,} flights from 2010 to 2017; {len(airline.versions)} models in {airline.seconds:.0f} CPU s")  # fmt: skip
        for name, course in courses.items():
            found = _figures(course, replayed, label)
            policy = name.startswith("policy")
            figures.append(frame.figure(f"{carrier}, {name}: ROC AUC", found["roc_auc"], "", at_least=never["roc_auc"] if policy else None))  # fmt: skip
            figures.append(frame.figure(f"{carrier}, {name}: log loss", found["log_loss"], "", at_most=never["log_loss"] if policy else None))  # fmt: skip
            figures.append(frame.figure(f"{carrier}, {name}: trainings", course.trainings, "", yardstick=("monthly", courses["monthly"].trainings), at_most=courses["monthly"].trainings - 1 if policy else None))  # fmt: skip
            notes.append(f"  {name}: {course.trainings} trainings, {course.adopted} released")
            for said in (True, False):
                after = [later for better, _, _, later in course.compared if better is said]
                if after and name not in RULES:
                    right = sum((one > 0) is said for one in after)
                    notes.append(
                        f"    told {'better' if said else 'not better'}: {len(after)} times, right in the next 90 days {right} times, mean gain of log loss {np.mean(after):+.4f}"
                    )
        notes.append(f"  monthly over never: ROC AUC {monthly['roc_auc'] - never['roc_auc']:+.4f}, log loss {monthly['log_loss'] - never['log_loss']:+.4f}")  # fmt: skip
    frame.report("retraining", "Flights, trained up to 2009 and replayed to 2017", figures, notes)


def read(carrier: str, flights: pl.DataFrame) -> Airline:
    """The airline's point-in-time training set, as features makes it."""
    tenant = TenantId(carrier.lower())
    spine, model = (_documents(name)[0] for name in ("flights", "late_arrival"))
    spec = ModelSpec.model_validate(model | {"split": {"by": "time", "test": "90d", "gap": "2d"}})
    dataset = DatasetSpec.model_validate(spine)
    views = {one["name"]: FeatureViewSpec.model_validate(one) for one in _documents("history")}
    types: dict[str, Any] = {"integer": pl.Int64, "string": pl.String, "timestamp": pl.Datetime("us", "UTC")}
    own = flights.filter(pl.col("carrier") == carrier).select(COLUMNS)
    own = own.with_columns(
        (pl.col(name).dt.replace_time_zone("UTC") if column.type.value == "timestamp" else pl.col(name)).cast(types[column.type.value])
        for name, column in dataset.columns.items()
    ).drop_nulls(["scheduled_arrival", "block_minutes"])  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="tenon-bench-retraining-") as name:
        folder = Path(name)
        (folder / "lake" / "flights").mkdir(parents=True)
        write_deltalake(str(folder / "lake" / "flights"), own)
        known = FakeViews()
        for view in views.values():
            known.apply(tenant, view, dry_run=False)
        lake, blobs = DeltaLake(open_blobs(f"file://{folder}/lake")), open_blobs(f"file://{folder}/blobs")
        table = LakeTable(str(folder / "lake" / "flights"), 0, dataset)
        files = BlobTrainingFiles(blobs, folder / "scratch")
        carried = [*spec.features.request, spec.label.column, "arrived_at"]
        build = BuildTrainingSet(known, Tables({"flights": table}), lake, files, FakeMeter())
        made = build.build(tenant, "flights", carried, spec.features.views)
        rows = pl.read_parquet(made.uri.removeprefix("file://"))
    inputs = model_inputs(model_signature(spec, dataset, views))
    return Airline(tenant, spec, dataset, inputs, label_examples(rows, spec, dataset, inputs))


def paired(airline: Airline, live: Version, new: Version, start: int, end: int, known: int) -> tuple[float, float]:
    """By how much the new version's log loss is less than the old one's on the same flights, and its standard error; flights of one day
    are taken together, as a bad day is bad for all of them."""
    rows = airline.rows
    some = (rows.event_time >= start) & (rows.event_time < end) & (rows.known_at < known)
    label = rows.examples.label[some]
    losses = [
        -np.log(np.clip(np.where(label == 1, one.answers[some], 1 - one.answers[some]), 1e-9, 1)) for one in (live, new)
    ]
    gain = losses[0] - losses[1]
    if len(gain) < 2:
        return 0.0, float("inf")
    days, place = np.unique(rows.event_time[some] // DAY, return_inverse=True)
    off = np.bincount(place, weights=gain - gain.mean(), minlength=len(days))
    return float(gain.mean()), float(np.sqrt((off**2).sum()) / len(gain))


def follow(airline: Airline, policy: Retrain | str, rule: str = "") -> Course:
    """Month by month: answer, look at the last 90 days, and do what the policy says."""
    rows = airline.rows
    course = Course(np.full(len(rows.event_time), np.nan), np.zeros(len(rows.event_time), dtype=np.int64))
    live = airline.train(MONTHS[0])
    records: list[VerdictRecord] = []
    newest: Request | None = None
    for begin, end in zip(MONTHS, [*MONTHS[1:], MONTHS[-1] + 31 * DAY], strict=True):
        month = (rows.event_time >= begin) & (rows.event_time < end)
        course.answers[month], course.served[month] = live.answers[month], live.number
        if policy == "never" or end > MONTHS[-1]:
            continue
        if policy == "monthly":
            live, course.trainings, course.adopted = airline.train(end), course.trainings + 1, course.adopted + 1
            continue
        assert isinstance(policy, Retrain)
        records.insert(0, verdict(airline, live, course, end))
        signs = reasons_to_retrain(policy, records, None, now=end, window=WINDOW)
        if not signs or cooling(policy, newest, end):
            continue
        course.trainings += 1
        new = airline.train(end)
        newest = Request(str(end), airline.tenant, airline.spec.name, live.number, end, signs, State.NOT_BETTER)
        state, told = backtest(
            live.manifest,
            live.number,
            _labelled(airline, course, end - TEST, end),
            new.manifest.evidence,
            QualityPolicy(),
        )
        gain, error = paired(airline, live, new, end - TEST, end, end)
        later, _ = paired(airline, live, new, end, end + TEST, end + 2 * TEST)
        course.compared.append((state is State.BETTER, gain, error, later))
        frame.tell(f"  {rfc3339(end)[:10]} {', '.join(sign.reason.value for sign in signs)}: {state.value}: {told}")
        better = {
            "": state is State.BETTER,
            "paired, not worse": gain > -1.96 * error,
            "paired, better": gain > 1.96 * error,
        }[rule]
        if better:
            live, course.adopted = new, course.adopted + 1
    return course


def verdict(airline: Airline, live: Version, course: Course, now: int) -> VerdictRecord:
    """What monitor would have said of the last 90 days, on what was known then."""
    rows = airline.rows
    window = (rows.event_time >= now - WINDOW) & (rows.event_time < now) & (course.served == live.number)
    sketch = Sketch(live.layout)
    part = rows.examples.frame.filter(pl.Series(window))
    sketch.add({column.name: _column(column) for column in part.get_columns()}, course.answers[window])
    columns = judge_drift(sketch, DriftPolicy())
    found = _labelled(airline, course, now - WINDOW, now).get((live.number, Role.STABLE))
    score, value = (found.score, found.value) if found is not None else (np.empty(0), np.empty(0))
    quality, _, text = judge_quality("binary", live.number, score, value, live.manifest.evidence.model, QualityPolicy())
    drifted = tuple(one.column for one in columns if one.verdict is Drift.DRIFT)
    return VerdictRecord(airline.spec.name, now, now - WINDOW, now, live.number, overall(columns), quality, sketch.rows, len(score), drifted, text)  # fmt: skip


def _labelled(airline: Airline, course: Course, start: int, end: int) -> dict[tuple[int, Role], LabelledRows]:
    rows, found = airline.rows, {}
    window = (rows.event_time >= start) & (rows.event_time < end) & (rows.known_at < end)
    for number in np.unique(course.served[window]).tolist():
        part = window & (course.served == number)
        if number:
            delay = rows.known_at[part] - rows.event_time[part]
            found[int(number), Role.STABLE] = LabelledRows(course.answers[part], rows.examples.label[part], delay)
    return found


def _column(column: pl.Series) -> Column:
    if column.dtype != pl.String:
        return NumericColumn(column.to_numpy())
    levels = column.drop_nulls().unique().sort().to_list()
    codes = column.replace_strict(levels, list(range(len(levels))), default=-1, return_dtype=pl.Int32)
    return TextColumn(codes.fill_null(-1).to_numpy(), tuple(levels))


def _figures(course: Course, replayed: npt.NDArray[np.bool_], label: npt.NDArray[np.float64]) -> dict[str, float]:
    return evaluate(Task.BINARY, label, course.answers[replayed]).metrics


def _documents(name: str) -> list[dict[str, Any]]:
    found = list(yaml.safe_load_all((SPECS / f"{name}.yaml").read_text()))
    return [{key: value for key, value in one.items() if key not in ("kind", "tenant")} for one in found]


if __name__ == "__main__":
    main()
