"""A shop with a model of the example, served to it, and customers who ask all the time: for tests of what must go on."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx
import pytest

from tests.support.compose import Composed
from tests.support.platform import eventually

TENANT, MODEL = "kiosk", "returned"


@dataclass
class Load:
    """Threads that ask for predictions all the time; a request that finds nobody at the door is counted apart, and one that
    finds nobody at the first door asks at the other, as a proxy would."""

    url: str
    key: str
    other: str = ""
    answered: list[str] = field(default_factory=list)
    """Ids of the predictions."""
    failed: list[str] = field(default_factory=list)
    refused: int = 0
    turned: int = 0
    """How often the other one had to be asked."""
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
        eventually(lambda: len(self.answered) >= wanted, f"{more} more answers", seconds=180)

    def _ask(self, seed: int) -> None:
        rng = random.Random(seed)
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not self._ending.wait(0.02):
                features = {"channel": rng.choice(["web", "phone", "shop"]), "items": rng.randint(1, 5), "amount": 20.5}
                body = {"instances": [{"entity": {"customer": f"C{rng.randrange(100):04}"}, "features": features}]}
                answer = self._post(client, self.url, body)
                if answer is None and self.other:
                    self.turned += 1
                    answer = self._post(client, self.other, body)
                if answer is None:
                    self.refused += 1
                    continue
                if answer.status_code != 200:
                    self.failed.append(f"{answer.status_code} {answer.text[:300]}")
                    continue
                said = answer.json()["predictions"][0]
                self.levels.add(said["fallback_level"])
                self.answered.append(said["prediction_id"])

    def _post(self, client: httpx.Client, url: str, body: object) -> httpx.Response | None:
        try:
            return client.post(
                f"{url}/v1/models/{MODEL}:predict", json=body, headers={"authorization": f"Bearer {self.key}"}
            )
        except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
            return None


@pytest.fixture(scope="session")
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


def missing(composed: Composed, ids: Sequence[str]) -> int:
    """How many of these predictions monitor does not know: it takes a label for each to one that it has."""
    labels = [{"prediction_id": name, "value": True} for name in ids]
    path = f"/v1/tenants/{TENANT}/models/{MODEL}/labels"
    answer = composed.ask("monitor", "POST", path, key=composed.admin_key, body={"labels": labels})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["unmatched"])


def logged(composed: Composed, ids: Sequence[str]) -> bool:
    """Whether monitor knows all these predictions."""
    return missing(composed, ids) == 0


def all_logged(composed: Composed, load: Load) -> None:
    """Every answer of the load reaches the log, once the platform is whole again."""
    assert len(set(load.answered)) == len(load.answered)
    left: list[int] = []

    def all_known() -> bool:
        left.append(missing(composed, load.answered))
        return left[-1] == 0

    try:
        eventually(all_known, "monitor knows every answered prediction", seconds=240)
    except AssertionError as err:
        raise AssertionError(f"{err}; of {len(load.answered)} are missing, from look to look: {left}") from err
