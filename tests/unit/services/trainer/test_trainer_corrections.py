"""Labels by experts in training: which row they are about, which label holds, and what the manifest says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from services.trainer.domain.corrections import Correction, columns_for, lay_over
from services.trainer.domain.examples import label_examples
from tenon.bundle import open_bundle
from tenon.core.manifest import Lineage
from tenon.core.specs import DatasetSpec, ModelSpec, parse_spec
from tenon.core.timestamps import datetime_from_micros
from tests.support.trainer_data import COSTLY, training_frame, visits_spec

DAY = 86_400_000_000
NOON = 1_700_000_000_000_000


@dataclass
class Given:
    """A spine of four visits, two of the same patient at the same moment."""

    spine: DatasetSpec = field(default_factory=visits_spec)
    spec: ModelSpec = field(
        default_factory=lambda: parse_spec(ModelSpec, COSTLY | {"features": {"request": ["age", "ward"]}})
    )

    def frame(self) -> pl.DataFrame:
        """The training set."""
        rows: list[dict[str, Any]] = [
            {"visit_id": "v1", "patient_id": "a", "age": 50, "ward": "x", "cost": 100.0, "known": NOON + 5 * DAY},
            {"visit_id": "v2", "patient_id": "b", "age": 60, "ward": "x", "cost": 9000.0, "known": NOON + 5 * DAY},
            {"visit_id": "v3", "patient_id": "b", "age": 61, "ward": "x", "cost": 9000.0, "known": NOON + 5 * DAY},
            {"visit_id": "v4", "patient_id": "c", "age": 70, "ward": None, "cost": None, "known": None},
        ]
        times = pl.Series("billed_at", [row["known"] for row in rows], pl.Int64).cast(pl.Datetime("us", "UTC"))
        return (
            pl.DataFrame(rows)
            .drop("known")
            .with_columns(times, pl.lit(datetime_from_micros(NOON)).cast(pl.Datetime("us", "UTC")).alias("admitted_at"))
        )

    def labels(self, said: Sequence[Correction]) -> tuple[list[float], list[int], int, int]:
        """Labels and known-at times by visit, corrections laid over and left out."""
        applied = lay_over(self.frame(), self.spine, self.spec, ["patient_id"], said)
        found = label_examples(applied.frame, self.spec, self.spine, [])
        return found.examples.label.tolist(), found.known_at.tolist(), applied.count, applied.left_out


def said(value: float, days: int = 9, **key: Any) -> Correction:
    """An expert's word, some days after the visit."""
    return Correction(f"p-{sorted(key.items())}", value, NOON + days * DAY, NOON, key)


def test_without_corrections_nothing_changes() -> None:
    """The same labels, the same columns to carry: bundles of before stay what they were, to the byte."""
    given = Given()
    assert given.labels([]) == ([0.0, 1.0, 1.0], [NOON + 5 * DAY] * 3, 0, 0)
    assert columns_for([], given.spine, given.spec) == []


def test_the_label_known_last_holds_and_the_row_stays_ripe() -> None:
    """An expert after the bill corrects it; one before it is overtaken by it; either way the row's first time counts."""
    given = Given()
    labels, known, count, _ = given.labels([said(1.0, patient_id="a", age=50.0)])
    assert (labels, known[0], count) == ([1.0, 1.0, 1.0], NOON + 5 * DAY, 1)
    labels, *_ = given.labels([said(1.0, days=2, patient_id="a")])
    assert labels == [0.0, 1.0, 1.0]


def test_a_row_without_a_label_is_labelled_from_then_on() -> None:
    """It joins the examples, known when the expert said so."""
    labels, known, *_ = Given().labels([said(1.0, patient_id="c")])
    assert (labels, known[3]) == ([0.0, 1.0, 1.0, 1.0], NOON + 9 * DAY)


def test_rows_are_told_apart_or_left_alone() -> None:
    """By the other columns of the request; by the primary key at once; never by a guess."""
    given = Given()
    assert given.labels([said(0.0, patient_id="b", age=61.0)])[0] == [0.0, 1.0, 0.0]
    assert given.labels([said(0.0, patient_id="b")])[2:] == (0, 1)
    assert given.labels([said(0.0, visit_id="v2")])[0] == [0.0, 0.0, 1.0]
    assert given.labels([said(0.0, patient_id="nobody")])[2:] == (0, 1)
    assert given.labels([replace(said(1.0, patient_id="a"), event_time=NOON + 1)])[2:] == (0, 1)


def test_two_words_about_one_row_count_once() -> None:
    """The later one."""
    first, second = said(1.0, days=8, patient_id="a"), said(0.0, days=9, patient_id="a", age=50.0)
    labels, _, count, left_out = Given().labels([second, first])
    assert (labels[0], count, left_out) == (0.0, 1, 1)


@dataclass
class Experts:
    """`Corrections` in memory."""

    all: list[Correction]
    asked: list[int] = field(default_factory=list)

    def known(self, tenant: Any, model: str, before: int) -> list[Correction]:
        """See the port."""
        self.asked.append(before)
        return self.all


def test_lineage_is_silent_without_corrections() -> None:
    """Readers of before refuse keys they do not know, so there is none where there is nothing to say."""
    plain: dict[str, Any] = {
        "spec_digest": "s", "dataset": "d", "dataset_version": 1, "training_set_digest": "t", "code_version": "0",
        "environment": {}, "seed": 0,
    }  # fmt: skip
    assert "corrections" not in Lineage(**plain).model_dump_json()
    told = Lineage(**plain, corrections=3, corrections_digest="d").model_dump()
    assert (told["corrections"], told["corrections_digest"]) == (3, "d")


def test_a_training_takes_them_and_says_so(trainer: Any, signing_key: Any) -> None:
    """Known before the run was asked for; the manifest counts them, and the bundle is another one."""
    frame = training_frame()
    spec = parse_spec(ModelSpec, COSTLY | {"estimators": ["logistic"]})
    one = frame.row(0, named=True)
    moment = int(frame["admitted_at"].cast(pl.Int64)[0])
    expert = Correction("p1", 1.0, moment + 400 * DAY, moment, {"visit_id": one["visit_id"]})
    experts = Experts([expert])
    plain, told = (
        open_bundle(trainer.train(spec, frame, corrections=one).bundle, signing_key.public_key()).manifest.lineage
        for one in (Experts([]), experts)
    )
    assert experts.asked == [1_700_000_000_000_000]
    assert plain.corrections is None
    assert told.corrections == 1
    assert len(told.corrections_digest or "") == 64
