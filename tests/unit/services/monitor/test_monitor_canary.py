"""Canary verdicts: right with few requests, silent without any, and never wrong by looking often."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from services.monitor.domain.canary.judge import judge_canary
from services.monitor.domain.canary.sequential import (
    against_paired,
    against_share,
    against_shares,
    area,
    area_difference,
    area_variance,
    mean_difference,
    mean_of,
    over_stages,
    pairs_needed,
    rows_needed,
)
from services.monitor.domain.canary.words import Arm, CanaryPolicy, CanaryVerdict, Evidence, Finding, Question, Stage
from services.monitor.domain.model import Role
from tests.support.canary_trials import DAY, TRIAL, World, first_horizon, run

RULES = CanaryPolicy()


def judged(stable: Arm, own: Arm, **changes: object) -> dict[Question, Finding]:
    """The findings on one stage."""
    trial = replace(TRIAL, **changes)  # type: ignore[arg-type]
    return {one.question: one.finding for one in judge_canary(trial, Evidence(((stable, own),)), RULES, DAY).questions}


def test_mixture_is_a_likelihood_ratio() -> None:
    """Over all outcomes of ten requests, the expected evidence is exactly one: what makes it an e-process."""
    hits = np.arange(11)
    for share in (0.02, 0.3, 0.9):
        chance = [math.comb(10, k) * share**k * (1 - share) ** (10 - k) for k in hits]
        assert np.sum(np.exp(against_share(hits, 10, share)) * chance) == pytest.approx(1)


@pytest.mark.parametrize("stages", [1, 3])
def test_looking_after_every_request_keeps_the_promise(stages: int) -> None:
    """Of 400 pairs of equal versions, looked at after each of 300 requests (in stages with other shares), 1 % at most look
    different at the level of 1 %, with room for chance."""
    rng = np.random.default_rng(7)
    parts = []
    for _ in range(stages):
        own, other = rng.random((2, 400, 300)) < rng.choice([0.01, 0.1, 0.5], size=(400, 1))
        rows = np.arange(1, 301)
        parts.append(against_shares(own.cumsum(axis=1), rows, other.cumsum(axis=1), rows))
    # Earlier stages are complete while a later one runs.
    done = np.stack(
        [part if place == stages - 1 else np.repeat(part[:, -1:], 300, 1) for place, part in enumerate(parts)]
    )
    assert np.mean((over_stages(done) >= math.log(100)).any(axis=1)) <= 0.02


def test_shares_are_told_apart_in_both_directions() -> None:
    """Surely more, surely not more by the margin, and neither."""
    assert against_shares(30, 300, 20, 2000) > math.log(100)
    assert against_shares(1, 2000, 20, 20_000, above=0.02, worse=False) > math.log(20)
    assert against_shares(3, 300, 20, 2000) < 1
    assert against_shares(0, 10, 0, 100, above=0.02, worse=False) < math.log(20)
    assert against_shares(0, 0, 0, 100, above=0.02, worse=False) == 0


def test_needed_rows_are_enough_in_most_runs() -> None:
    """With as many answers as were said to be needed, four of five equal versions pass."""
    rng = np.random.default_rng(3)
    for share, margin in ((0.01, 0.02), (0.5, 0.3)):
        rows = math.ceil(rows_needed(share, 4, above=margin, alpha=0.05))
        own, other = rng.binomial(rows, share, 500), rng.binomial(4 * rows, share, 500)
        assert np.mean(against_shares(own, rows, other, 4 * rows, above=margin, worse=False) >= math.log(20)) > 0.77


def test_paired_evidence_is_a_likelihood_ratio() -> None:
    """Over all outcomes of eight requests, the expected evidence is at most one anywhere in the hypothesis, on its edge above all."""
    outcomes = [(up, down) for up in range(9) for down in range(9 - up)]
    ups, downs = (np.array(side, float) for side in zip(*outcomes, strict=True))
    found = np.exp(against_paired(ups, downs, 8, above=0.3))
    for up, down in ((0.3, 0.0), (0.4, 0.1), (0.65, 0.35), (0.9, 0.0), (0.5, 0.05)):
        same = 1 - up - down
        chance = [
            math.factorial(8) / math.factorial(a) / math.factorial(b) / math.factorial(8 - a - b)
            * up**a * down**b * max(same, 0.0) ** (8 - a - b)
            for a, b in outcomes
        ]  # fmt: skip
        assert np.sum(chance) == pytest.approx(1)
        assert np.sum(found * chance) <= 1 + 1e-9


@pytest.mark.parametrize("alike", [0.0, 0.8, 0.99])
def test_looking_after_every_pair_keeps_the_promise(alike: float) -> None:
    """Of 500 equal shadows, looked at after each of 300 requests, at most 1 % look different at the level of 1 %, with room for chance; a
    shift at the edge of the margin passes in at most 5 %."""
    rng = np.random.default_rng(11)
    bounds = np.array([-1.28, -0.84, -0.52, -0.25, 0, 0.25, 0.52, 0.84, 1.28])
    both = math.sqrt(alike) * rng.normal(size=(500, 300))
    stable, own = (both + math.sqrt(1 - alike) * rng.normal(size=(500, 300)) for _ in range(2))

    def counted(moved: float) -> tuple[np.ndarray, np.ndarray]:
        there, here = stable[..., None] <= bounds, (own + moved)[..., None] <= bounds
        return (here & ~there).cumsum(axis=1), (there & ~here).cumsum(axis=1)

    ups, downs = counted(0.0)
    found = mean_of(against_share(ups, ups + downs, 0.5))
    assert np.mean((found >= math.log(100)).any(axis=1)) <= 0.02
    # Moved so far that at the middle bound 0.3 more lie above it: the hypothesis that must not be given up.
    _, downs_there = counted(0.8416)
    ups_there = counted(0.8416)[0]
    passes = against_paired(downs_there[:, ::10, 4], ups_there[:, ::10, 4], np.arange(1, 301, 10), above=0.3)
    assert np.mean((passes >= math.log(20)).any(axis=1)) <= 0.06


def test_answers_to_the_same_requests_need_fewer_of_them() -> None:
    """Where two versions differ on a tenth of the requests, fewer pairs than requests of their own show that they are near; with
    as many as were said to be needed most runs do."""
    apart, together = rows_needed(0.5, 1, above=0.3, alpha=0.05), pairs_needed(0.1, above=0.3, alpha=0.05)
    assert together < 0.4 * apart
    rng, rows = np.random.default_rng(4), math.ceil(together)
    ups, downs, _ = rng.multinomial(rows, [0.05, 0.05, 0.9], size=500).T
    assert np.mean(against_paired(ups, downs, rows, above=0.3) >= math.log(20)) > 0.77


def test_area_is_the_share_of_pairs_in_order() -> None:
    """Equal to counting pairs (ties half), and its variance about what repetition shows."""
    rng = np.random.default_rng(5)
    score, value = rng.integers(0, 9, 60).astype(float), (rng.random(60) < 0.4).astype(float)
    pairs = [(a > b) + (a == b) / 2 for a in score[value == 1] for b in score[value == 0]]
    assert area(score, value)[0] == pytest.approx(np.mean(pairs))
    drawn = [area(rng.normal(size=100) + 1.2 * (v := (np.arange(100) < 30)), v.astype(float)) for _ in range(400)]
    spread, told = np.var([auc for auc, _ in drawn]), np.mean([variance for _, variance in drawn])
    assert spread < told < 1.4 * spread
    assert spread < float(area_variance(0.8, 30, 70)) < 1.4 * spread


def test_areas_on_the_same_rows_differ_by_less_chance() -> None:
    """The difference is that of two areas, its variance about what repetition shows, and far below that of rows of their own."""
    rng = np.random.default_rng(6)
    value = (np.arange(200) < 60).astype(float)
    drawn = []
    for _ in range(300):
        both = 1.2 * value + 0.9 * rng.normal(size=200)
        drawn.append((both + 0.45 * rng.normal(size=200), both + 0.45 * rng.normal(size=200)))
    found = np.array([area_difference(one, other, value)[:2] for one, other in drawn])
    one, other = drawn[0]
    assert found[0, 0] == pytest.approx(area(other, value)[0] - area(one, value)[0])
    spread, told = np.var(found[:, 0]), np.mean(found[:, 1])
    assert 0.8 * spread < told < 1.25 * spread
    assert told < 0.5 * 2 * float(area_variance(0.8, 60, 140))
    least = 0.05 * 2 * float(area_variance(area(one, value)[0], 60, 140))
    same, floor, *_ = area_difference(one, one, value)
    assert same == 0
    assert floor == pytest.approx(least)
    errors = rng.random(500)
    loss, variance, *_ = mean_difference(errors + 0.1, errors)
    assert loss == pytest.approx(0.1)
    assert variance < 0.2 * np.var(errors) / 500


def test_nothing_known_is_no_pass() -> None:
    """Without records, answers and labels every question is open, and so is the verdict."""
    silent = judge_canary(TRIAL, Evidence(((Arm(), Arm()),)), RULES, DAY)
    assert {one.finding for one in silent.questions} == {Finding.NOT_ENOUGH_EVIDENCE}
    assert silent.verdict is CanaryVerdict.NOT_ENOUGH_EVIDENCE
    assert (
        judge_canary(replace(TRIAL, stages=()), Evidence(()), RULES, DAY).verdict is CanaryVerdict.NOT_ENOUGH_EVIDENCE
    )
    # Only the stable version answers.
    busy = Arm(answers=10_000, timed=10_000, scored=10_000, below=1000.0 * np.arange(1, 10, dtype=np.float64))
    assert judge_canary(TRIAL, Evidence(((busy, Arm()),)), RULES, DAY).verdict is CanaryVerdict.NOT_ENOUGH_EVIDENCE


def arm(rows: int, *, errors: int = 0, slow: int = 0, skew: float = 1.0) -> Arm:
    """A version whose answers are uniform, or not."""
    return Arm(rows, errors, slow, rows, rows, np.rint(rows * (np.arange(1, 10, dtype=np.float64) / 10) ** skew))


def test_each_question_has_its_own_finding() -> None:
    """More errors, slower, other answers: each is named, and each is reason enough."""
    stable = arm(9_000, errors=9, slow=90)
    assert judged(stable, arm(1_500, errors=1, slow=15))[Question.ERRORS] is Finding.PASSES
    assert judged(stable, arm(1_000, errors=60))[Question.ERRORS] is Finding.WORSE
    assert judged(stable, arm(1_000, slow=200))[Question.LATENCY] is Finding.WORSE
    assert judged(stable, arm(1_000, skew=4))[Question.SCORES] is Finding.WORSE
    assert judged(stable, arm(1_000))[Question.SCORES] is Finding.PASSES
    # Surely more errors, but not by as much as counts: a person should look.
    assert judged(arm(900_000, errors=90), arm(100_000, errors=900))[Question.ERRORS] is Finding.UNDECIDED


def test_verdict_says_why_and_what_is_missing() -> None:
    """Worse wins over everything; open questions are told with how many more requests they need."""
    trial = replace(TRIAL, needs=frozenset(Question) - {Question.QUALITY}, stages=(Stage(0, None, 0.1),))
    stable = arm(900, errors=0, slow=9)
    few = judge_canary(trial, Evidence(((stable, arm(100)),)), RULES, DAY)
    assert few.verdict is CanaryVerdict.NOT_ENOUGH_EVIDENCE
    assert few.more_answers
    assert few.more_requests
    assert few.more_requests == math.ceil(few.more_answers / 0.1)
    assert f"{few.more_answers:,} more answers of version 2" in few.summary
    assert "requests at 10.0%" in few.summary
    enough = judge_canary(trial, Evidence(((arm(90_000, slow=900), arm(10_000, slow=100)),)), RULES, DAY)
    assert enough.verdict is CanaryVerdict.PROMOTE
    worse = judge_canary(trial, Evidence(((stable, arm(100, errors=40)),)), RULES, DAY)
    assert worse.verdict is CanaryVerdict.ROLL_BACK
    assert "40.00% of requests failed, 0.00% with the stable version" in worse.summary


def test_shadow_is_judged_by_what_it_would_have_said() -> None:
    """Nobody waits for a shadow, so nothing is asked of its errors and latency, and it is not promoted for silence on them."""
    shadow = replace(TRIAL, role=Role.SHADOW, needs=frozenset({Question.SCORES}), stages=(Stage(0, None, 1.0),))
    same = Evidence(((arm(5_000), arm(5_000)),))
    judgement = judge_canary(shadow, same, RULES, DAY)
    assert [one.question for one in judgement.questions] == [Question.SCORES, Question.QUALITY]
    assert judgement.verdict is CanaryVerdict.PROMOTE
    asked = replace(shadow, needs=frozenset({Question.SCORES, Question.ERRORS}))
    assert judge_canary(asked, same, RULES, DAY).verdict is CanaryVerdict.HOLD


def test_small_tenant_is_not_rolled_back_wrongly_and_a_worse_canary_is_found() -> None:
    """A seeded small version of the bench, 50 requests a day: of 40 equal canaries at most 2 are rolled back in a month, and of
    25 that are 10 points of AUC worse 80 % are found within the days that the first verdict printed."""
    rng = np.random.default_rng(11)
    wrong = sum(run(World(), 30, rng, every=5)[0].verdict is CanaryVerdict.ROLL_BACK for _ in range(40))
    assert wrong <= 2
    worse = World(loss=0.1)
    days = first_horizon(worse, rng)
    found = sum(run(worse, days, rng, every=15)[0].verdict is CanaryVerdict.ROLL_BACK for _ in range(25))
    assert days < 90
    assert found >= 20


def test_worse_shadow_is_found_with_a_fraction_of_the_labels() -> None:
    """It answers the same requests: of 20 that are 10 points of AUC worse all are found within 12 days of 50 requests, where a canary takes 42; of 20
    equal ones that are looked at every other day none is given up in a month."""
    rng = np.random.default_rng(12)
    shadow = World(shadow=True, share=1.0)
    worse = World(shadow=True, share=1.0, loss=0.1)
    found = [run(worse, 12, rng, every=4)[0] for _ in range(20)]
    assert {one.verdict for one in found} == {CanaryVerdict.ROLL_BACK}
    assert "on the same" in found[0].summary
    assert not any(run(shadow, 30, rng, every=10)[0].verdict is CanaryVerdict.ROLL_BACK for _ in range(20))


def test_regression_is_judged_by_its_mean_error() -> None:
    """Twice the error is found, the same is passed."""
    rng = np.random.default_rng(2)

    def errors(rows: int, width: float) -> Arm:
        value = rng.normal(50, 10, rows)
        return Arm(label_score=value + rng.normal(0, width, rows), label_value=value)

    def finding(width: float) -> Finding:
        evidence = Evidence(((errors(4000, 5), errors(4000, width)),), task="regression")
        return judge_canary(TRIAL, evidence, RULES, DAY).questions[-1].finding

    assert finding(10) is Finding.WORSE
    assert finding(5) is Finding.PASSES
