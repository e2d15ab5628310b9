"""The same inputs give the same bundle digest in any process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.service_process import ROOT

TRAIN = """
import sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.trainer_data import COST, COSTLY, model_spec, training_frame
from tests.unit.services.trainer.conftest import Trainer

key = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
for base, estimator in ((COSTLY, "xgboost"), (COSTLY, "logistic"), (COSTLY, "mlp"), (COST, "xgboost"), (COST, "ridge"), (COST, "mlp")):
    run = Trainer(key).train(model_spec(base, estimators=[estimator]), training_frame(1500), run_id=sys.argv[1])
    print(estimator, run.outcome.bundle_sha256)
"""


@pytest.mark.slow
def test_the_digest_does_not_depend_on_the_process() -> None:
    """Every estimator, trained by two processes that differ in hash seed, threads, time zone, locale and run, at different
    moments: the same digests to the last digit."""
    found = []
    for seed, threads, zone in (("1", "1", "UTC"), ("77", "2", "Asia/Tokyo")):
        settings = {
            "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "TZ": zone,
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", TRAIN, f"run-{seed}"], env=os.environ | settings, capture_output=True, text=True,
            timeout=300, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(done.stdout.splitlines())
    assert len(set(found[0])) == 6
    assert found[0] == found[1]
