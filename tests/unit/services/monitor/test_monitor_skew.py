"""Train/serve skew by value: real skew is found and named; what has another reason is told apart from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.features.domain.model import EntityKeys
from services.features.domain.recompute import Recompute
from services.monitor.domain.model import NumericColumn, PredictionBatch, Role, TextColumn, Window
from services.monitor.domain.skew.compare import CheckSkew, ReportSkew, SkewPolicy, highest_share
from services.monitor.domain.skew.sample_rows import RowSample
from services.monitor.domain.skew.words import Skew, SkewCheck, SkewedFeature, SkewResult
from tenon.core.errors import NotFound, Unavailable
from tenon.core.manifest import InputColumn, Manifest, Signature
from tenon.core.specs import FeatureViewSpec
from tests.support.monitor_data import manifest, numeric_baseline
from tests.unit.services.features.test_features_use_cases import NORTH, VIEW, World, micros, sale

ALWAYS = Window(0, 2**60)
DEAR = FeatureViewSpec.model_validate(VIEW.canonical() | {"expressions": {"dear": "price_sum_3d / count_3d"}})
NAMES = [feature.reference for feature in DEAR.features()]


@dataclass
class MemoryChecks:
    """See `SkewChecks`."""

    checks: list[SkewCheck] = field(default_factory=list)

    def add(self, tenant: Any, check: SkewCheck) -> None:
        """See the port."""
        self.checks.append(check)

    def between(self, tenant: Any, model: str, window: Window) -> list[SkewCheck]:
        """See the port."""
        return [check for check in self.checks if window.start <= check.checked_at < window.end]

    def drop_before(self, moment: int) -> int:
        """See the port."""
        return 0


class Shop:
    """A view of features, a model that was trained on it, answers from its online store, and monitor's comparison."""

    def __init__(self) -> None:
        self.world = World()
        self.world.define.apply(NORTH, DEAR)
        digest = self.world.views.get(NORTH, "shop_history").digest
        plain = manifest({}, numeric_baseline(np.arange(9.0)), tenant="north", model="cost")
        inputs = [InputColumn(name=name, type="float", source="history", nullable=True) for name in NAMES]
        inputs.append(InputColumn(name="shop", type="string", source="entity", nullable=True))
        self.manifest = plain.model_copy(
            update={
                "signature": Signature(inputs=inputs, output="probability", views={"shop_history": ["shop"]}),
                "lineage": plain.lineage.model_copy(update={"feature_views": {"shop_history": digest}}),
            }
        )
        self.rows = [sale(n, 90 + n / 10, "ab"[n % 2], f"{n}.25", late=0.3) for n in range(12)]
        self.sample, self.checks, self.down = RowSample(100), MemoryChecks(), False
        self.check = CheckSkew(self.sample, Registry(self), self, self.checks, now=lambda: micros(100))
        self.recomputed = Recompute(self.world.views, self.world.lake, self.world.lake)

    def commit(self, count: int, day: float) -> None:
        """The table has so many rows from a day on, and the online store follows at once."""
        self.world.commit(*self.rows[:count])
        uri = f"fake://{NORTH}/sales"
        self.world.lake.times[uri, len(self.world.lake.commits[uri]) - 1] = micros(day)
        self.world.builds.build(NORTH, "shop_history")

    def answer(self, at: float, *, event: float | None = None, shops: str = "ab") -> dict[str, Any]:
        """What the predictor logs of answers to these shops; gives the values by feature."""
        keys = [EntityKeys({"shop": shop}, micros(event or at)) for shop in shops]
        found = self.world.look.look_up(NORTH, ["shop_history"], keys)
        return {name: np.array([row.values[place] for row in found.rows]) for place, name in enumerate(NAMES)}

    def log(
        self, values: dict[str, Any], at: float, *, level: str = "fresh", event: float | None = None, shops: str = "ab"
    ) -> None:
        """Into the sample."""
        rows = len(shops)
        columns: dict[str, Any] = {name: NumericColumn(column) for name, column in values.items()}
        if shops.strip():
            columns["shop"] = TextColumn(np.arange(rows, dtype=np.int32), tuple(shops))
        times = np.full(rows, micros(at)), np.full(rows, micros(event or at))
        ids = tuple(str(n) for n in range(rows))
        self.sample.offer(
            PredictionBatch(
                "b", "r", NORTH, "cost", 1, Role.STABLE, "rest", ids, ids, *times, np.zeros(rows), columns, level
            )
        )

    def recompute(
        self, tenant: Any, digests: Any, views: Any, rows: Any, *, as_of: int | None = None, commits_before: int = 0
    ) -> Any:
        """See `TrainedValues`: features' own use case."""
        if self.down:
            raise Unavailable("DOWN", "features is down")
        keys = [EntityKeys(dict(one), at) for one, at in rows]
        found = self.recomputed(tenant, views, keys, digests, as_of=as_of, commits_before=commits_before)
        return dict(zip(found.features, found.values, strict=True))

    def counts(self) -> dict[SkewResult, int]:
        """What the last round found."""
        (check,) = self.check()
        return dict(check.counts)


