"""Any interleaving of requests, releases, canaries, shadows, evictions and features going away and coming back gives the
numbers that each version gives to each row asked alone, to the last bit."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from services.predictor.settings import PredictorSettings
from tenon.bundle import load_evaluator, open_bundle
from tests.support import endurance_models as made
from tests.support.fakes_predictor import FakeFeatures, FakeRegistry
from tests.support.predictor_asker import Asker, Line, Row
from tests.support.predictor_bundles import KEYS, signing_key, visit_bundle
from tests.support.predictor_process import PredictorProcess, wait_until

DOORS = (
    "REST infer", "REST infer, binary", "REST :predict", "gRPC infer", "gRPC infer, typed", "gRPC Predict",
)  # fmt: skip
BIG = ("big_0", "big_1", "big_2", "big_3", "big_4", "big_5")
HISTORY = "visit"
VERSIONS = (1, 2, 3)
PATIENTS = {"p1": (10.0, 2.0), "p2": (0.25, 0.0), "p3": (0.75, 1.0)}
CALLERS = 6
ROWS = made.rows(24)
PATIENT_OF = [["p1", "p2", "p3", "nobody"][place % 4] for place in range(len(ROWS))]


class Ask(NamedTuple):
    """One request; the id decides between stable and canary where no entity does."""

    door: str
    model: str
    places: tuple[int, ...]
    request_id: str


class Change(NamedTuple):
    """One release."""

    model: str
    stable: int
    canary: int
    permille: int
    shadow: int

    def answering(self) -> set[int]:
        """The versions that may answer."""
        return {self.stable} | ({self.canary} if self.canary else set())


@dataclass
class Place:
    """A predictor whose models do not all fit into memory, and what is right."""

    registry: FakeRegistry
    features: FakeFeatures
    predictor: PredictorProcess
    bundles: dict[tuple[str, int], bytes]
    right: dict[tuple[str, int, int, bool], float]

    def alone(self, model: str, version: int, place: int, *, history: bool) -> float:
        """What a version says of one row, asked alone in this process."""
        asked = (model, version, place, history)
        if asked not in self.right:
            evaluator = load_evaluator(open_bundle(self.bundles[model, version], signing_key().public_key()))
            row = ROWS[place]
            columns: dict[str, np.ndarray] = {
                name: np.array([row[name]], object if datatype == "BYTES" else np.float64)
                for name, datatype in made.DATATYPES.items()
            }
            cost, count = PATIENTS.get(PATIENT_OF[place], (np.nan, 0.0)) if history else (np.nan, np.nan)
            if model == HISTORY:
                columns |= {"visits.cost_mean_30d": np.array([cost]), "visits.count_30d": np.array([count])}
            self.right[asked] = float(evaluator.predict(columns)[0])
        return self.right[asked]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Six large models and one with history, three versions of each; room for about half of them."""
    registry, features = FakeRegistry().start(), FakeFeatures().start()
    features.values = dict(PATIENTS)
    bundles: dict[tuple[str, int], bytes] = {}
    for number, model in enumerate(BIG):
        for version in VERSIONS:
            bundles[model, version] = made.bundle(model, 10 * number + version, signing_key())
    for version in VERSIONS:
        bundles[HISTORY, version] = visit_bundle(model=HISTORY, history=True, shift=version / 4)
    for (model, version), data in bundles.items():
        registry.add("acme", model, version, data)
    for model in (*BIG, HISTORY):
        registry.release("acme", model, 1)
    extra = {"TENON_PREDICTOR_GRACE_SECONDS": "0"}
    if "predictor_model_memory_mib" in PredictorSettings.model_fields:
        extra["TENON_PREDICTOR_MODEL_MEMORY_MIB"] = "1"
    folder = tmp_path_factory.mktemp("interleavings")
    predictor = PredictorProcess(folder, registry=registry.port, features=features.port, extra=extra)
    try:
        predictor.start()
        yield Place(registry, features, predictor, bundles, {})
    finally:
        code = predictor.stop()
        registry.stop()
        features.stop()
    assert code == 0


def asks() -> st.SearchStrategy[Ask]:
    """Requests of one to five rows."""
    rows = st.lists(st.integers(0, len(ROWS) - 1), min_size=1, max_size=5, unique=True).map(tuple)
    names = st.integers(0, 40).map(lambda number: f"id-{number}")
    return st.builds(Ask, st.sampled_from(DOORS), st.sampled_from((*BIG, HISTORY)), rows, names)


def changes() -> st.SearchStrategy[Change]:
    """Releases with and without canary and shadow."""
    return st.builds(
        lambda model, versions, permille, canary, shadow: Change(
            model, versions[0], versions[1] if canary else 0, permille if canary else 0, versions[2] if shadow else 0
        ),
        st.sampled_from((*BIG, HISTORY)), st.permutations(VERSIONS), st.integers(1, 999), st.booleans(), st.booleans(),
    )  # fmt: skip


