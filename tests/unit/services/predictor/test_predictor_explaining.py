"""Explanations, intervals and labels: what the answers of the entity-keyed door say beside their values."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.predictor.api_http import entities
from services.predictor.domain.explaining import Explaining, as_matrix, by_row
from services.predictor.domain.model import Answer, Ask, Entry, ModelKey, Served, Track
from services.predictor.domain.predict import Predictor
from services.predictor.domain.rungs import Constant, Footing, Footings, Ladder, Level, Missing, WithoutHistory
from services.predictor.engine.explaining import BundleExplainers
from services.predictor.engine.loader import BundleLoader
from services.predictor.storage.bundle_cache import BundleCache
from tenon.bundle import Evaluator, load_evaluator, open_bundle
from tenon.core.errors import Invalid, Precondition, TooLarge, Unavailable
from tenon.core.roles import Role
from tenon.core.tenancy import TenantId
from tests.support.predictor_bundles import linear_bundle, sha256, signing_key, visit_bundle
from tests.support.predictor_parts import ACME, World

VERIFY = signing_key().public_key()


class Place:
    """A cache, a registry to download from, and a predictor that explains."""

    def __init__(self, folder: Path, *bundles: bytes, max_bytes: int = 64 << 20, most_rows: int = 5) -> None:
        self.cache = BundleCache(folder)
        self.bundles = dict(enumerate(bundles, 1))
        self.downloads = 0
        self.explainers = BundleExplainers(self.download, self.cache, VERIFY, max_bytes=max_bytes)
        self.world = World()
        world = self.world
        self.predictor = Predictor(
            world.table, world.history, world.log, world.shadows, world.observer,
            explaining=Explaining(self.explainers, most_rows=most_rows),
        )  # fmt: skip

    def download(self, tenant: TenantId, model: str, version: int) -> bytes:
        """From the registry."""
        self.downloads += 1
        if not self.bundles:
            raise Unavailable("REGISTRY_UNAVAILABLE", "down on purpose")
        return self.bundles[version]

    def load(self, version: int, model: str = "stay") -> Served:
        """A version, as a release would load it."""
        loader = BundleLoader(self.download, self.cache, VERIFY)
        return loader.load(ACME, model, Track(Role.STABLE, version, sha256(self.bundles[version])))

    def serve(self, stable: Served, canary: Served | None = None) -> None:
        """Release it."""
        entry = Entry(1, stable, canary, 500 if canary is not None else 0)
        self.world.table.put(ModelKey(ACME, stable.model), entry)

    def ask(self, columns: dict[str, Any], model: str = "stay", **options: Any) -> list[Answer]:
        """Predict with an explanation."""
        rows = len(next(iter(columns.values())))
        return self.predictor.predict(
            ACME, Ask(model, None, "rest", "r1", rows, columns, **{"explain": True, **options})
        )  # fmt: skip


VISIT: dict[str, list[Any]] = {
    "age": [0.1, 61.5, None],
    "count": [0, 3, 1],
    "urgent": [True, False, None],
    "ward": ["north", "moon", None],
}


def test_a_row_is_explained_by_its_own_inputs(tmp_path: Path) -> None:
    """Base and contributions add up to the margin, the largest comes first, values are as they were sent."""
    place = Place(tmp_path, visit_bundle())
    place.serve(place.load(1))
    answer = place.ask(VISIT)[0]
    explained = by_row(answer.served, answer.explained, 3)
    evaluator = load_evaluator(open_bundle(place.bundles[1], VERIFY))
    assert isinstance(evaluator, Evaluator)
    margins: Any = evaluator.margin({name: np.array(values, object) if name == "ward" else np.array(values, float)
                                for name, values in VISIT.items()})  # fmt: skip
    for row, found in enumerate(explained):
        assert found is not None
        assert found.space == "log-odds"
        assert found.margin == margins[row]
        amounts = [part.contribution for part in found.contributions]
        assert found.base + sum(amounts) == pytest.approx(found.margin, abs=1e-6)
        assert [abs(amount) for amount in amounts] == sorted(map(abs, amounts), reverse=True)
        assert {part.column: part.value for part in found.contributions} == {
            name: values[row] for name, values in VISIT.items()
        }
        assert {part.column: type(part.value) for part in found.contributions}["count"] is int
    names, matrix, space = as_matrix(answer.explained, 3)
    assert names == ("age", "count", "urgent", "ward")
    assert space == "log-odds"
    np.testing.assert_allclose(matrix.sum(axis=1), margins, atol=1e-6)


def test_without_asking_nothing_is_explained_or_loaded(tmp_path: Path) -> None:
    """The price of the feature for those who do not use it: none."""
    place = Place(tmp_path, visit_bundle())
    place.serve(place.load(1))
    assert place.ask(VISIT, explain=False)[0].explained is None
    assert place.explainers.nbytes == 0


def test_each_row_is_explained_by_the_version_that_answered_it(tmp_path: Path) -> None:
    """With a canary, both versions' explanations come, each with its own margin."""
    place = Place(tmp_path, visit_bundle(history=True), visit_bundle(history=True, shift=2.0))
    place.serve(place.load(1), place.load(2))
    rows = 5
    columns = {
        "patient_id": [f"p{at}" for at in range(rows)], "age": [0.1] * rows, "count": [1] * rows, "urgent": [None] * rows,
        "ward": ["east"] * rows, "visits.cost_mean_30d": [1.0] * rows, "visits.count_30d": [2] * rows,
    }  # fmt: skip
    answers = place.ask(columns, split_rows=True)
    assert {answer.served.version for answer in answers} == {1, 2}
    for answer in answers:
        for found, value in zip(
            by_row(answer.served, answer.explained, len(answer.scores)), answer.scores, strict=True
        ):
            assert found is not None
            assert 1 / (1 + np.exp(-found.margin)) == pytest.approx(value, rel=1e-6)


