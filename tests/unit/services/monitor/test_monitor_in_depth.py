"""Quality in depth: slices, estimates beside what came true, as known at a time; and how it goes over both wires."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from services.monitor.api_grpc.in_depth import quality_message
from services.monitor.api_http.in_depth import quality_json
from services.monitor.domain.label_words import AnsweredRows
from services.monitor.domain.log.receive import batch_from_document
from services.monitor.domain.model import Label, Quality, Role, TextColumn, Window
from services.monitor.domain.quality.build import BuildQuality
from services.monitor.domain.quality.examined import ReadExamined
from services.monitor.domain.quality.words import Basis, Calibrated, Concept
from tenon.core.errors import NotFound
from tenon.core.specs import MonitorSpec, parse_spec
from tenon.core.tenancy import TenantId
from tests.support.monitor_data import DAY, START, batch_document, categorical_baseline, manifest, numeric_baseline
from tests.support.monitor_fakes import MemoryLog, MemoryVersions

NORTH = TenantId("north")
WEEK = Window(START, START + 7 * DAY)


@dataclass
class World:
    """A log in memory as the ports of this use case, a version, and a Monitor document."""

    log: MemoryLog
    versions: MemoryVersions
    spec: MonitorSpec

    def answered(
        self, tenant: TenantId, model: str, window: Window, *, after: int = 0, ids: Collection[str] = ()
    ) -> Iterator[AnsweredRows]:
        """See `Answered`; whole batches."""
        for position, batch in enumerate(self.log.batches.values(), 1):
            if batch.tenant == tenant and window.start <= int(batch.at[0]) < window.end:
                yield AnsweredRows(
                    position, batch.version, batch.role, batch.level, batch.prediction_ids, batch.at, batch.event_time,
                    batch.score, batch.columns,
                )  # fmt: skip

    def known(
        self, tenant: TenantId, model: str, prediction_ids: Sequence[str], known_at: int | None
    ) -> Mapping[str, tuple[float, int]]:
        """See `LabelLookup`."""
        found = {}
        for name in prediction_ids:
            history = self.log.labels.get((tenant, model, name), {})
            moments = [moment for moment in history if known_at is None or moment <= known_at]
            if moments:
                found[name] = history[max(moments)], max(moments)
        return found

    def of(self, tenant: TenantId, model: str) -> MonitorSpec:
        """See `Policies`."""
        return self.spec

    def build(self, **more: Any) -> BuildQuality:
        """The use case."""
        return BuildQuality(self.log, ReadExamined(self.log, self, self, **more), self.versions, self)

    def take(self, score: Any, truth: Any, columns: dict[str, Any], *, at: int, known: int, **more: Any) -> None:
        """Answers, and their labels."""
        batch = batch_from_document(batch_document(score, columns, at=at, **more))
        self.log.store(NORTH, batch)
        labels = [Label(name, float(value), known) for name, value in zip(batch.prediction_ids, truth, strict=True)]
        self.log.record(NORTH, "cost", [label for label in labels if np.isfinite(label.value)])


def rows(count: int, seed: int, bad: str = "") -> tuple[Any, Any, dict[str, Any]]:
    """Answers that are calibrated, but in the ward `bad`, where they are turned around; truths; inputs."""
    random = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(-random.normal(0, 1.5, count)))
    ward = np.array(["east", "north", "west"])[random.integers(0, 3, count)]
    truth = (random.random(count) < np.where(ward == bad, 1 - chance, chance)).astype(float)
    age = random.normal(50, 10, count)
    return chance, truth, {"ward": ward.tolist(), "age": age}


@pytest.fixture
def world() -> World:
    """Labels of the month before, and a week of answers of which the labels come two weeks later."""
    score, truth, columns = rows(3000, 1)
    version = manifest(
        {"ward": categorical_baseline(columns["ward"]), "age": numeric_baseline(columns["age"])},
        numeric_baseline(score), metrics={"roc_auc": 0.8, "log_loss": 0.5, "brier": 0.17},
    )  # fmt: skip
    spec = parse_spec(
        MonitorSpec,
        {
            "name": "cost",
            "slices": ["ward", "age", "nothing"],
            "value": {"unit": "EUR", "perTruePositive": 10, "perFalsePositive": -4},
        },
    )
    made = World(MemoryLog(), MemoryVersions({1: version}), spec)
    made.take(score, truth, columns, at=START - 10 * DAY, known=START - DAY)
    made.take(*rows(2000, 2, bad="west"), at=START + DAY, known=START + 20 * DAY)
    return made


def test_a_bad_slice_is_found_and_the_others_are_not_accused(world: World) -> None:
    """Worst first, with how sure that is; shares beside training's; quarters of a number; a note on what is no column."""
    report = world.build()(NORTH, "cost", WEEK)
    wards = {one.level: one for one in report.slices if one.column == "ward"}
    assert (report.slices[0].column, report.slices[0].level, report.slices[0].verdict) == (
        "ward",
        "west",
        Quality.WORSE,
    )
    assert {one.level for one in report.slices if one.verdict is Quality.WORSE} == {"west"}
    assert wards["west"].value is not None
    assert wards["west"].value < 0.5 < (wards["east"].value or 0)
    assert sum(one.rows for one in wards.values()) == report.rows == report.examined == 2000
    assert wards["east"].share == pytest.approx(wards["east"].baseline_share or 0, abs=0.05)
    assert wards["east"].coverage == 1.0
    ages = [one for one in report.slices if one.column == "age"]
    assert len(ages) == 4
    assert all(400 < one.rows < 600 for one in ages)
    assert report.notes == ("version 1: there is no column 'nothing' to slice by",)