@pytest.fixture
def shop() -> Shop:
    """Eight of twelve rows are in the table."""
    made = Shop()
    made.commit(8, 91)
    return made


@dataclass
class Registry:
    """See `Versions`."""

    shop: Shop

    def manifest(self, *_: Any) -> Manifest:
        """See the port."""
        return self.shop.manifest


def test_the_platform_s_own_answers_have_no_skew(shop: Shop) -> None:
    """What the online store gives is what training gives, at any time asked for."""
    for at in (91.0, 91.5, 95.0):
        shop.log(shop.answer(at), at)
    shop.log(shop.answer(92, event=90.55), 92, event=90.55)
    assert shop.counts() == {SkewResult.SAME: 8}


def test_a_tampered_online_value_is_skew_and_the_feature_is_named(shop: Shop) -> None:
    """One bit of one feature of one row is enough; the report has both values."""
    values = shop.answer(92)
    right = values[NAMES[1]][1]
    values[NAMES[1]][1] = np.nextafter(right, np.inf)
    shop.log(values, 92)
    assert shop.counts() == {SkewResult.SAME: 1, SkewResult.SKEW: 1}
    report = ReportSkew(shop.checks)(NORTH, "cost", ALWAYS)
    assert (report.verdict, [one.feature for one in report.features]) == (Skew.SKEW, [NAMES[1]])
    assert (report.features[0].served, report.features[0].trained) == (values[NAMES[1]][1], right)
    assert f"{NAMES[1]} served with another value than training gives, in 1 of 2 rows" in report.summary


def test_a_definition_that_changed_under_a_model_is_skew(shop: Shop) -> None:
    """The model was trained on the old definition; the new one's values are another feature under the same name."""
    spec = VIEW.canonical() | {"expressions": {"dear": "price_sum_3d * 2"}}
    shop.world.define.apply(NORTH, FeatureViewSpec.model_validate(spec))
    shop.world.builds.build(NORTH, "shop_history")
    shop.log(shop.answer(92), 92)
    assert shop.counts() == {SkewResult.SKEW: 2}
    assert [one.feature for one in ReportSkew(shop.checks)(NORTH, "cost", ALWAYS).features] == ["shop_history.dear"]


def test_data_that_came_in_later_are_no_skew(shop: Shop) -> None:
    """The values were right with the data of the answer's time, also while the online store was a commit behind."""
    before, behind = shop.answer(92), shop.answer(93.001)
    shop.log(before, 92)
    shop.commit(12, 93)
    shop.log(behind, 93.001)
    assert shop.counts() == {SkewResult.LATE: 4}


def test_a_correction_that_was_known_later_does_not_count(shop: Shop) -> None:
    """By what the training path itself believes at the row's time; one that claims to have been known then came in later."""
    shop.log(shop.answer(91.2), 91.2)
    shop.rows[1] = sale(1, 90.1, "b", "999.00", late=5)
    shop.commit(8, 96)
    assert shop.counts() == {SkewResult.SAME: 2}
    shop.log(shop.answer(91.2), 91.2)
    shop.rows[1] = sale(1, 90.1, "b", "500.00", late=0.3)
    shop.commit(8, 97)
    assert shop.counts() == {SkewResult.SAME: 1, SkewResult.LATE: 1}


def test_answers_that_say_what_they_lack_are_counted_apart(shop: Shop) -> None:
    """Remembered values, no history, nobody named: none of it is skew, and none of it is a pass."""
    values = {name: column + 1 for name, column in shop.answer(92).items()}
    shop.log(values, 92, level="stale")
    shop.log({"age": np.zeros(2)}, 92, level="missing")
    shop.log(values, 92, level="", shops="  ")
    shop.log(values, 92, level="prior")
    counts = shop.counts()
    assert counts == {SkewResult.STALE: 2, SkewResult.MISSING: 2, SkewResult.NO_ENTITY: 2}
    report = ReportSkew(shop.checks)(NORTH, "cost", ALWAYS)
    assert report.verdict is Skew.NOT_ENOUGH_EVIDENCE
    assert "0 rows compared; at least 50 are needed" in report.summary


