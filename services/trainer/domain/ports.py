"""What the use cases need from outside, as Protocols; storage, clients and engine implement them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from services.trainer.domain.corrections import Correction
from services.trainer.domain.model import Lease, Model, Outcome, Run, RunState
from tenon.core.manifest import Manifest
from tenon.core.specs import DatasetSpec, FeatureViewSpec, ModelSpec
from tenon.core.specs.checks import Input
from tenon.core.specs.model import Task
from tenon.core.tenancy import TenantId

Floats = npt.NDArray[np.float64]
Tick = Callable[[float], None]
"""Told how far a step has come, 0 to 1. May raise to stop the work."""


# ---- storage ----------------------------------------------------------------------------------------------------------


class Models(Protocol):
    """Model documents by tenant and name, with their revisions."""

    def put(self, tenant: TenantId, spec: ModelSpec, *, dry_run: bool) -> tuple[str, Model]:
        """Store a document; gives ("created" | "updated" | "unchanged", model). Nothing is stored when `dry_run`."""
        ...

    def get(self, tenant: TenantId, name: str) -> Model:
        """The newest revision. Raises `NotFound`."""
        ...

    def get_revision(self, tenant: TenantId, name: str, revision: int) -> Model:
        """One revision. Raises `NotFound`."""
        ...

    def list(self, tenant: TenantId) -> Sequence[Model]:
        """The newest revision of each model, by name."""
        ...


class Runs(Protocol):
    """The run table: the truth about every training."""

    def add(self, tenant: TenantId, run: Run, *, not_before: int) -> tuple[Run, bool]:
        """Store a new run, or give the one that has the same model and idempotency key; True when it is new.

        `not_before` is when `unattended` may begin to care for it.
        """
        ...

    def get(self, tenant: TenantId, run_id: str) -> Run | None:
        """One run."""
        ...

    def list(self, tenant: TenantId, model: str | None, limit: int) -> Sequence[Run]:
        """Newest first."""
        ...

    def claim(self, tenant: TenantId, run_id: str, *, now: int, stale_before: int) -> Lease | None:
        """Take up a run that is queued, or whose worker has not been heard of since `stale_before`; else None."""
        ...

    def beat(self, tenant: TenantId, lease: Lease, *, now: int) -> bool:
        """Say that the worker lives; False when the lease has ended."""
        ...

    def report(self, tenant: TenantId, lease: Lease, *, progress: float, step: str, now: int) -> bool:
        """Note how far a run has come; False when the lease has ended."""
        ...

    def succeed(self, tenant: TenantId, lease: Lease, outcome: Outcome, *, now: int) -> bool:
        """End a run well; False when the lease has ended."""
        ...

    def fail(self, tenant: TenantId, lease: Lease, *, reason: str, problem: str, hint: str, now: int) -> bool:
        """End a run badly; False when the lease has ended."""
        ...

    def release(self, tenant: TenantId, lease: Lease, *, reason: str, problem: str, step: str, not_before: int) -> bool:
        """Let a run wait again, until `not_before`; False when the lease has ended."""
        ...

    def unattended(
        self, *, now: int, enqueued_before: int, stale_before: int, limit: int
    ) -> Sequence[tuple[TenantId, str]]:
        """Runs of all tenants that nobody cares for: they wait and were not enqueued since `enqueued_before`, or they
        are running and their worker was not heard of since `stale_before`."""
        ...

    def note_enqueued(self, tenant: TenantId, run_id: str, *, now: int) -> None:
        """Remember that a task for the run was put on the queue."""
        ...

    def count_by_state(self) -> Mapping[RunState, int]:
        """Runs of all tenants by state."""
        ...

    def oldest_waiting(self) -> int | None:
        """When the run that has waited longest was made; None when none waits."""
        ...


class TaskQueue(Protocol):
    """Where workers find their work."""

    def enqueue(self, tenant: TenantId, run_id: str) -> None:
        """Ask some worker to train; raises `Unavailable` when the queue cannot be reached."""
        ...


# ---- other services ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class View:
    """A feature view as the features service has it."""

    spec: FeatureViewSpec
    digest: str


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Where a training set lies, and what it was made from."""

    uri: str
    rows: int
    fingerprint: str
    file_sha256: str
    dataset_versions: Mapping[str, int]
    view_digests: Mapping[str, str]