def test_an_estimate_stands_beside_what_came_true(world: World) -> None:
    """As known before the labels there is only the estimate, with its own basis; later what came true, and the estimate of
    then is the same. A concept that changed in one ward is what it could not know, and what the errors show."""
    build = world.build()
    then = build(NORTH, "cost", WEEK, known_at=START + 7 * DAY)
    now = build(NORTH, "cost", WEEK)
    early, late = ({one.metric: one for one in report.estimates}["roc_auc"] for report in (then, now))
    assert (early.realised, early.basis, early.basis_rows) == (None, Basis.LABELS, 3000)
    assert (early.value, early.low, early.high) == (late.value, late.low, late.high)
    assert late.realised is not None
    assert late.realised < late.low
    assert late.realised_rows == 2000
    assert [one.verdict for one in then.concept] == [Concept.UNCHANGED]
    (concept,) = now.concept
    assert concept.verdict is Concept.WORSE
    assert [change.known_at for change in concept.changes] == [START + 20 * DAY]
    assert then.calibration[0].verdict is Calibrated.NOT_ENOUGH_EVIDENCE
    assert now.calibration[0].verdict is not Calibrated.CALIBRATED
    assert then.worth == ()
    assert now.worth[0].rows == 2000


def test_a_slice_that_moved_is_told_with_its_column(world: World) -> None:
    """The ages of one ward only: the whole hides it, the slice shows it; the slicing column itself is not news."""
    score, truth, columns = rows(2000, 3)
    west = np.array(columns["ward"]) == "west"
    columns["age"] = columns["age"] + np.where(west, 12.0, 0.0)
    world.take(score, truth, columns, at=START + 8 * DAY, known=START + 9 * DAY)
    report = world.build()(NORTH, "cost", Window(START + 7 * DAY, START + 14 * DAY))
    wards = {one.level: one.drifted for one in report.slices if one.column == "ward"}
    assert wards == {"west": ("age",), "east": (), "north": ()}


def test_many_rows_are_thinned_evenly_and_shadows_are_asked_for(world: World) -> None:
    """Every n-th row, over all batches, the same for every replica; a shadow's rows only under its role."""
    world.take(*rows(2000, 4), at=START + 2 * DAY, known=START + 20 * DAY)
    world.take(*rows(500, 5), at=START + 2 * DAY, known=START + 20 * DAY, role="shadow", version=2)
    report = world.build(most=1000)(NORTH, "cost", WEEK)
    assert (report.rows, report.examined) == (4000, 1000)
    assert report == world.build(most=1000)(NORTH, "cost", WEEK)
    read = ReadExamined(world.log, world, world)
    shadows = read(NORTH, "cost", WEEK, role=Role.SHADOW)
    assert {number: half.rows for number, half in shadows.items()} == {2: 500}
    assert isinstance(shadows[2].now.columns["ward"], TextColumn)
    assert (
        world.build()(NORTH, "cost", WEEK, role=Role.SHADOW)
        .notes[0]
        .startswith("version 2 is not judged: there is no version")
    )
    with pytest.raises(NotFound, match="cots"):
        world.build()(NORTH, "cots", WEEK)


