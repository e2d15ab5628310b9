"""Values computed anew from the lake: those of lookups and of training sets, as the tables are and as they were."""

from __future__ import annotations

import numpy as np
import pytest

from services.features.domain.model import EntityKeys
from services.features.domain.recompute import MAX_ROWS, Recompute
from tenon.core.errors import Invalid, NotFound, TooLarge
from tenon.core.specs import FeatureViewSpec
from tests.unit.services.features.test_features_use_cases import NORTH, VIEW, World, micros, sale


@pytest.fixture
def world() -> World:
    """A world with the view applied and three commits, one a day; the last brings what was known long before."""
    made = World()
    made.define.apply(NORTH, VIEW)
    rows = [sale(1, 90, "a", "1.50"), sale(2, 91, "a", "2.00"), sale(3, 92, "b", "9.00"), sale(4, 90.5, "a", "4.00")]
    for version, count in enumerate((1, 3, 4)):
        made.commit(*rows[:count])
        made.lake.times[f"fake://{NORTH}/sales", version] = micros(93 + version)
    return made


def recompute(world: World, shops: list[str | None], day: float, **more: int) -> list[list[float]]:
    """The view's values, row by row."""
    rows = [EntityKeys({} if shop is None else {"shop": shop}, micros(day)) for shop in shops]
    found = Recompute(world.views, world.lake, world.lake)(NORTH, ["shop_history"], rows, {}, **more)
    return found.values.T.tolist()


def test_values_are_bit_for_bit_those_of_a_lookup(world: World) -> None:
    """Also of nobody, and where a key is missing; each row at its own time."""
    world.builds.build(NORTH, "shop_history")
    for day in (90.2, 92.0, 95.0):
        shops = ["a", "b", "nobody", None]
        found = np.array(recompute(world, shops, day))
        assert found.tobytes() == np.array([world.ask(shop, day)[0] for shop in shops]).tobytes()


def test_what_came_in_later_is_not_in_the_values_of_before(world: World) -> None:
    """As of a time, and some commits before that; before the first commit nobody is known."""
    now = recompute(world, ["a"], 92)
    before = recompute(world, ["a"], 92, as_of=micros(94.5))
    assert now != before
    assert recompute(world, ["a"], 92, as_of=micros(95), commits_before=1) == before
    nothing = recompute(world, ["a"], 92, as_of=micros(92.9))
    assert str(nothing) == str(recompute(world, ["nobody"], 92)) == str(recompute(world, ["a"], 92, commits_before=3))


def test_a_definition_is_wanted_by_its_digest(world: World) -> None:
    """The one that a model was trained on gives its values also after the view was changed; a wrong wish is refused."""
    old = world.views.get(NORTH, "shop_history").digest
    before = recompute(world, ["a"], 92)
    spec = VIEW.canonical()
    spec["aggregates"][0]["windows"] = ["1d"]
    world.define.apply(NORTH, FeatureViewSpec.model_validate(spec))
    call = Recompute(world.views, world.lake, world.lake)
    rows = [EntityKeys({"shop": "a"}, micros(92))]
    assert call(NORTH, ["shop_history"], rows, {"shop_history": old}).values.T.tolist() == before
    assert call(NORTH, ["shop_history"], rows, {}).values.T.tolist() != before
    with pytest.raises(NotFound):
        call(NORTH, ["shop_history"], rows, {"shop_history": "0" * 64})
    for views, many, commits, kind in (
        ([], 1, 0, Invalid), (["shop_history"] * 2, 1, 0, Invalid), (["shop_history"], MAX_ROWS + 1, 0, TooLarge),
        (["shop_history"], 1, 11, Invalid),
    ):  # fmt: skip
        with pytest.raises(kind):
            call(NORTH, views, rows * many, {}, commits_before=commits)
