"""From what is known of a candidate to a verdict, in one pure function. The tests are in `sequential`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.canary.sequential import (
    against_difference,
    against_paired,
    against_share,
    against_shares,
    area,
    area_difference,
    area_variance,
    information_needed,
    least,
    mean_difference,
    mean_of,
    over_stages,
    pairs_needed,
    rows_needed,
)
from services.monitor.domain.canary.words import (
    CanaryJudgement,
    CanaryPolicy,
    CanaryVerdict,
    Evidence,
    Finding,
    Judgement,
    Question,
    Trial,
)
from services.monitor.domain.model import Role
from services.monitor.domain.quality.measure import plain

if TYPE_CHECKING:
    import numpy.typing as npt

    from services.monitor.domain.canary.words import Arm

    Floats = npt.NDArray[np.float64]

_PATIENCE = 1.5
"""So many times the answers that should have been enough: then it is at the margin, and no more will tell soon."""
_ALLOWANCE = 1.1
"""What is told to be needed for quality: estimates of the variance are off by some."""


def judge_canary(trial: Trial, evidence: Evidence, policy: CanaryPolicy, now: int) -> CanaryJudgement:
    """The verdict. Worse on any question: roll back. Promote only when every question that is needed was passed."""
    asked: list[Judgement] = []
    if trial.role != Role.SHADOW:
        asked += [
            _share(Question.ERRORS, evidence, policy, "errors", "answers", policy.error_margin, "of requests failed"),
            _share(
                Question.LATENCY, evidence, policy, "slow", "timed", policy.slow_margin,
                f"of answers took longer than {policy.latency_ms:g} ms",
            ),
        ]  # fmt: skip
    scores = _scores_of_pairs if evidence.paired else _scores
    asked += [scores(evidence, policy), _quality(evidence, policy)]
    verdict, why = _together(trial, asked)
    needed = [_answers_for(one, evidence) for one in asked if one.question in trial.needs and _open(one)]
    more = max(one for one in needed if one is not None) if needed and None not in needed else None
    answers = max(evidence.total(what)[1] for what in ("answers", "scored"))
    requests, seconds = _reach(trial, answers, more, now)
    if more and verdict is CanaryVerdict.NOT_ENOUGH_EVIDENCE:
        why += _horizon(trial, more, requests, seconds)
    last = evidence.stages[-1][1] if evidence.stages else None
    stage = 0 if last is None else max(last.answers, last.scored)
    return CanaryJudgement(trial, verdict, now, tuple(asked), answers, stage, more, requests, seconds, why)


def _answers_for(one: Judgement, evidence: Evidence) -> int | None:
    """How many more answers bring what a question needs: not every answer gets a label."""
    answers = max(evidence.total(what)[1] for what in ("answers", "scored"))
    if one.needed is None or one.question is not Question.QUALITY or not one.rows or not answers:
        return one.needed
    return math.ceil(one.needed * max(1.0, answers / one.rows))


def _open(one: Judgement) -> bool:
    return one.finding is Finding.NOT_ENOUGH_EVIDENCE


def _together(trial: Trial, asked: list[Judgement]) -> tuple[CanaryVerdict, str]:
    who = f"version {trial.candidate} ({trial.role.value})"
    worse = [one for one in asked if one.finding is Finding.WORSE]
    if worse:
        return CanaryVerdict.ROLL_BACK, f"roll back {who}: " + "; ".join(one.text for one in worse)
    needed = [one for one in asked if one.question in trial.needs]
    told = {one.question for one in needed}
    if open_ := [one for one in needed if _open(one)]:
        return CanaryVerdict.NOT_ENOUGH_EVIDENCE, f"not enough evidence on {who}: " + "; ".join(
            one.text for one in open_
        )
    passed = [one.text for one in needed]
    undecided = [one for one in asked if one.finding is Finding.UNDECIDED]
    if undecided:
        return CanaryVerdict.HOLD, f"hold {who}: " + "; ".join(one.text for one in undecided)
    if missing := sorted(trial.needs - told):
        return CanaryVerdict.HOLD, f"hold {who}: a {trial.role.value} says nothing of {', '.join(missing)}"
    if trial.probation_until:
        return CanaryVerdict.PROMOTE, f"version {trial.candidate} was promoted and has passed: " + "; ".join(passed)
    return CanaryVerdict.PROMOTE, f"promote {who}: " + "; ".join(passed)


def _share(
    question: Question, evidence: Evidence, policy: CanaryPolicy, hits: str, rows: str, margin: float, what: str
) -> Judgement:  # fmt: skip
    """Two shares of requests."""
    counts = np.array(
        [[getattr(b, hits), getattr(b, rows), getattr(a, hits), getattr(a, rows)] for a, b in evidence.stages], float
    ).reshape(-1, 4)
    counts = counts[(counts[:, 1] > 0) & (counts[:, 3] > 0)]
    stable_rows, own_rows = evidence.total(rows)
    if not len(counts):
        return Judgement(
            question, Finding.NOT_ENOUGH_EVIDENCE, f"nothing is known of {question.value} yet", own_rows, stable_rows,
            None, None,
        )  # fmt: skip
    own, other = counts[:, 0].sum() / counts[:, 1].sum(), counts[:, 2].sum() / counts[:, 3].sum()
    apart = float(_apart(counts))
    columns = tuple(counts.T)
    surely = _surely(over_stages(against_shares(*columns)), policy.alpha_of(question))
    passes = _surely(over_stages(against_shares(*columns, above=margin, worse=False)), policy.pass_alpha)
    pooled = (counts[:, 0].sum() + counts[:, 2].sum() + 0.5) / (counts[:, 1].sum() + counts[:, 3].sum() + 1)
    enough = rows_needed(pooled, counts[:, 3].sum() / counts[:, 1].sum(), above=margin, alpha=policy.pass_alpha)
    finding = _finding(surely and apart >= margin, surely, passes, own_rows, enough)
    text = f"{own:.2%} {what}, {other:.2%} with the stable version (n = {own_rows:,} and {stable_rows:,})"
    return Judgement(
        question, finding, text, own_rows, stable_rows, own, other, needed=_more(enough, own_rows, finding)
    )  # fmt: skip


def _scores(evidence: Evidence, policy: CanaryPolicy) -> Judgement:
    """The distance of the two distributions of answers at the stable version's deciles."""
    pairs = [(a, b) for a, b in evidence.stages if a.scored and b.scored and len(a.below) == len(b.below) > 0]
    stable_rows, own_rows = evidence.total("scored")
    if not pairs:
        return Judgement(
            Question.SCORES, Finding.NOT_ENOUGH_EVIDENCE, "nothing is known of the answers yet", own_rows, stable_rows,
            None, None,
        )  # fmt: skip
    below, rows = np.array([b.below for _, b in pairs]), np.array([[b.scored] for _, b in pairs], float)
    others, other_rows = np.array([a.below for a, _ in pairs]), np.array([[a.scored] for a, _ in pairs], float)
    counts = np.stack(np.broadcast_arrays(below, rows, others, other_rows), axis=1)
    distance = float(np.abs(_apart(counts)).max())
    columns, swapped = (below, rows, others, other_rows), (others, other_rows, below, rows)
    differs = np.maximum(against_shares(*columns), against_shares(*columns, worse=False))
    surely = _surely(over_stages(mean_of(differs)), policy.alpha_of(Question.SCORES))
    near = [
        over_stages(against_shares(*sides, above=policy.score_shift, worse=False)) for sides in (columns, swapped)
    ]  # fmt: skip
    passes = _surely(float(np.min(near)), policy.pass_alpha)
    enough = rows_needed(0.5, stable_rows / own_rows, above=policy.score_shift, alpha=policy.pass_alpha)
    # Another version answers otherwise; that it surely does is no reason to hold it, that it does by much is one to go back.
    finding = _finding(surely and distance >= policy.score_shift, False, passes, own_rows, enough)
    text = f"answers are {distance:.2f} apart from the stable version's (n = {own_rows:,} and {stable_rows:,})"
    return Judgement(
        Question.SCORES, finding, text, own_rows, stable_rows, distance, 0.0, needed=_more(enough, own_rows, finding)
    )


