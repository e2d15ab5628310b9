"""Fakes of what training needs from outside; the libraries that learn are the real ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.trainer.domain.model import Model, Outcome, Run
from services.trainer.domain.ports import Corrections, TrainingSet, View
from services.trainer.domain.train_model import TrainModel
from services.trainer.engine.bundling import SigningBundler
from services.trainer.engine.estimators import InstalledEstimators
from tenon.core.specs import DatasetSpec, FeatureViewSpec, ModelSpec, spec_digest
from tenon.core.tenancy import TenantId
from tests.support.trainer_data import history_spec, training_frame, visits_spec

TENANT = TenantId("north")


@dataclass
class FakeDefinitions:
    """One data set and one feature view."""

    view: FeatureViewSpec = field(default_factory=history_spec)

    def get_dataset(self, tenant: TenantId, name: str) -> DatasetSpec:
        """The visits."""
        return visits_spec()

    def list_views(self, tenant: TenantId) -> Mapping[str, View]:
        """The patients' history."""
        return {"patient_history": View(self.view, spec_digest(self.view))}


@dataclass
class FakeTrainingSets:
    """A frame as if the features service had written it."""

    frame: pl.DataFrame
    view_digest: str = field(default_factory=lambda: spec_digest(history_spec()))

    def build(self, tenant: TenantId, spine: str, columns: Sequence[str], views: Sequence[str]) -> TrainingSet:
        """Where it is."""
        return TrainingSet(
            "memory:", self.frame.height, "f" * 64, "a" * 64, {spine: 3}, dict.fromkeys(views, self.view_digest)
        )

    def read(self, tenant: TenantId, training_set: TrainingSet) -> pl.DataFrame:
        """The rows."""
        return self.frame


@dataclass
class FakeVersions:
    """Keeps the bundles it is given; the same bytes of the same run are the same version."""

    bundles: list[bytes] = field(default_factory=list)
    known: dict[tuple[str, str], int] = field(default_factory=dict)

    def register(self, tenant: TenantId, model: str, run_id: str, bundle: bytes, sha256: str) -> int:
        """The version's number."""
        assert hashlib.sha256(bundle).hexdigest() == sha256
        if (run_id, sha256) not in self.known:
            self.bundles.append(bundle)
            self.known[run_id, sha256] = len(self.bundles)
        return self.known[run_id, sha256]


@dataclass
class Trained:
    """What one training in a test left behind."""

    outcome: Outcome
    bundle: bytes
    steps: list[tuple[float, str]]


@dataclass
class Trainer:
    """The use case with fakes around it and the real libraries inside."""

    signing_key: Ed25519PrivateKey
    versions: FakeVersions = field(default_factory=FakeVersions)

    def train(
        self,
        spec: ModelSpec,
        frame: pl.DataFrame | None = None,
        *,
        run_id: str = "run-1",
        training_sets: FakeTrainingSets | None = None,
        corrections: Corrections | None = None,
        view: FeatureViewSpec | None = None,
    ) -> Trained:
        """Train a model on a frame."""
        use_case = TrainModel(
            FakeDefinitions(view or history_spec()),
            training_sets or FakeTrainingSets(training_frame() if frame is None else frame),
            InstalledEstimators(threads=2),
            SigningBundler(self.signing_key),
            self.versions,
            code_version="0",
            corrections=corrections,
        )
        steps: list[tuple[float, str]] = []
        run = Run(run_id, TENANT, spec.name, 1, created_at=1_700_000_000_000_000)
        outcome = use_case(TENANT, Model(TENANT, spec, 1), run, lambda done, step: steps.append((done, step)))
        return Trained(outcome, self.versions.bundles[outcome.version - 1], steps)


@pytest.fixture(scope="session")
def signing_key() -> Ed25519PrivateKey:
    """A key to sign bundles with."""
    return Ed25519PrivateKey.generate()


@pytest.fixture
def trainer(signing_key: Ed25519PrivateKey) -> Trainer:
    """A fresh trainer."""
    return Trainer(signing_key)
