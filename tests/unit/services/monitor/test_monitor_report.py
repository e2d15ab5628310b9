"""Reports: each version against its own training and test, said in one sentence, the worst thing first."""

import re
from typing import Any

import numpy as np
import pytest

from services.monitor.domain.log.receive import batch_from_document
from services.monitor.domain.model import Drift, Label, Quality, Role, Window
from services.monitor.domain.quality.measure import QualityPolicy
from services.monitor.domain.reports.build import BuildReport
from services.monitor.domain.reports.evaluate import Evaluate
from services.monitor.domain.reports.html import render_html
from tenon.core.errors import NotFound
from tenon.core.tenancy import TenantId
from tests.support.monitor_data import DAY, START, batch_document, categorical_baseline, manifest, numeric_baseline
from tests.support.monitor_fakes import MemoryLog, MemoryVerdicts, MemoryVersions, MemoryWindows

NORTH = TenantId("north")
WINDOW = Window(START - DAY, START + DAY)


class World:
    """A model whose score is the probability behind its outcome; versions and months as a test likes them."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        x = self.rng.normal(size=20_000)
        score = 1 / (1 + np.exp(-x))
        kind = self.rng.choice(["a", "b"], size=20_000).tolist()
        self.log, self.versions = MemoryLog(), MemoryVersions()
        for version in (1, 2):
            self.versions.manifests[version] = manifest(
                {"x": numeric_baseline(x), "kind": categorical_baseline(kind)}, numeric_baseline(score),
                metrics={"roc_auc": 0.735, "log_loss": 0.60, "brier": 0.208},
            )  # fmt: skip
        self.build = BuildReport(
            self.log,
            MemoryWindows(self.log, self.versions),
            self.log,
            self.versions,
            quality=QualityPolicy(resamples=100),
        )

    def record(self, document: dict[str, Any]) -> None:
        """Take one batch."""
        batch = batch_from_document(document)
        self.log.store(batch.tenant, batch)

    def answer(
        self, rows: int, *, shift: float = 0.0, version: int = 1, role: str = "stable", labelled: bool = False,
        random_scores: bool = False, at: int = START, event_time: int | None = None, level: str = "",
    ) -> None:  # fmt: skip
        """Answer some rows, and label them if asked."""
        x = self.rng.normal(loc=shift, size=rows)
        truth = 1 / (1 + np.exp(-x))
        score = self.rng.permutation(truth) if random_scores else truth
        document = batch_document(
            score, {"x": x, "kind": self.rng.choice(["a", "b"], size=rows).tolist()}, version=version, role=role, at=at,
            event_time=event_time,
        )  # fmt: skip
        self.record(document | {"level": level})
        if labelled:
            outcome = (self.rng.random(rows) < truth).astype(float)
            labels = [
                Label(name, float(value), at + DAY)
                for name, value in zip(document["prediction_id"], outcome, strict=True)
            ]
            self.log.record(NORTH, "cost", labels)


@pytest.fixture
def world() -> World:
    """A fresh world."""
    return World()


def test_a_calm_month(world: World) -> None:
    """Without shift and with good answers the report says both, with sample sizes."""
    world.answer(2_000, labelled=True)
    report = world.build(NORTH, "cost", WINDOW)
    assert (report.drift, report.quality) == (Drift.NO_DRIFT, Quality.AS_EXPECTED)
    assert (report.predictions, report.labels, report.label_coverage) == (2_000, 2_000, 1.0)
    assert "n = 2,000" in report.summary
    assert "no drift" in report.summary


def test_a_drifted_month_with_bad_answers(world: World) -> None:
    """Worse quality is said before drift, and drift names the worst column."""
    world.answer(1_500, shift=1.0, labelled=True, random_scores=True)
    report = world.build(NORTH, "cost", WINDOW)
    assert (report.drift, report.quality) == (Drift.DRIFT, Quality.WORSE)
    assert report.summary.startswith("Version 1 answers worse than on its test")
    assert "`x`" in report.summary or "score" in report.summary
    assert report.summary.index("worse") < report.summary.index("drift")


def test_drift_without_labels(world: World) -> None:
    """Without labels drift is still told, and quality is not enough evidence, not fine."""
    world.answer(1_500, shift=1.0)
    report = world.build(NORTH, "cost", WINDOW)
    assert (report.drift, report.quality) == (Drift.DRIFT, Quality.NOT_ENOUGH_EVIDENCE)
    assert report.summary.startswith("Drift from version 1's training")
    assert "0 of 1,500 predictions labelled" in report.summary


def test_a_handful_of_rows(world: World) -> None:
    """With few rows both verdicts are not enough evidence, and the sentence says how few."""
    world.answer(20, shift=3.0, labelled=True)
    report = world.build(NORTH, "cost", WINDOW)
    assert (report.drift, report.quality) == (Drift.NOT_ENOUGH_EVIDENCE, Quality.NOT_ENOUGH_EVIDENCE)
    assert "20" in report.summary


def test_an_empty_window(world: World) -> None:
    """A window without predictions is not enough evidence and no error."""
    world.answer(500)
    report = world.build(NORTH, "cost", Window(0, 1))
    assert (report.predictions, report.drift_version) == (0, 0)
    assert report.summary == "Not enough evidence: there are no predictions in this window."


def test_what_answers_rest_on_is_told(world: World) -> None:
    """Answers without fresh history are counted in the sentence, on the page and in the figures; fresh ones need no words."""
    world.answer(900, level="fresh")
    assert "history" not in world.build(NORTH, "cost", WINDOW).summary
    world.answer(60, level="stale")
    world.answer(40, level="without_history")
    report = world.build(NORTH, "cost", WINDOW)
    assert report.levels == (("fresh", 900), ("stale", 60), ("without_history", 40))
    assert report.summary.endswith("100 of 1,000 answers had no fresh history (60 stale, 40 without history).")
    assert "without history 40" in render_html(report, START)


def test_an_unknown_model_names_the_near_one(world: World) -> None:
    """A model nobody asked is not found, with the name that was probably meant."""
    world.answer(1)
    with pytest.raises(NotFound) as caught:
        world.build(NORTH, "csot", WINDOW)
    assert caught.value.hint == "did you mean 'cost'?"
    with pytest.raises(NotFound):
        world.build(TenantId("south"), "cost", WINDOW)


def test_versions_are_judged_apart(world: World) -> None:
    """A bad canary makes the whole worse; the stable version stays as expected; drift is told of the larger one."""
    world.answer(2_000, labelled=True)
    world.answer(600, version=2, role="canary", labelled=True, random_scores=True)
    report = world.build(NORTH, "cost", WINDOW)
    verdicts = {(one.version, one.role): one.quality for one in report.versions}
    assert verdicts == {(1, Role.STABLE): Quality.AS_EXPECTED, (2, Role.CANARY): Quality.WORSE}
    assert (report.quality, report.drift_version) == (Quality.WORSE, 1)
    assert report.summary.startswith("Version 2 answers worse")
    only = world.build(NORTH, "cost", WINDOW, version=1)
    assert (only.quality, only.predictions) == (Quality.AS_EXPECTED, 2_000)
    canary = world.build(NORTH, "cost", WINDOW, role=Role.CANARY)
    assert (canary.drift_version, canary.predictions) == (2, 600)


def test_a_bad_shadow_is_told_and_harms_nobody(world: World) -> None:
    """A shadow answers no one: its quality is listed and does not make the model worse."""
    world.answer(1_000, labelled=True)
    world.answer(3_000, version=2, role="shadow", labelled=True, random_scores=True)
    report = world.build(NORTH, "cost", WINDOW)
    assert (report.quality, report.drift_version) == (Quality.AS_EXPECTED, 1)
    assert {one.role: one.quality for one in report.versions}[Role.SHADOW] is Quality.WORSE


def test_windows_by_event_time(world: World) -> None:
    """A month sent late is found by its events' time and not by its answers' time, or the other way round."""
    world.answer(500, event_time=START - 60 * DAY)
    past = Window(START - 61 * DAY, START - 59 * DAY, "event_time")
    assert world.build(NORTH, "cost", past).predictions == 500
    assert world.build(NORTH, "cost", Window(past.start, past.end)).predictions == 0
    assert world.build(NORTH, "cost", WINDOW).predictions == 500


def test_figures_as_known_then(world: World) -> None:
    """Seen from before the labels were known, they are not there."""
    world.answer(500, labelled=True)
    assert world.build(NORTH, "cost", WINDOW, known_at=START).labels == 0
    assert world.build(NORTH, "cost", WINDOW, known_at=START + DAY).labels == 500


def test_a_registry_that_is_away(world: World) -> None:
    """Without the training baseline nothing is claimed, and the reason is given."""
    world.answer(500, labelled=True)
    world.versions.down = True
    report = world.build(NORTH, "cost", WINDOW)
    assert (report.drift, report.quality) == (Drift.NOT_ENOUGH_EVIDENCE, Quality.NOT_ENOUGH_EVIDENCE)
    assert "registry cannot be asked" in report.summary
    world.versions.down = False
    del world.versions.manifests[1]
    assert "the registry has no version 1" in world.build(NORTH, "cost", WINDOW).summary


def test_the_evaluator_keeps_a_verdict_when_something_changed(world: World) -> None:
    """The same evidence is kept once; new rows and labels give a new verdict; nothing new costs nothing."""
    verdicts = MemoryVerdicts()
    clock = [START + 1_000_000]
    evaluate = Evaluate(world.log, world.build, verdicts, verdicts, window=7 * DAY, now=lambda: clock[0])
    assert evaluate() == 0
    world.answer(500)
    assert [evaluate(), evaluate()] == [1, 0]
    assert len(verdicts.shown) == 1
    clock[0] += 1_000_000
    world.answer(500, shift=2.0)
    assert evaluate() == 1
    assert verdicts.records[-1].drift is Drift.DRIFT
    assert "x" in verdicts.records[-1].drifted_columns
    assert verdicts.records[-1].predictions == 1_000


def test_the_evaluator_tries_again_after_the_registry_was_away(world: World) -> None:
    """A verdict for want of a baseline does not stay until the window moves."""
    verdicts = MemoryVerdicts()
    evaluate = Evaluate(world.log, world.build, verdicts, verdicts, window=7 * DAY, now=lambda: START + 1_000_000)
    world.answer(500)
    world.versions.down = True
    evaluate()
    world.versions.down = False
    assert evaluate() == 1
    assert verdicts.records[-1].drift is Drift.NO_DRIFT


def test_a_model_that_cannot_be_judged_does_not_stop_the_others(world: World) -> None:
    """The round goes on behind a model that fails, and says at the end that one did."""
    verdicts = MemoryVerdicts()
    evaluate = Evaluate(world.log, world.build, verdicts, verdicts, window=7 * DAY, now=lambda: START + 1_000_000)
    world.record(batch_document(np.zeros(3), {}, model="broken", version=3))
    world.versions.manifests[3] = None  # type: ignore[assignment]
    world.answer(500)
    with pytest.raises(ExceptionGroup):
        evaluate()
    assert [record.model for record in verdicts.records] == ["cost"]


def test_the_page_is_small_and_asks_for_nothing(world: World) -> None:
    """The HTML page starts with the sentence, draws the columns, escapes names, and has no address in it."""
    world.versions.manifests[1] = manifest(
        {f"column {place} <script>": numeric_baseline(world.rng.normal(size=2_000)) for place in range(150)},
        numeric_baseline(world.rng.normal(size=2_000)),
    )
    columns = {f"column {place} <script>": world.rng.normal(size=300) for place in range(150)}
    world.record(batch_document(world.rng.normal(size=300), columns))
    report = world.build(NORTH, "cost", WINDOW)
    page = render_html(report, START)
    assert len(page.encode()) < 300_000
    assert page.index("<h1>") < page.index("<svg")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"https?:|src=|href=|@import|url\(", page)