def _scores_of_pairs(evidence: Evidence, policy: CanaryPolicy) -> Judgement:
    """The same where both answered the same requests: what counts is on how many only one of the two is at or below a decile."""
    known = [one for one in evidence.pairs if one.rows and len(one.ups)]
    rows = sum(one.rows for one in known)
    if not known:
        return Judgement(
            Question.SCORES, Finding.NOT_ENOUGH_EVIDENCE, "nothing is known of answers to the same requests yet", 0, 0,
            None, None,
        )  # fmt: skip
    ups, downs = (np.array([getattr(one, side) for one in known]) for side in ("ups", "downs"))
    counts = np.array([[one.rows] for one in known], float)
    distance = float(np.abs((ups - downs).sum(axis=0)).max()) / rows
    surely = _surely(over_stages(mean_of(against_share(ups, ups + downs, 0.5))), policy.alpha_of(Question.SCORES))
    near = [
        over_stages(against_paired(*sides, counts, above=policy.score_shift)) for sides in ((ups, downs), (downs, ups))
    ]
    passes = _surely(float(np.min(near)), policy.pass_alpha)
    differ = float((ups + downs).sum(axis=0).max()) / rows
    enough = pairs_needed(differ, above=policy.score_shift, alpha=policy.pass_alpha)
    finding = _finding(surely and distance >= policy.score_shift, False, passes, rows, enough)
    text = f"answers are {distance:.2f} apart from the stable version's on the same {rows:,} requests"
    return Judgement(Question.SCORES, finding, text, rows, rows, distance, 0.0, needed=_more(enough, rows, finding))


