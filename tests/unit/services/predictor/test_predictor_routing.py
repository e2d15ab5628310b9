"""Which version answers: exact shares, sticky, the same everywhere."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.predictor.domain.model import Arm, Entry, ModelKey, Role
from services.predictor.domain.routing import Table, choose, split_bucket
from tenon.core.errors import NotFound
from tests.support.predictor_parts import ACME, GLOBEX, served


def _one_key_of_each_bucket() -> list[tuple[str]]:
    found: dict[int, tuple[str]] = {}
    for number in range(20_000):
        found.setdefault(split_bucket(ACME, "stay", (f"=e{number}",)), (f"=e{number}",))
    assert len(found) == 1000
    return list(found.values())


KEYS_OF_BUCKETS = _one_key_of_each_bucket()


def test_the_split_is_known_for_all_time() -> None:
    """These numbers may never change: an entity would jump to the other version in the middle of a canary."""
    assert [split_bucket(ACME, "stay", (f"=p{number}",)) for number in range(6)] == [866, 377, 122, 519, 263, 848]


def test_the_split_is_even() -> None:
    """50,000 entities over 1,000 buckets: chi squared within four deviations of what chance gives."""
    counts = Counter(split_bucket(ACME, "stay", (f"=patient-{number}",)) for number in range(50_000))
    chi = sum((counts[bucket] - 50) ** 2 / 50 for bucket in range(1000))
    assert 999 - 4 * 44.7 < chi < 999 + 4 * 44.7


@pytest.mark.parametrize("permille", [1, 50, 200, 500, 999])
def test_a_canary_gets_its_share_and_keeps_its_entities(permille: int) -> None:
    """Within four deviations; the same entity always, and a growing canary keeps those it had."""
    entry = Entry(1, served(1), served(2), permille)
    wider = Entry(2, served(1), served(2), min(999, permille + 100))
    entities = [(f"=e{number}",) for number in range(20_000)]
    first = [choose(entry, ACME, "stay", key).role for key in entities]
    share = permille / 1000
    assert abs(first.count(Role.CANARY) / 20_000 - share) < 4 * (share * (1 - share) / 20_000) ** 0.5 + 1e-9
    assert first == [choose(entry, ACME, "stay", key).role for key in entities]
    later = [choose(wider, ACME, "stay", key).role for key in entities]
    assert all(now is Role.CANARY for was, now in zip(first, later, strict=True) if was is Role.CANARY)


@settings(max_examples=60, deadline=None)
@given(weights=st.lists(st.integers(1, 300), min_size=1, max_size=4).filter(lambda found: sum(found) < 1000))
def test_arms_get_their_shares_and_the_first_is_the_canary_of_old(weights: list[int]) -> None:
    """Of the thousand buckets each arm has exactly its weight; the entities of a single arm are those that a canary of
    its weight has; and a later arm moves none of those before it."""
    arms = tuple(Arm(Role(f"arm{n}"), served(n + 2), weight) for n, weight in enumerate(weights))
    entry, shorter = Entry(1, served(1), arms=arms), Entry(1, served(1), arms=arms[:-1])
    canary = Entry(1, served(1), served(2), weights[0])
    buckets: Counter[str] = Counter()
    for key in KEYS_OF_BUCKETS:
        role = choose(entry, ACME, "stay", key).role
        buckets[role] += 1
        assert (role == "arm0") == (choose(canary, ACME, "stay", key).role == "canary")
        if role != arms[-1].role:
            assert choose(shorter, ACME, "stay", key).role == role
    assert {role: buckets[role] for role in buckets if role != "stable"} == {
        f"arm{n}": weight for n, weight in enumerate(weights)
    }


def test_forty_thousand_entities_are_split_as_the_weights_say() -> None:
    """Chi squared over five arms within what chance gives in all but one of ten thousand cases (23.5 at 4 degrees)."""
    weights = (100, 50, 200, 333)
    entry = Entry(1, served(1), arms=tuple(Arm(Role(f"a{n}"), served(n + 2), w) for n, w in enumerate(weights)))
    counts = Counter(choose(entry, ACME, "stay", (f"=entity-{n}",)).role for n in range(40_000))
    shares = {**{f"a{n}": weight / 1000 for n, weight in enumerate(weights)}, "stable": 0.317}
    chi = sum((counts[Role(role)] - 40_000 * share) ** 2 / (40_000 * share) for role, share in shares.items())
    assert chi < 23.5


def test_the_place_of_an_arm_that_could_not_be_loaded_is_answered_by_stable() -> None:
    """And the other arms keep their own entities."""
    whole = Entry(1, served(1), arms=(Arm(Role("b"), served(2), 300), Arm(Role("c"), served(3), 300)))
    lame = Entry(1, served(1), arms=(Arm(Role.STABLE, served(1), 300), Arm(Role("c"), served(3), 300)))
    for key in KEYS_OF_BUCKETS:
        was, now = choose(whole, ACME, "stay", key).role, choose(lame, ACME, "stay", key).role
        assert now == ("stable" if was == "b" else was)
    assert [serving.role for serving in lame.answering()] == ["stable", "c"]
    assert [track.role for track in lame.tracks()] == ["stable", "c"]


def test_tenants_models_and_key_parts_are_told_apart() -> None:
    """One entity's bucket says nothing about another model's, and parts do not run together."""
    assert split_bucket(ACME, "stay", ("ab", "c")) != split_bucket(ACME, "stay", ("a", "bc"))
    same = sum(split_bucket(ACME, "a", (str(n),)) == split_bucket(GLOBEX, "a", (str(n),)) for n in range(2000))
    assert same < 20


def test_a_model_that_is_not_there_is_not_found_with_a_way_out() -> None:
    """A near name is proposed; another tenant's models are never named."""
    table = Table()
    table.put(ModelKey(ACME, "stay"), Entry(1, served()))
    with pytest.raises(NotFound) as caught:
        table.find(ACME, "stey")
    assert caught.value.hint == "did you mean 'stay'?"
    with pytest.raises(NotFound) as caught:
        table.find(GLOBEX, "stay")
    assert caught.value.hint is None


@pytest.mark.parametrize("version", ["3", "9", "", "1.0", "01", "x" * 99])
def test_a_version_that_does_not_answer_is_not_found_and_says_which_do(version: str) -> None:
    """The shadow's version (3) cannot be asked, nor anything that is no version."""
    table = Table()
    table.put(ModelKey(ACME, "stay"), Entry(1, served(1), served(2), 100, served(3)))
    with pytest.raises(NotFound, match=r"served: 1 \(stable\), 2 \(canary\)"):
        table.find_version(ACME, "stay", version)
    assert table.find_version(ACME, "stay", "2").role is Role.CANARY
