"""From a training set to labelled examples in a fixed order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from services.trainer.domain.corrections import KNOWN_AT, VALUE
from services.trainer.domain.ports import Examples
from services.trainer.domain.split import Micros
from tenon.core.errors import Precondition
from tenon.core.specs import ColumnType, DatasetSpec, ModelSpec
from tenon.core.specs.checks import Input
from tenon.core.specs.model import Task

_KNOWN = "__known_at"


@dataclass(frozen=True)
class Labelled:
    """The rows that have a label, in order of event time; `without_label` counts the others."""

    examples: Examples
    event_time: Micros
    known_at: Micros
    without_label: int


def model_inputs(inputs: list[Input]) -> list[Input]:
    """The inputs a model learns from: entity columns and the event time only serve to look history up."""
    return [item for item in inputs if item.source in {"request", "history"}]


def label_examples(frame: pl.DataFrame, spec: ModelSpec, spine: DatasetSpec, inputs: list[Input]) -> Labelled:
    """Label the rows of a training set; `inputs` are the model's own (see `model_inputs`).

    A row without a label value, or whose label has no time at which it became known, teaches nothing and is left out.
    Rows are ordered by event time and primary key, so that the order in the file has no effect on the model.
    Raises `Precondition` with NO_ROWS or LABEL_ALL_MISSING.
    """
    # check_model refuses a label without knownAt, so the fallback is for the type checker only.
    known_column = spine.columns[spec.label.column].known_at or spine.event_time
    if frame.is_empty():
        raise Precondition(
            "NO_ROWS",
            f"data set {spec.spine!r} has no rows to train {spec.name!r} on",
            hint=f"upload a file first: tenon ingest {spec.spine} FILE",
        )
    if VALUE not in frame.columns:
        frame = frame.with_columns(pl.lit(None, pl.Float64).alias(VALUE), pl.lit(None, pl.Int64).alias(KNOWN_AT))
    known = pl.when(pl.col(spec.label.column).is_not_null()).then(pl.col(known_column).cast(pl.Int64))
    frame = frame.with_columns(known.alias(_KNOWN))
    labelled = frame.filter(pl.col(_KNOWN).is_not_null() | pl.col(VALUE).is_not_null())
    if labelled.is_empty():
        raise Precondition(
            "LABEL_ALL_MISSING",
            f"none of the {frame.height} rows of {spec.spine!r} has both a label {spec.label.column!r} and the time it "
            f"became known, {known_column!r}",
        )
    labelled = labelled.sort([spine.event_time, *spine.primary_key])
    return Labelled(
        examples=Examples(
            frame=labelled.select(_typed(item) for item in inputs),
            label=_label(labelled, spec).to_numpy().astype(np.float64),
        ),
        event_time=labelled[spine.event_time].cast(pl.Int64).to_numpy(),
        # A corrected label was ripe when the first one was.
        known_at=labelled.select(pl.coalesce(_KNOWN, KNOWN_AT)).to_series().to_numpy(),
        without_label=frame.height - labelled.height,
    )


def can_learn(task: Task, examples: Examples, rows: int) -> bool:
    """Whether there are so many rows, and both classes where there are classes."""
    return len(examples) >= rows and (task is not Task.BINARY or examples.label.min() < examples.label.max())


def _typed(item: Input) -> pl.Expr:
    """A model sees strings as strings and everything else as float64 with NaN for missing."""
    if item.type is ColumnType.STRING:
        return pl.col(item.name).cast(pl.String)
    return pl.col(item.name).cast(pl.Float64).fill_null(float("nan"))


def _label(labelled: pl.DataFrame, spec: ModelSpec) -> pl.Series:
    column = pl.col(spec.label.column).cast(pl.Float64)
    if spec.task is Task.BINARY and spec.label.above is not None:
        column = (column > spec.label.above).cast(pl.Float64)
    # What an expert says is the label itself (1 or 0 for a yes-or-no model); of two labels the one known last holds.
    corrected = pl.col(VALUE).is_not_null() & (pl.col(_KNOWN).is_null() | (pl.col(KNOWN_AT) >= pl.col(_KNOWN)))
    return labelled.select(pl.when(corrected).then(pl.col(VALUE)).otherwise(column)).to_series()