def _quality(evidence: Evidence, policy: CanaryPolicy) -> Judgement:
    """Areas under the ROC curve, or mean errors, on the labels there are."""
    binary = evidence.task == "binary"
    groups = _label_groups(evidence, policy.min_class, binary=binary)
    stable_rows = sum(len(a.label_value) for a, _ in evidence.stages)
    own_rows = sum(len(b.label_value) for _, b in evidence.stages)
    compare = _compare_same if evidence.paired else _compare
    compared = [compare(stable, own, binary=binary) for stable, own in groups]
    information = sum(1 / variance for _, variance, _, _ in compared)
    alpha = policy.alpha_of(Question.QUALITY)
    metric = "roc_auc" if binary else "mae"
    if not information:
        margin = policy.quality_margin
        enough = _labels_needed(evidence, _ratio(evidence), 2 * margin, alpha) if binary else math.inf
        each = f"{policy.min_class} of each class" if binary else f"{policy.min_class}"
        text = f"{own_rows:,} labels; both versions need {each}"
        if math.isfinite(enough):
            text += f"; a loss of {2 * margin:g} shows with about {enough:,.0f} labels"
        needed = math.ceil(enough - own_rows) if math.isfinite(enough) and enough > own_rows else None
        return Judgement(Question.QUALITY, Finding.NOT_ENOUGH_EVIDENCE, text, own_rows, stable_rows, None, None, needed)
    loss = sum(found / variance for found, variance, _, _ in compared) / information
    own, other = (sum(one[place] / one[1] for one in compared) / information for place in (2, 3))
    margin = policy.quality_margin * (1 if binary else max(other, 1e-12))
    surely = _surely(against_difference(loss, 1 / information, scale=2 * margin), alpha)
    passes = _surely(against_difference(margin - loss, 1 / information, scale=margin), policy.pass_alpha)
    enough = own_rows * information_needed(margin, policy.pass_alpha) / information
    finding = _finding(surely and loss >= margin, surely, passes, own_rows, enough)
    text = (
        f"{metric} {plain(own)}, {plain(other)} with the stable version (n = {own_rows:,} and {stable_rows:,} labels)"
    )
    if evidence.paired:
        text = f"{metric} {plain(own)}, {plain(other)} with the stable version on the same {own_rows:,} requests"
    return Judgement(
        Question.QUALITY, finding, text, own_rows, stable_rows, own, other,
        needed=_more(enough, own_rows, finding), finds=_finds(information, alpha),
    )  # fmt: skip


def _ratio(evidence: Evidence) -> float:
    """How many answers of the stable version there are for each of the candidate's."""
    stable, own = evidence.total("scored")
    if not own:
        stable, own = evidence.total("answers")
    return stable / own if own and stable else 1.0


def _label_groups(evidence: Evidence, least_class: int, *, binary: bool) -> list[tuple[Arm, Arm]]:
    """Stages that have labels enough stand for themselves; the rest are taken together, if that is enough."""

    def enough(arm: Arm) -> bool:
        rows, ups = len(arm.label_value), int((arm.label_value > 0.5).sum())
        return min(ups, rows - ups) >= least_class if binary else rows >= least_class

    alone = [pair for pair in evidence.stages if all(map(enough, pair))]
    rest = [pair for pair in evidence.stages if not all(map(enough, pair))]
    if rest:
        joined = tuple(_joined([pair[side] for pair in rest]) for side in (0, 1))
        if all(map(enough, joined)):
            alone.append((joined[0], joined[1]))
    return alone


