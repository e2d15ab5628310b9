"""A real predictor while things around it, or it itself, go away."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.fakes_predictor import FakeFeatures, FakeRegistry
from tests.support.predictor_bundles import KEYS, visit_bundle, visit_request
from tests.support.predictor_process import PredictorProcess, wait_until


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry with two versions of `stay`, the first released."""
    fake = FakeRegistry().start()
    fake.add("acme", "stay", 1, visit_bundle())
    fake.add("acme", "stay", 2, visit_bundle(shift=1.0))
    fake.release("acme", "stay", 1)
    yield fake
    fake.stop()


def version_of(answer: httpx.Response) -> str:
    """Which version answered."""
    assert answer.status_code == 200, answer.text
    version: str = answer.json()["parameters"]["version"]
    return version


def test_it_answers_with_everything_down_also_after_a_restart(
    tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess]
) -> None:
    """Registry, features and Redis are gone; the last known releases, bundles and keys are on disk; the answer says what
    is missing. When the registry is back, news arrive by themselves."""
    features = FakeFeatures().start()
    registry.add("acme", "visit", 1, visit_bundle(model="visit", history=True))
    registry.release("acme", "visit", 1)
    predictor = PredictorProcess(
        tmp_path, registry=registry.port, features=features.port, redis_url="redis://127.0.0.1:1/0"
    )
    started.append(predictor.start())
    assert version_of(predictor.infer("stay", visit_request())) == "1"
    registry.stop()
    features.stop()
    assert version_of(predictor.infer("stay", visit_request())) == "1"
    predictor.kill()
    predictor.start()
    assert version_of(predictor.infer("stay", visit_request())) == "1"
    assert predictor.infer("stay", visit_request(), key="wrong").status_code == 401
    assert predictor.infer("stay", visit_request(), key=KEYS["globex"]).status_code == 404
    body = {"instances": [{"entity": {"patient_id": "p1"}, "features": {"count": 2}}]}
    for _ in range(8):
        began = time.monotonic()
        answer = httpx.post(
            f"{predictor.url}/v1/models/visit:predict", json=body, headers={"x-api-key": KEYS["acme"]}, timeout=60
        )
        assert time.monotonic() - began < 10
        assert answer.json()["predictions"][0]["fallback"]
    assert predictor.metric("tenon_predictor_spool_bytes") > 0
    registry.start()
    registry.release("acme", "stay", 2)
    wait_until(
        lambda: version_of(predictor.infer("stay", visit_request())) == "2", "version 2 after the registry is back", 20
    )
    assert predictor.stop() == 0


def test_a_first_start_without_a_registry_is_not_ready_until_it_comes(
    tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess]
) -> None:
    """Alive, not ready, and ready by itself."""
    registry.stop()
    predictor = PredictorProcess(tmp_path, registry=registry.port)
    started.append(predictor.start(ready=False))
    answer = httpx.get(f"{predictor.url}/readyz", timeout=60)
    assert answer.status_code == 503
    assert "releases" in answer.json()["problems"]
    assert httpx.get(f"{predictor.url}/v2/health/ready", timeout=60).status_code == 503
    registry.start()
    wait_until(lambda: httpx.get(f"{predictor.url}/readyz", timeout=60).status_code == 200, "ready", 180)
    assert version_of(predictor.infer("stay", visit_request())) == "1"


class Load:
    """Requests without end on some threads; every answer's version and every failure is kept."""

    def __init__(self, predictor: PredictorProcess, threads: int = 3) -> None:
        self.predictor = predictor
        self.seen: list[tuple[float, str]] = []
        self.failures: list[str] = []
        self._ending = False
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        for thread in self._threads:
            thread.join(timeout=180)

    def _run(self) -> None:
        body = json.dumps(visit_request()).encode()
        headers = {"authorization": f"Bearer {KEYS['acme']}"}
        with httpx.Client(timeout=60) as client:
            while not self._ending:
                try:
                    answer = client.post(f"{self.predictor.url}/v2/models/stay/infer", content=body, headers=headers)
                except httpx.HTTPError as err:
                    self.failures.append(repr(err))
                    return
                if answer.status_code != 200:
                    self.failures.append(answer.text)
                else:
                    found = answer.json()
                    score, version = found["outputs"][0]["data"][0], found["parameters"]["version"]
                    self.seen.append((score, version))