def test_without_features_nothing_is_said(shop: Shop) -> None:
    """What could not be compared is counted; so is what a round has no time for."""
    shop.log(shop.answer(92), 92)
    shop.down = True
    assert shop.counts() == {SkewResult.UNCHECKED: 2}
    shop.down = False
    shop.log({name: column + 1 for name, column in shop.answer(92).items()}, 92)
    policy = SkewPolicy(explained_rows=1)
    shop.check = CheckSkew(shop.sample, Registry(shop), shop, shop.checks, now=lambda: micros(100), policy=policy)
    assert shop.counts() == {SkewResult.SKEW: 1, SkewResult.UNCHECKED: 1}
    shop.log(shop.answer(92), 92)
    clock = iter(range(0, 10**12, 10**9))
    shop.check = CheckSkew(shop.sample, Registry(shop), shop, shop.checks, now=lambda: next(clock))
    assert shop.counts() == {SkewResult.UNCHECKED: 2}

    class Gone:
        def manifest(self, *_: Any) -> Manifest:
            raise NotFound("VERSION_NOT_FOUND", "gone")

    shop.log(shop.answer(92), 92)
    shop.check = CheckSkew(shop.sample, Gone(), shop, shop.checks, now=lambda: micros(100))
    assert shop.counts() == {SkewResult.UNCHECKED: 2}


def test_no_skew_is_said_with_the_share_that_may_hide() -> None:
    """Of 300 rows without a difference at most one percent may have one."""
    checks = MemoryChecks([SkewCheck("cost", 1, 5, {SkewResult.SAME: 280, SkewResult.LATE: 20}, ())])
    report = ReportSkew(checks)(NORTH, "cost", ALWAYS)
    assert report.verdict is Skew.NO_SKEW
    assert report.highest_share == pytest.approx(1 - 0.05 ** (1 / 300))
    assert "all of 300 rows compared have the values of training; at most 0.99% do not (20 explained" in report.summary
    assert highest_share(3, 3, 0.95) == 1.0
    features = (SkewedFeature("v.x", 2, 3, 1.0, 2.0, 7),)
    checks.checks.append(SkewCheck("cost", 2, 6, {SkewResult.SKEW: 3}, features))
    assert ReportSkew(checks)(NORTH, "cost", ALWAYS, version=1).verdict is Skew.NO_SKEW
    assert ReportSkew(checks)(NORTH, "cost", ALWAYS).features == features


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 10))
def test_the_sample_is_bounded_and_even(sizes: list[int], most: int) -> None:
    """Never more rows than asked for, all of them when there are fewer, and only rows that were offered."""
    sample = RowSample(most)
    offered = 0
    for size in sizes:
        ids = tuple(str(n) for n in range(size))
        at = np.arange(offered, offered + size)
        columns: Any = {"v.x": NumericColumn(at.astype(float))}
        sample.offer(
            PredictionBatch(
                "b", "r", NORTH, "cost", 1, Role.STABLE, "rest", ids, ids, at, at, np.zeros(size), columns, "fresh"
            )
        )
        offered += size
    (rows,) = sample.take().values()
    assert len(rows) == min(most, offered)
    assert len({row.at for row in rows}) == len(rows)
    assert all(row.values == {"v.x": float(row.at)} for row in rows)
    assert sample.take() == {}


def test_every_row_has_the_same_chance() -> None:
    """Over many rounds the first rows of a round are kept as often as the last."""
    sample, hits = RowSample(5), np.zeros(50)
    for _ in range(400):
        for begin in range(0, 50, 10):
            at = np.arange(begin, begin + 10)
            ids = tuple(str(n) for n in at)
            columns: Any = {"v.x": NumericColumn(at.astype(float))}
            sample.offer(
                PredictionBatch(
                    "b", "r", NORTH, "cost", 1, Role.STABLE, "rest", ids, ids, at, at, np.zeros(10), columns
                )
            )
        for row in sample.take()[NORTH, "cost", 1]:
            hits[row.at] += 1
    assert hits.sum() == 2000
    # 40 expected each, standard deviation 6.
    assert hits.min() > 16
    assert hits.max() < 70
