"""Containers die under load: what must go on goes on, and nothing that was answered or taken in is lost."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx
import pytest

from tests.support.compose import Composed
from tests.support.docker import docker, inspect
from tests.support.platform import eventually

pytestmark = pytest.mark.timeout(400)

TENANT, MODEL = "kiosk", "returned"
OTHERS = ("registry", "features", "trainer", "worker", "ingest", "monitor", "redis", "postgres", "objects")
"""Everything but the predictor."""


@dataclass
class Load:
    """Threads that ask for predictions all the time; a request that finds nobody at the door is counted apart."""

    url: str
    key: str
    answered: list[str] = field(default_factory=list)
    """Ids of the predictions."""
    failed: list[str] = field(default_factory=list)
    refused: int = 0
    levels: set[str] = field(default_factory=set)
    _ending: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(4)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def wait(self, more: int) -> None:
        """Until so many further requests have been answered."""
        wanted = len(self.answered) + more
        eventually(lambda: len(self.answered) >= wanted, f"{more} more answers", seconds=60)

    def _ask(self, seed: int) -> None:
        rng = random.Random(seed)
        with httpx.Client(trust_env=False, timeout=20) as client:
            while not self._ending.wait(0.02):
                features = {"channel": rng.choice(["web", "phone", "shop"]), "items": rng.randint(1, 5), "amount": 20.5}
                body = {"instances": [{"entity": {"customer": f"C{rng.randrange(100):04}"}, "features": features}]}
                try:
                    answer = client.post(
                        f"{self.url}/v1/models/{MODEL}:predict",
                        json=body,
                        headers={"authorization": f"Bearer {self.key}"},
                    )
                except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
                    self.refused += 1
                    continue
                if answer.status_code != 200:
                    self.failed.append(f"{answer.status_code} {answer.text[:300]}")
                    continue
                said = answer.json()["predictions"][0]
                self.levels.add(said["fallback_level"])
                self.answered.append(said["prediction_id"])


@pytest.fixture(scope="module")
def key(composed: Composed, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The example's model served to a shop of its own, and a key that the predictor knows."""
    folder = tmp_path_factory.mktemp("kiosk") / "example"
    assert composed.tenon("init", str(folder)).returncode == 0
    tenant = next(path for path in folder.rglob("*.yaml") if "kind: Tenant" in path.read_text())
    tenant.write_text(tenant.read_text().replace("corner-shop", TENANT))
    composed.result("apply", "-f", str(folder))
    composed.result("ingest", "orders", str(folder / "orders.csv"), "--tenant", TENANT)
    composed.result("train", MODEL, "--release", "--tenant", TENANT)
    made = composed.create_key(TENANT)
    eventually(
        lambda: composed.ask("predictor", "GET", f"/v2/models/{MODEL}", key=made).status_code == 200, "the key is known"
    )
    return made


@pytest.fixture
def load(composed: Composed, key: str) -> Iterator[Load]:
    """Requests that are being answered."""
    with Load(composed.urls["predictor"], key) as running:
        running.wait(20)
        yield running


def logged(composed: Composed, ids: Sequence[str]) -> bool:
    """Whether monitor knows all these predictions: it takes a label for each to one that it has."""
    labels = [{"prediction_id": name, "value": True} for name in ids]
    path = f"/v1/tenants/{TENANT}/models/{MODEL}/labels"
    answer = composed.ask("monitor", "POST", path, key=composed.admin_key, body={"labels": labels})
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["unmatched"] == 0)


def all_logged(composed: Composed, load: Load) -> None:
    """Every answer of the load reaches the log, once the platform is whole again."""
    assert len(set(load.answered)) == len(load.answered)
    eventually(lambda: logged(composed, load.answered), "monitor knows every answered prediction", seconds=90)


def test_the_predictor_answers_with_everything_else_dead(composed: Composed, load: Load) -> None:
    """Registry, features, worker, monitor, Redis, PostgreSQL and the objects are killed at once; not a request fails, the
    answers say what they did without, and all of them are in the log when the others are back."""
    docker("kill", *(composed.container(name) for name in OTHERS))
    load.wait(200)
    assert load.failed == []
    assert load.refused == 0
    assert load.levels - {"fresh"}
    composed.up()
    load.levels.clear()
    eventually(lambda: "fresh" in load.levels, "history is looked up again", seconds=60)
    load.wait(50)
    assert load.failed == []
    assert load.refused == 0
    load.__exit__()
    all_logged(composed, load)


def test_a_killed_predictor_comes_back_with_its_log(composed: Composed, load: Load) -> None:
    """After kill -9 the same volume is spooled on: nothing that was answered is missing, and no request is answered wrongly."""
    docker("kill", composed.container("predictor"))
    before = len(load.answered)
    composed.up("predictor")
    load.wait(50)
    assert load.failed == []
    assert load.refused > 0
    assert len(load.answered) > before
    load.__exit__()
    all_logged(composed, load)


def test_a_stopped_predictor_finishes_what_it_began(composed: Composed, load: Load) -> None:
    """SIGTERM: running requests end, the container ends with code 0 within its grace, and started again it serves from its
    volume."""
    began = time.monotonic()
    docker("stop", "--time", "20", composed.container("predictor"))
    assert time.monotonic() - began < 20
    assert inspect(composed.container("predictor"))["State"]["ExitCode"] == 0
    composed.up("predictor")
    load.wait(50)
    assert load.failed == []
    load.__exit__()
    all_logged(composed, load)


def test_everything_stopped_and_started_is_as_before(composed: Composed, load: Load) -> None:
    """`down` without `--volumes` and `up`: tenants, versions, releases, lake and log are what they were."""
    load.__exit__()
    all_logged(composed, load)
    versions = composed.result("versions", MODEL, "--tenant", TENANT)["versions"]
    history = composed.result("release", "history", MODEL, "--tenant", TENANT)["releases"]
    composed.compose("down")
    composed.up()
    assert composed.result("versions", MODEL, "--tenant", TENANT)["versions"] == versions
    assert composed.result("release", "history", MODEL, "--tenant", TENANT)["releases"] == history
    assert logged(composed, load.answered)
    with Load(composed.urls["predictor"], load.key) as again:
        again.wait(10)
    assert again.failed == []
