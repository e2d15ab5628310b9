"""What features look like: statistics, history, lineage and the page."""

from __future__ import annotations

import math
import re

import polars as pl
import pytest

from services.features.domain.describe_features import SAMPLE, DescribeFeatures, FeatureStatistics, _described, meaning
from services.features.domain.html_features import render_features
from tenon.core.errors import Invalid, NotFound, Precondition
from tenon.core.specs import FeatureViewSpec
from tests.unit.services.features.test_features_use_cases import DAY, NORTH, VIEW, World, micros, sale

WIDE = FeatureViewSpec.model_validate(
    {**VIEW.canonical(), "name": "wide", "static": ["open"], "expressions": {"dear": "price_sum_3d / count_3d"}}
)


@pytest.fixture
def world() -> World:
    """A world with two views applied."""
    made = World()
    made.define.apply(NORTH, VIEW)
    made.define.apply(NORTH, WIDE)
    return made


def describing(world: World) -> DescribeFeatures:
    """The use case over its fakes."""
    return DescribeFeatures(world.views, world.lake, world.lake)


def test_statistics_are_those_of_a_training_set(world: World) -> None:
    """The values described are the training set's, in all and by period; the same version is not read twice."""
    world.commit(*[sale(n, n / 10, "abc"[n % 3], None if n % 4 == 0 else f"{n}.25", late=0.5) for n in range(200)])
    made = world.training.build(NORTH, "sales", [], ["shop_history"])
    frame = world.files.frames[NORTH, made.fingerprint]
    describe = describing(world)
    found = describe.statistics(NORTH, "shop_history")
    assert (found.rows, found.sampled, found.table_version, len(found.starts)) == (200, 200, 0, 24)
    for feature in found.features:
        values = frame[feature.reference]
        assert feature.whole.missing == values.null_count() == sum(p.missing for p in feature.over_time)
        assert feature.whole.mean == pytest.approx(values.mean())
        assert (feature.minimum, feature.maximum) == (values.min(), values.max())
        assert sum(feature.counts) == 200 - values.null_count()
        assert sum(p.rows for p in feature.over_time) == 200
    reads = world.lake.reads
    assert describe.statistics(NORTH, "shop_history") is found
    assert world.lake.reads == reads


