"""Which version answers: exact shares, sticky, the same everywhere."""

from __future__ import annotations

from collections import Counter

import pytest

from services.predictor.domain.model import Entry, ModelKey, Role
from services.predictor.domain.routing import Table, choose, split_bucket
from tenon.core.errors import NotFound
from tests.support.predictor_parts import ACME, GLOBEX, served


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