def test_no_request_fails_and_no_version_lies_while_releases_change(
    tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess]
) -> None:
    """Released, canaried, promoted and rolled back under load: each answer carries the score of the version it names."""
    predictor = PredictorProcess(tmp_path, registry=registry.port)
    started.append(predictor.start())
    with Load(predictor) as load:
        for step in range(12):
            revision = [
                lambda: registry.release("acme", "stay", 1, canary=2, permille=300),
                lambda: registry.release("acme", "stay", 2),
                lambda: registry.release("acme", "stay", 1),
                lambda: registry.release("acme", "stay", 2, shadow=1),
            ][step % 4]()

            def in_effect(wanted: int = revision) -> bool:
                served = registry.served("acme", "stay")
                return served is not None and served.revision == wanted

            wait_until(in_effect, f"revision {revision} in effect")
            enough = len(load.seen) + 20

            def answered(enough: int = enough) -> bool:
                return len(load.seen) > enough or bool(load.failures)

            wait_until(answered, "some answers")
    assert load.failures == []
    assert {version for _, version in load.seen} == {"1", "2"}
    assert len({score for score, version in load.seen if version == "1"}) == 1
    assert len(set(load.seen)) == 2


def test_a_broken_version_never_replaces_a_good_one(
    tmp_path: Path, registry: FakeRegistry, started: list[PredictorProcess]
) -> None:
    """Damaged, wrongly signed, of another tenant: the old one stays, the registry is told why, the replica stays ready."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    predictor = PredictorProcess(tmp_path, registry=registry.port)
    started.append(predictor.start())
    good = visit_bundle(shift=3.0)
    registry.add("acme", "stay", 3, good[:-600] + b"x" + good[-599:])
    registry.add("acme", "stay", 4, visit_bundle(key=Ed25519PrivateKey.generate()))
    registry.add("acme", "stay", 5, visit_bundle("globex"))
    for version, reason in ((3, "BUNDLE"), (4, "BUNDLE_SIGNATURE_INVALID"), (5, "BUNDLE_WRONG_OWNER")):
        registry.release("acme", "stay", version)

        def told(reason: str = reason) -> bool:
            served = registry.served("acme", "stay")
            return served is not None and served.problem.startswith(reason)

        wait_until(told, f"the report of {reason}")
        assert version_of(predictor.infer("stay", visit_request())) == "1"
        assert httpx.get(f"{predictor.url}/readyz", timeout=60).status_code == 200
    registry.release("acme", "stay", 2)
    wait_until(lambda: version_of(predictor.infer("stay", visit_request())) == "2", "version 2")


def test_the_process_holds_nothing_heavy(tmp_path: Path, registry: FakeRegistry) -> None:
    """Importing all of the predictor imports none of what its image does not have."""
    code = (
        "import services.predictor.main, sys; "
        "heavy = {'celery', 'kombu', 'sqlalchemy', 'alembic', 'pandas', 'sklearn', 'scipy', 'xgboost', 'boto3', 'botocore',"
        " 'polars', 'duckdb', 'pyarrow', 'deltalake', 'optuna', 'skops', 'onnxruntime'}; "
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"TENON_VERIFY_KEY_FILE": "/nowhere.pem"}, "TENON_VERIFY_KEY_FILE"),
        ({"TENON_VERIFY_KEY_FILE": ""}, "TENON_VERIFY_KEY_FILE"),
        ({"TENON_REGISTRY_GRPC": ""}, "TENON_REGISTRY_GRPC"),
        ({"TENON_HTTP_PORT": "many"}, "TENON_HTTP_PORT"),
        ({"TENON_PREDICTOR_HISTORY_TIMEOUT_MS": "-1"}, "TENON_PREDICTOR_HISTORY_TIMEOUT_MS"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(tmp_path: Path, change: dict[str, str], word: str) -> None:
    """Naming the variable; exit code 2."""
    predictor = PredictorProcess(tmp_path, registry=1, extra=change)
    run = subprocess.run(
        [sys.executable, "-m", "services.predictor"],
        env=predictor.env,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert run.returncode == 2
    (line,) = run.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert word in line