def test_a_large_table_is_sampled_evenly(world: World) -> None:
    """Rows are left out evenly over time, never the history behind those that are kept."""
    world.commit(*[sale(n, n / 10_000, "a", "1.00") for n in range(2 * SAMPLE + 10)])
    found = describing(world).statistics(NORTH, "shop_history")
    assert (found.rows, found.sampled) == (2 * SAMPLE + 10, -(-(2 * SAMPLE + 10) // 3))
    assert found.features[0].maximum == 30_000


def test_an_entity_s_history(world: World) -> None:
    """Its values at evenly spaced times are what lookups give then; of nobody there is nothing but zeros."""
    world.commit(sale(1, 90, "a", "1.50"), sale(2, 91, "a", "2.00"), sale(3, 92, "b", "9.00"))
    world.builds.build(NORTH, "shop_history")
    describe = describing(world)
    found = describe.history(NORTH, "shop_history", {"shop": "a"}, micros(90), micros(95), 11)
    for at, values in zip(found.at.tolist(), zip(*found.values, strict=True), strict=True):
        asked = world.ask("a", (at - micros(0)) / DAY)[0]
        assert list(values) == [None if math.isnan(value) else value for value in asked]
    assert found.at.tolist()[-1] == micros(95)
    spell = describe.history(NORTH, "shop_history", {"shop": "a"}, None, None, 2).at.tolist()
    assert spell == [micros(90), micros(91) + 1]
    assert describe.history(NORTH, "shop_history", {"shop": "nobody"}, 1, 2, 2).values[0] == [0, 0]
    assert describe.history(NORTH, "shop_history", {}, 1, 2, 2).values == [[None] * 2] * len(found.references)
    for keys, start, end, points, reason in (
        ({"shopp": "a"}, None, None, 2, "ENTITY_KEY_UNKNOWN"), ({"shop": "a"}, 3, 2, 2, "TIME_RANGE_INVALID"),
        ({"shop": "a"}, None, None, 0, "POINTS_INVALID"), ({"shop": "a"}, None, None, 1001, "POINTS_INVALID"),
    ):  # fmt: skip
        with pytest.raises(Invalid) as refused:
            describe.history(NORTH, "shop_history", keys, start, end, points)
        assert refused.value.reason == reason


def test_nobody_has_no_spell_of_time(world: World) -> None:
    """An entity without events, asked for without a range, is not found; its name is not repeated in the error."""
    world.commit(sale(1, 90, "a", "1.50"))
    with pytest.raises(NotFound, match="no event of this entity") as refused:
        describing(world).history(NORTH, "shop_history", {"shop": "Mrs Smith"}, None, None, 2)
    assert "Smith" not in str(refused.value)


def series(values: list[float | None]) -> FeatureStatistics:
    """What is said of these values."""
    feature = VIEW.features()[0]
    return _described(feature, "x", pl.Series("x", values, pl.Float64), [0, len(values)])


@pytest.mark.parametrize(
    "values",
    [[1e308, -1e308, 1.7e308, None], [2.0**63] * 3, [2.0**63, -(2.0**63), 2.0**53 - 1], [5e-324, 0.0], [1.797e308], [5e-324, 1e308], [0.1], [-1e17]],
)  # fmt: skip
def test_the_largest_numbers_are_drawn(values: list[float | None]) -> None:
    """Bars rise, hold every value, and nothing is infinite, at the ends of float64 and of 64-bit integers."""
    found = series(values)
    there = [value for value in values if value is not None]
    assert sum(found.counts) == len(there)
    assert found.edges == sorted(found.edges)
    told = [*found.edges, found.whole.mean, found.whole.low, found.whole.median, found.whole.high]
    assert all(number is not None and math.isfinite(number) for number in told)
    assert found.whole.mean == pytest.approx(math.fsum(value / len(there) for value in there), rel=1e-9)


def test_a_feature_is_said_in_words() -> None:
    """Conditions, filters and expressions are told as they are declared."""
    view = FeatureViewSpec.model_validate(
        {"name": "v", "dataset": "sales", "entity": ["shop"], "expressions": {"twice": "dear_rate_1d * 2"},
         "aggregates": [{"column": "price", "functions": ["rate"], "windows": ["1d"], "as": "dear", "condition": {"above": 1, "below": 7.5},
                         "where": {"shop": {"in": ["a", "b"]}, "open": {"in": [True]}}}]}
    )  # fmt: skip
    said = [meaning(view, feature) for feature in view.features()]
    assert said == ["rate above 1 and below 7.5 of price in 1d where shop is a, b and open is true", "dear_rate_1d * 2"]


def test_lineage_goes_from_feature_to_file(world: World) -> None:
    """Columns (also those behind an expression), what they are known at, the table and its files."""
    describe = describing(world)
    assert describe.lineage(NORTH, "wide").files == []
    with pytest.raises(Precondition, match="nothing was ever committed"):
        describe.statistics(NORTH, "wide")
    world.commit(sale(1, 90, "a", "1.50"))
    found = describe.lineage(NORTH, "wide")
    about = {origin.reference: origin for origin in found.origins}
    assert (about["wide.count_3d"].columns, about["wide.price_sum_3d"].known_at) == ([], ["known"])
    dear = about["wide.dear"]
    assert (dear.columns, dear.known_at, dear.features) == (["price"], ["known"], ["price_sum_3d", "count_3d"])
    assert [file.name for file in found.files] == ["file0.csv"]


def test_the_page_escapes_and_draws(world: World) -> None:
    """One row a feature with its drawings; a view without any value says so; nothing is fetched from elsewhere."""
    world.commit(*[sale(n, n, "<a>", None) for n in range(30)])
    describe = describing(world)
    page = render_features(describe.statistics(NORTH, "wide"), describe.lineage(NORTH, "wide"), micros(0))
    assert page.count("<tr>") == 1 + 4 + 1 + 1
    assert "2 have no value at all" in page
    assert "nan" not in page.lower()
    assert not re.search(r"(?:src|href)=|url\(", page)
