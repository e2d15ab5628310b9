"""Made-up models for monitor's tests: baselines as the trainer writes them, manifests, batches of the prediction log."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from services.trainer.domain.baseline import numeric_baseline as numeric_baseline  # noqa: PLC0414 - as the trainer writes it
from tenon.core.manifest import (
    CategoricalBaseline,
    Evaluation,
    Evidence,
    InputColumn,
    Lineage,
    Manifest,
    NumericBaseline,
    Signature,
    TrainingBaseline,
)
from tenon.histograms import count_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

DAY = 86_400_000_000
START = 1_700_000_000_000_000


def counted(values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Numbers without missing ones, counted into bins."""
    counts = np.zeros(len(edges) + 2, dtype=np.int64)
    count_numbers(values, edges, counts)
    return counts[:-1]


def categorical_baseline(values: Sequence[str | None]) -> CategoricalBaseline:
    """Counts of a sample's levels."""
    counts: dict[str, int] = {}
    for value in values:
        if value is not None:
            counts[value] = counts.get(value, 0) + 1
    return CategoricalBaseline(
        rows=len(values), missing=sum(value is None for value in values), counts=counts, other=0
    )  # fmt: skip


def manifest(
    columns: Mapping[str, NumericBaseline | CategoricalBaseline], score: NumericBaseline, *,
    tenant: str = "north", model: str = "cost", task: Literal["binary", "regression"] = "binary", metrics: Mapping[str, float] | None = None,
    test_rows: int = 5_000,
) -> Manifest:  # fmt: skip
    """A whole manifest around a baseline."""
    evaluation = Evaluation(rows=test_rows, metrics=dict(metrics or {}))
    return Manifest(
        tenant=tenant, model=model, task=task, created_at="2023-11-14T00:00:00Z", engine="tenon-forest",
        signature=Signature(
            inputs=[
                InputColumn(
                    name=name, source="request", nullable=True,
                    type="float" if isinstance(column, NumericBaseline) else "string",
                )
                for name, column in columns.items()
            ],
            output="probability" if task == "binary" else "prediction",
        ),
        lineage=Lineage(
            run_id="run-1", spec_digest="0" * 64, dataset="visits", dataset_version=1, training_set_digest="0" * 64,
            code_version="0", environment={}, seed=0,
        ),
        evidence=Evidence(
            estimator="xgboost", train_rows=20_000, train_from="2022-01-01", train_to="2023-01-01",
            test_from="2023-02-01", test_to="2023-05-01", gap="30d", model=evaluation, baseline=evaluation,
        ),
        baseline=TrainingBaseline(columns=dict(columns), score=score), parity={}, files={},
    )  # fmt: skip


def batch_document(
    score: npt.NDArray[np.float64], columns: Mapping[str, Sequence[Any] | npt.NDArray[np.float64]], *,
    tenant: str = "north", model: str = "cost", version: int = 1, role: str = "stable", at: int = START,
    event_time: int | None = None, ids: Sequence[str] | None = None, batch_id: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A batch as the predictor ships it: one millisecond from row to row."""
    rows = len(score)
    first = at if event_time is None else event_time
    return {
        "batch_id": batch_id or uuid.uuid4().hex,
        "replica": "replica-1", "tenant": tenant, "model": model, "version": version, "role": role,
        "protocol": "rest",
        "prediction_id": list(ids) if ids is not None else [uuid.uuid4().hex for _ in range(rows)],
        "request_id": [uuid.uuid4().hex[:16] for _ in range(rows)],
        "at": [at + 1_000 * row for row in range(rows)],
        "event_time": [first + 1_000 * row for row in range(rows)],
        "score": _plain(score),
        "columns": {name: _plain(values) for name, values in columns.items()},
    }  # fmt: skip


def _plain(values: Any) -> list[Any]:
    return [
        None if isinstance(value, float) and np.isnan(value) else value for value in np.asarray(values, dtype=object)
    ]