def test_a_level_without_answers_of_the_model_is_left_out(world: World) -> None:
    """What a rule answered says nothing of the model."""
    batch = batch_document(np.full(300, 0.5), {"ward": ["east"] * 300, "age": np.ones(300)}, at=START + DAY)
    world.log.store(NORTH, batch_from_document(batch | {"level": "rule"}))
    assert world.build()(NORTH, "cost", WEEK).rows == 2000


def test_a_regression_is_estimated_calibrated_and_followed(world: World) -> None:
    """Errors that double in the window: the model of the losses sees the column that says so; worth is per unit of error."""
    random = np.random.default_rng(6)

    def some(count: int, hard: float) -> tuple[Any, Any, dict[str, Any]]:
        kind = (random.random(count) < hard).astype(float)
        answer = random.normal(100, 10, count)
        return answer, answer + random.normal(size=count) * (4 + 12 * kind), {"age": kind}

    score, truth, columns = some(2500, 0.1)
    version = manifest(
        {"age": numeric_baseline(columns["age"])}, numeric_baseline(score), task="regression",
        metrics={"mae": float(np.abs(score - truth).mean()), "rmse": 6.0, "r2": 0.7},
    )  # fmt: skip
    spec = parse_spec(MonitorSpec, {"name": "cost", "value": {"unit": "EUR", "perUnitOfError": -2}})
    made = World(MemoryLog(), MemoryVersions({1: version}), spec)
    made.take(score, truth, columns, at=START - 10 * DAY, known=START - DAY)
    now, came, inputs = some(1500, 0.6)
    made.take(now, came, inputs, at=START + DAY, known=START + 20 * DAY)
    report = made.build()(NORTH, "cost", WEEK)
    mae = {one.metric: one for one in report.estimates}["mae"]
    assert mae.verdict is Quality.WORSE
    assert mae.realised is not None
    assert mae.realised == pytest.approx(float(np.abs(now - came).mean()))
    assert mae.low <= mae.realised <= mae.high
    assert (report.concept[0].verdict, report.concept[0].error) == (Concept.WORSE, "absolute error")
    assert report.calibration[0].verdict is Calibrated.CALIBRATED
    assert report.worth[0].total == pytest.approx(-2 * float(np.abs(now - came).sum()))
    made.spec = parse_spec(MonitorSpec, {"name": "cost", "value": {"unit": "EUR", "perTruePositive": 2}})
    report = made.build()(NORTH, "cost", WEEK)
    assert (report.worth, report.notes) == ((), ("version 1: the declared value is for task binary, not regression",))


def test_both_wires_say_the_same(world: World) -> None:
    """JSON without NaN, and messages with the same names and figures."""
    report = world.build()(NORTH, "cost", WEEK)
    shown = json.loads(json.dumps(quality_json(report), allow_nan=False))
    message = quality_message(report)
    for name in ("estimates", "calibration", "concept", "slices", "worth"):
        assert len(shown[name]) == len(getattr(message, name)) > 0
    for one, other in zip(shown["slices"], message.slices, strict=True):
        assert (one["column"], one["level"], one["verdict"], one["rows"]) == (
            other.column,
            other.level,
            other.verdict,
            other.rows,
        )
        assert one["value"] == other.value
    assert shown["concept"][0]["changes"][0]["known_at"].endswith("Z")
    assert shown["calibration"][0]["coverage"] is None
    assert not message.calibration[0].HasField("coverage")
    early = world.build()(NORTH, "cost", WEEK, known_at=START)
    assert quality_json(early)["calibration"][0]["error"] is None
    assert quality_message(early).calibration[0].verdict == "not_enough_evidence"