class Definitions(Protocol):
    """Data sets and feature views, owned by ingest and features."""

    def get_dataset(self, tenant: TenantId, name: str) -> DatasetSpec:
        """Raises `NotFound`."""
        ...

    def list_views(self, tenant: TenantId) -> Mapping[str, View]:
        """The tenant's feature views by name."""
        ...


class TrainingSets(Protocol):
    """Point-in-time training sets."""

    def build(self, tenant: TenantId, spine: str, columns: Sequence[str], views: Sequence[str]) -> TrainingSet:
        """Have a training set written; may take minutes."""
        ...

    def read(self, tenant: TenantId, training_set: TrainingSet) -> pl.DataFrame:
        """The rows. Raises `Unavailable` when the file cannot be read or is not what was promised."""
        ...


class Corrections(Protocol):
    """Labels by experts, as monitor keeps them."""

    def known(self, tenant: TenantId, model: str, before: int) -> Sequence[Correction]:
        """What experts had said by then. Raises `Unavailable` when monitor cannot be asked."""
        ...


class Versions(Protocol):
    """The registry, as far as training needs it."""

    def register(self, tenant: TenantId, model: str, run_id: str, bundle: bytes, sha256: str) -> int:
        """Register a bundle and give its version number; the same bundle of the same run gives the same number."""
        ...


# ---- machine learning -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Examples:
    """Rows to learn from or to be judged on: the model's inputs as declared, and the label as float64."""

    frame: pl.DataFrame
    label: Floats

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: npt.NDArray[np.int64]) -> Examples:
        """Some of the rows, in the order given."""
        return Examples(self.frame[rows], self.label[rows])


@dataclass(frozen=True, slots=True)
class Plan:
    """What an estimator must know before it sees data. `metric` is what the model is optimised for."""

    task: Task
    inputs: Sequence[Input]
    metric: str
    seed: int


class Fitted(Protocol):
    """A fitted pipeline: preprocessing and model together."""

    def predict(self, frame: pl.DataFrame) -> Floats:
        """Probabilities (binary) or values (regression)."""
        ...


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning found: parameters to fit with (tree count included), and the predictions for the validation rows."""

    params: Mapping[str, Any]
    predictions: Floats = field(repr=False)


class Estimator(Protocol):
    """One way of learning, for one plan."""

    name: str
    default_params: Mapping[str, Any]

    def tune(self, fit: Examples, validation: Examples, tick: Tick) -> Tuned:
        """Find parameters on `fit`, judged on `validation`."""
        ...

    def fit(self, train: Examples, params: Mapping[str, Any], tick: Tick) -> Fitted:
        """Learn with given parameters. The same examples, parameters and plan give the same model."""
        ...


class Estimators(Protocol):
    """The ways of learning that are installed."""

    def build(self, name: str, plan: Plan) -> Estimator:
        """An estimator by its name in the Model document."""
        ...

    def engine_of(self, name: str) -> str:
        """The evaluator that serves such a model, as the manifest names it."""
        ...

    def environment(self) -> Mapping[str, str]:
        """Versions of Python and of the libraries that learn."""
        ...


@dataclass(frozen=True, slots=True)
class Sealed:
    """A bundle, its sha256, and its manifest (without `files`)."""

    bundle: bytes = field(repr=False)
    sha256: str
    manifest: Manifest


class Bundler(Protocol):
    """Makes the signed bundle."""

    def seal(
        self, fitted: Fitted, manifest: Manifest, rows: pl.DataFrame, without_history: Fitted | None = None
    ) -> Sealed:
        """The bundle; `without_history` is the second model of the manifest's ladder.

        Before that its own evaluator answers `rows` from the bundle's bytes and must agree with `fitted` (both models
        must); raises `Precondition` with reason PARITY_FAILED when it does not. A further form (ONNX) that does not agree
        is left out, and a warning says so. Fills in the manifest's `parity`, `forms` and `files`.
        """
        ...