class Interleavings(RuleBasedStateMachine):
    """Callers on threads of their own, and releases beside them."""

    place: Place

    def __init__(self) -> None:
        super().__init__()
        self._askers = [
            Asker(self.place.predictor.http, self.place.predictor.grpc, KEYS["acme"]) for _ in range(CALLERS)
        ]
        self._current: dict[str, Change] = {}

    def teardown(self) -> None:
        """Hang up."""
        for asker in self._askers:
            asker.close()
        self.place.features.fail = False

    @initialize()
    def begin(self) -> None:
        """The first version of each model."""
        for model in (*BIG, HISTORY):
            self._release(Change(model, 1, 0, 0, 0))
        self._settle()

    @rule(work=st.lists(asks(), min_size=1, max_size=30))
    def ask(self, work: list[Ask]) -> None:
        """All at once, while nothing changes: ids decide between stable and canary in the same way at each door."""
        answers = self._ask_all(work)
        self._check(answers, {model: change.answering() for model, change in self._current.items()})
        chosen: dict[tuple[str, str], set[int]] = {}
        for asked, lines in answers:
            if asked.model != HISTORY:
                chosen.setdefault((asked.model, asked.request_id), set()).update(line.version for line in lines)
        assert all(len(versions) == 1 for versions in chosen.values()), chosen

    @rule(work=st.lists(asks(), min_size=5, max_size=30), news=st.lists(changes(), min_size=1, max_size=4))
    def ask_while_releases_change(self, work: list[Ask], news: list[Change]) -> None:
        """Before, between and after the releases."""
        allowed = {model: change.answering() for model, change in self._current.items()}
        for change in news:
            allowed[change.model] = allowed[change.model] | change.answering()

        def release() -> None:
            for change in news:
                self._release(change)

        releasing = threading.Thread(target=release)
        releasing.start()
        answers = self._ask_all(work)
        releasing.join()
        self._check(answers, allowed)
        self._settle()

    @rule(down=st.booleans())
    def features(self, down: bool) -> None:
        """They go away or come back; the answers say whether they had them."""
        self.place.features.fail = down

    def _release(self, change: Change) -> None:
        self.place.registry.release(
            "acme", change.model, change.stable, canary=change.canary, permille=change.permille, shadow=change.shadow
        )
        self._current[change.model] = change

    def _settle(self) -> None:
        registry = self.place.registry
        wanted = {model: registry.releases["acme", model].revision for model in self._current}

        def in_effect() -> bool:
            found = {item.model: item.revision for report in registry.reports[-1:] for item in report.models}
            return found == wanted

        wait_until(in_effect, "all releases in effect", 180)

    def _ask_all(self, work: list[Ask]) -> list[tuple[Ask, list[Line]]]:
        waiting: queue.SimpleQueue[Ask] = queue.SimpleQueue()
        for asked in work:
            waiting.put(asked)
        answers: list[tuple[Ask, list[Line]]] = []
        failures: list[Any] = []

        def call(asker: Asker) -> None:
            while True:
                try:
                    asked = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    answers.append((asked, asker.ask(asked.door, asked.model, rows_of(asked), asked.request_id)))
                except Exception as err:
                    failures.append((asked, err))

        threads = [threading.Thread(target=call, args=(asker,)) for asker in self._askers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures[:3]
        return answers

    def _check(self, answers: list[tuple[Ask, list[Line]]], allowed: dict[str, set[int]]) -> None:
        for asked, lines in answers:
            assert len(lines) == len(asked.places)
            for number, line in zip(asked.places, lines, strict=True):
                assert line.version in allowed[asked.model], (asked, line)
                right = self.place.alone(asked.model, line.version, number, history=not line.fallback)
                assert line.value == right, (asked, line, right)


def rows_of(asked: Ask) -> list[Row]:
    """The rows of a request; with history, by patient."""
    rows = [dict(ROWS[number]) for number in asked.places]
    if asked.model == HISTORY:
        for row, number in zip(rows, asked.places, strict=True):
            row["patient_id"] = PATIENT_OF[number]
    return rows


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_any_interleaving_gives_the_answers_of_single_calls(place: Place) -> None:
    """Over six doors, seven models, canaries, shadows, evictions and a features service that comes and goes."""
    Interleavings.place = place
    run_state_machine_as_test(
        Interleavings,
        settings=settings(
            max_examples=15,
            stateful_step_count=8,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    if "predictor_model_memory_mib" in PredictorSettings.model_fields:
        assert place.predictor.metric("tenon_predictor_model_evictions_total") > 0
    assert place.predictor.metric("tenon_predictor_shadow_evaluations_total") > 0