def test_rows_on_different_rungs_are_explained_by_what_answered_them(tmp_path: Path) -> None:
    """The second model explains its own rows; a constant has no contributions and no interval."""
    place = Place(tmp_path, visit_bundle())
    served = place.load(1)
    columns = {name: np.array(values, object if name == "ward" else float) for name, values in VISIT.items()}
    footings = Footings((Footing(Level.MISSING), Footing(Level.CONSTANT)), np.array([1, 0, 1]))
    explaining = Explaining(place.explainers, most_rows=9)
    found = by_row(served, explaining.explain(served, columns, footings, 3), 3)
    assert [item is None for item in found] == [True, False, True]
    only = Footings((Footing(Level.CONSTANT),))
    assert explaining.explain(served, columns, only, 3) == []
    assert as_matrix([], 3)[1].shape == (3, 1)
    with pytest.raises(Precondition, match="without history"):
        explaining.explain(served, columns, Footings((Footing(Level.WITHOUT_HISTORY),)), 3)
    # The nouns that the ladder is made of; that they exist is all that matters here.
    assert Ladder((Missing(), WithoutHistory(served.evaluator), Constant(0.5)), {}).nbytes >= 0  # type: ignore[arg-type]


def test_too_many_rows_are_not_explained(tmp_path: Path) -> None:
    """The cap is said, nothing is logged, and without explain the same rows are answered."""
    place = Place(tmp_path, visit_bundle(), most_rows=2)
    place.serve(place.load(1))
    with pytest.raises(TooLarge) as caught:
        place.ask(VISIT)
    assert caught.value.reason == "EXPLAIN_TOO_MANY_ROWS"
    assert "at most 2" in caught.value.message
    assert place.world.log.entries == []
    assert len(place.ask(VISIT, explain=False)[0].scores) == 3


def test_a_bundle_without_covers_says_so(tmp_path: Path) -> None:
    """Versions of before answer as ever, and refuse to explain with a code of their own; nothing is logged."""
    place = Place(tmp_path, visit_bundle(cover=False))
    place.serve(place.load(1))
    assert len(place.ask(VISIT, explain=False)[0].scores) == 3
    logged = len(place.world.log.entries)
    with pytest.raises(Precondition) as caught:
        place.ask(VISIT)
    assert caught.value.reason == "EXPLANATION_UNAVAILABLE"
    assert len(place.world.log.entries) == logged