def _joined(arms: list[Arm]) -> Arm:
    first = arms[0]
    return type(first)(
        label_score=np.concatenate([arm.label_score for arm in arms]),
        label_value=np.concatenate([arm.label_value for arm in arms]),
    )


def _compare(stable: Arm, own: Arm, *, binary: bool) -> tuple[float, float, float, float]:
    """How much the candidate loses, the variance of that, and both figures."""
    if binary:
        there, there_off = area(stable.label_score, stable.label_value)
        here, here_off = area(own.label_score, own.label_value)
        return there - here, there_off + here_off, here, there
    errors = [np.abs(arm.label_score - arm.label_value) for arm in (stable, own)]
    there, here = (float(one.mean()) for one in errors)
    off = sum(float(one.var(ddof=1)) / len(one) for one in errors)
    return here - there, max(off, 1e-300), here, there


def _compare_same(stable: Arm, own: Arm, *, binary: bool) -> tuple[float, float, float, float]:
    """The same where both answered the same requests, row by row."""
    if binary:
        return area_difference(own.label_score, stable.label_score, own.label_value)
    return mean_difference(*(np.abs(arm.label_score - arm.label_value) for arm in (own, stable)))


def _labels_needed(evidence: Evidence, ratio: float, loss: float, alpha: float) -> float:
    """Labels of the candidate with which a loss is found in 80 of 100 runs, going by the stable version's test."""
    wanted, ups = information_needed(loss, alpha), min(max(evidence.positives, 0.001), 0.999)
    auc = evidence.expected_auc

    def finds(rows: Floats) -> npt.NDArray[np.bool_]:
        own = area_variance(auc - loss, rows * ups, rows * (1 - ups))
        other = area_variance(auc, ratio * rows * ups, ratio * rows * (1 - ups))
        return 1 / (own + other) >= wanted

    return _ALLOWANCE * least(finds, 10.0, 1e8)


def _finds(information: float, alpha: float) -> float:
    """The smallest loss that this much information finds in 80 of 100 runs."""
    return math.sqrt(information_needed(0.1, alpha) / information) * 0.1


def _apart(counts: Floats) -> Floats:
    """The difference of two shares within the stages, weighted by what each stage knows of it."""
    rows, others = counts[:, 1], counts[:, 3]
    weight = rows * others / (rows + others)
    found: Floats = (weight * (counts[:, 0] / rows - counts[:, 2] / others)).sum(axis=0) / weight.sum(axis=0)
    return found


def _surely(evidence: Floats | float, alpha: float) -> bool:
    return float(evidence) >= math.log(1 / alpha)


def _finding(worse: bool, surely: bool, passes: bool, rows: int, enough: float) -> Finding:
    if worse:
        return Finding.WORSE
    if passes:
        return Finding.UNDECIDED if surely else Finding.PASSES
    return Finding.UNDECIDED if rows >= _PATIENCE * enough else Finding.NOT_ENOUGH_EVIDENCE


def _more(enough: float, rows: int, finding: Finding) -> int | None:
    if finding is not Finding.NOT_ENOUGH_EVIDENCE:
        return 0
    if not math.isfinite(enough):
        return None
    # Past what is usually enough, it is about to be decided, one way or the other.
    return max(math.ceil(enough) - rows, math.ceil(_PATIENCE * enough) - rows if rows >= enough else 1, 1)


def _reach(trial: Trial, answers: int, more: int | None, now: int) -> tuple[int | None, float | None]:
    """So many more requests of the model, and the seconds until then if it goes on as until now."""
    if more is None or not trial.stages:
        return None, None
    share = trial.stages[-1].share
    requests = math.ceil(more / share) if share > 0 else None
    passed = (now - trial.stages[0].start) / 1e6
    return requests, more * passed / answers if answers and passed > 0 else None


def _horizon(trial: Trial, more: int, requests: int | None, seconds: float | None) -> str:
    text = f"; about {more:,} more answers of version {trial.candidate} are needed"
    share = trial.stages[-1].share if trial.stages else 0
    if requests is not None and share < 1:
        text += (
            f" ({requests:,} requests at {share:.3g} of them)"
            if share < 0.001
            else f" ({requests:,} requests at {share:.1%})"
        )
    return text if seconds is None else f"{text}, {_spell(seconds)} at this rate"


def _spell(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} seconds"