def test_an_explainer_is_made_once_and_kept_while_there_is_room(tmp_path: Path) -> None:
    """Many threads that ask first make one; a full memory drops the least recently used; a lost file is fetched again."""
    place = Place(tmp_path, visit_bundle(), visit_bundle(shift=1.0), max_bytes=1)
    first, second = place.load(1), place.load(2)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(place.explainers.of(first, without_history=False)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(item) for item in found}) == 1
    assert place.explainers.of(first, without_history=False) is found[0]
    place.explainers.of(second, without_history=False)
    assert place.explainers.of(first, without_history=False) is not found[0]
    downloads = place.downloads
    place.cache.drop(second.sha256)
    place.explainers.of(second, without_history=False)
    assert place.downloads == downloads + 1
    place.cache.drop(first.sha256)
    place.bundles.clear()
    with pytest.raises(Unavailable):
        place.explainers.of(first, without_history=False)


def test_a_linear_model_says_its_interval_and_contributions(tmp_path: Path) -> None:
    """Contributions are from the training mean; the interval is that of the answer's bin, within the label's limits."""
    place = Place(tmp_path, linear_bundle(explained=True))
    place.serve(place.load(1, "price"))
    answer = place.ask({"x0": [0.5, 9.0, -0.4], "x1": [0.5, 1.0, 0.0]}, "price")[0]
    details = entities.details_of(answer)
    assert details is not None
    assert answer.scores.tolist() == pytest.approx([3.5, 22.0, 0.2])
    intervals = [line["interval"] for line in details]
    assert intervals[0] == {"low": 2.5, "high": 5.5, "coverage": 0.9}
    assert intervals[1] == {"low": 18.0, "high": 30.0, "coverage": 0.9}
    assert intervals[2]["low"] == 0.0
    explanation = details[1]["explanation"]
    assert explanation["space"] == "value"
    assert explanation["base"] == 3.5
    assert explanation["contributions"] == [
        {"column": "x0", "value": 9.0, "contribution": 17.0},
        {"column": "x1", "value": 1.0, "contribution": 1.5},
    ]


def test_what_was_not_measured_has_no_interval(tmp_path: Path) -> None:
    """Only fresh answers have the interval of the model; stale, missing and constant ones have none."""
    place = Place(tmp_path, linear_bundle(explained=True))
    served = place.load(1, "price")
    levels = (Level.FRESH, Level.STALE, Level.MISSING, Level.WITHOUT_HISTORY, Level.CONSTANT)
    footings = Footings(tuple(map(Footing, levels)), np.arange(5))
    answer = Answer(served, Role.STABLE, None, np.full(5, 3.0), b"", (), None, footings)
    assert [answer.interval_of(row, 3.0) is None for row in range(5)] == [False, True, True, True, True]


def test_a_threshold_makes_a_label(tmp_path: Path) -> None:
    """Where the model declares one; else answers say none, and cost nothing more."""
    place = Place(tmp_path, visit_bundle(threshold=0.5), visit_bundle())
    place.serve(place.load(1))
    answer = place.ask(VISIT, explain=False)[0]
    details = entities.details_of(answer)
    assert details is not None
    assert [line["label"] for line in details] == [score >= 0.5 for score in answer.scores]
    place.serve(place.load(2))
    assert entities.details_of(place.ask(VISIT, explain=False)[0]) is None


@pytest.mark.parametrize(
    ("body", "query", "wanted"),
    [
        ({}, b"", False), ({"explain": True}, b"", True), ({}, b"explain=true", True), ({}, b"explain", True),
        ({}, b"explain=1", True), ({"explain": True}, b"explain=false", True), ({}, b"explain=False", False),
    ],
)  # fmt: skip
def test_explain_may_stand_in_the_query_or_in_the_body(body: dict[str, Any], query: bytes, wanted: bool) -> None:
    """Either is enough."""
    assert entities.wants_explanation(body, query) is wanted


@pytest.mark.parametrize(
    ("body", "query", "reason"),
    [
        ({"explain": "yes"}, b"", "REQUEST_INVALID"), ({"explain": None}, b"", "REQUEST_INVALID"),
        ({}, b"explain=perhaps", "REQUEST_INVALID"), ({}, b"explian=true", "PARAMETER_UNKNOWN"),
        ({}, b"x=1", "PARAMETER_UNKNOWN"),
    ],
)  # fmt: skip
def test_other_words_are_refused(body: dict[str, Any], query: bytes, reason: str) -> None:
    """Nothing that is misspelt is ignored in silence."""
    with pytest.raises(Invalid) as caught:
        entities.wants_explanation(body, query)
    assert caught.value.reason == reason
