"""Judge every canary and shadow again and again, keep what was found, and tell the registry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from services.monitor.domain.canary.judge import judge_canary
from services.monitor.domain.canary.same_requests import CountPairs
from services.monitor.domain.canary.words import (
    Arm,
    CanaryJudgement,
    CanaryPolicy,
    CanaryVerdict,
    Evidence,
    Pairs,
    Stage,
    Trial,
)
from services.monitor.domain.log.operations import BUCKET, Operated
from services.monitor.domain.model import SCORE, Role, Window
from tenon.core.errors import NotFound, Unavailable
from tenon.core.timestamps import rfc3339

if TYPE_CHECKING:
    import numpy.typing as npt

    from services.monitor.domain.canary.same_requests import SameRequests
    from services.monitor.domain.log.operations import OperationsLog
    from services.monitor.domain.model import LabelledRows
    from services.monitor.domain.ports import Labels, Policies, Versions, Windows
    from tenon.core.manifest import Manifest, NumericBaseline
    from tenon.core.tenancy import TenantId

    Floats = npt.NDArray[np.float64]

_PATIENCE = 5
"""Judging takes at most one part in so many of the time."""
_LATE = 3_600 * 10**6
"""What happened in a stage that ended this long ago has arrived; its answers are not counted again."""
_REMEMBERED = 10_000


class Trials(Protocol):
    """What the registry has on trial."""

    def running(self) -> list[Trial]:
        """Everything there is to judge. Raises `Unavailable` when that was never known."""
        ...

    def report(self, judgement: CanaryJudgement) -> str:
        """Tell the registry, which acts on it or not; gives why not, empty when it did."""
        ...


class CanaryVerdicts(Protocol):
    """Verdicts on canaries as they were given."""

    def add(self, tenant: TenantId, model: str, judgement: dict[str, Any], judged_at: int) -> None:
        """Keep one."""
        ...

    def history(self, tenant: TenantId, model: str, limit: int) -> list[dict[str, Any]]:
        """Newest first."""
        ...


class CanaryGauges(Protocol):
    """Where verdicts are shown."""

    def show(self, judgements: Iterable[CanaryJudgement]) -> None:
        """All that hold; what is not among them is taken away."""
        ...


class JudgeCanaries:
    """One round over all trials. Verdicts follow from what is stored: every replica, and one that was restarted, finds the
    same; a verdict is kept when it, or what it rests on, has changed."""

    def __init__(
        self, trials: Trials, operations: OperationsLog, windows: Windows, labels: Labels, versions: Versions,
        policies: Policies, verdicts: CanaryVerdicts, gauges: CanaryGauges, same: SameRequests, now: Callable[[], int],
    ) -> None:  # fmt: skip
        self._trials, self._operations, self._windows, self._labels = trials, operations, windows, labels
        self._versions, self._policies, self._verdicts, self._gauges = versions, policies, verdicts, gauges
        self._pairs, self._now = CountPairs(same), now
        self._current: dict[tuple[TenantId, str], CanaryJudgement] = {}
        self._due: dict[tuple[TenantId, str], int] = {}
        self._kept: dict[tuple[TenantId, str], tuple[object, ...]] = {}
        self._counted: dict[tuple[object, ...], tuple[int, Floats]] = {}

    def __call__(self) -> int:
        """Judge what is due; gives how many verdicts were kept. One that fails does not keep the others from being judged."""
        trials = self._trials.running()
        kept, failures = 0, []
        for trial in trials:
            if self._now() < self._due.get(trial.key, 0):
                continue
            try:
                kept += self._judge(trial)
            except Exception as err:  # noqa: BLE001 - part of a background loop; the caller logs and counts
                self._current.pop(trial.key, None)
                failures.append(err)
        running = {trial.key: trial for trial in trials}
        self._current = {
            key: judged
            for key, judged in self._current.items()
            if key in running and judged.trial.revision == running[key].revision
        }
        self._gauges.show(self._current.values())
        if failures:
            raise ExceptionGroup(f"{len(failures)} canaries could not be judged", failures)
        return kept

    def current(self, tenant: TenantId, model: str) -> dict[str, Any] | None:
        """The verdict that holds, None when nothing is on trial: judged now, so that any replica can tell."""
        trial = next((one for one in self._trials.running() if one.key == (tenant, model)), None)
        if trial is None:
            return None
        known = self._current.get(trial.key)
        if known is None or known.trial != trial:
            known = self._judgement(trial)
        return judgement_document(known)

    def _judge(self, trial: Trial) -> bool:
        started = self._now()
        judgement = self._judgement(trial)
        self._current[trial.key] = judgement
        rests_on = (
            trial.revision, trial.stable, trial.candidate, judgement.verdict,
            tuple((one.finding, _magnitude(one.rows)) for one in judgement.questions),
        )  # fmt: skip
        fresh = self._kept.get(trial.key) != rests_on
        if fresh:
            self._verdicts.add(trial.tenant, trial.model, judgement_document(judgement), judgement.judged_at)
            self._kept[trial.key] = rests_on
        if trial.automatic and judgement.verdict in (CanaryVerdict.PROMOTE, CanaryVerdict.ROLL_BACK):
            self._trials.report(judgement)
        ended = self._now()
        self._due[trial.key] = ended + _PATIENCE * (ended - started)
        return fresh

    def _judgement(self, trial: Trial) -> CanaryJudgement:
        rules = self._policies.of(trial.tenant, trial.model).canary
        policy = CanaryPolicy.of(rules)
        now = self._now()
        return judge_canary(trial, self._evidence(trial, policy, now), policy, now)

    def _evidence(self, trial: Trial, policy: CanaryPolicy, now: int) -> Evidence:
        manifest = self._manifest(trial, trial.stable)
        bounds = np.zeros(0) if manifest is None else deciles(manifest.baseline.score)
        stages = tuple(
            self._arms(trial, stage, policy, bounds, now, is_first=place == 0)
            for place, stage in enumerate(trial.stages)
        )
        paired = trial.role is Role.SHADOW
        pairs: tuple[Pairs, ...] = ()
        if paired:
            stages = tuple(_same_requests(*pair) for pair in stages)
            if len(bounds):
                pairs = tuple(self._pairs(trial, stage, bounds, now) for stage in trial.stages)
        if manifest is None:
            return Evidence(stages, paired=paired)
        test = manifest.evidence.model
        ups = test.positives / test.rows if test.positives and test.rows else 0.2
        return Evidence(stages, manifest.task, test.metrics.get("roc_auc", 0.8), ups, paired, pairs)

    def _manifest(self, trial: Trial, version: int) -> Manifest | None:
        try:
            return self._versions.manifest(trial.tenant, trial.model, version)
        except (NotFound, Unavailable):
            # Without the versions' baselines nothing is said of the answers: that question stays open.
            return None

    def _arms(
        self, trial: Trial, stage: Stage, policy: CanaryPolicy, bounds: Floats, now: int, *, is_first: bool
    ) -> tuple[Arm, Arm]:  # fmt: skip
        window = Window(stage.start, stage.end if stage.end is not None else now + 1)
        # A bucket belongs to the stage it begins in, but the candidate's first one to the first stage.
        start = window.start // BUCKET * BUCKET if is_first else window.start
        operated = self._operations.totals(trial.tenant, trial.model, start, window.end)
        labelled = self._labels.labelled(trial.tenant, trial.model, window, None)
        return (
            self._arm(trial, trial.stable, None, window, operated, labelled, policy, bounds),
            self._arm(trial, trial.candidate, trial.role, window, operated, labelled, policy, bounds),
        )

    def _arm(
        self, trial: Trial, version: int, role: Role | None, window: Window, operated: dict[tuple[int, Role], Operated],
        labelled: dict[tuple[int, Role], LabelledRows], policy: CanaryPolicy, bounds: Floats,
    ) -> Arm:  # fmt: skip
        def mine(key: tuple[int, Role]) -> bool:
            """A version may answer in several roles; only what it answered counts, unless it is the shadow that is judged."""
            return key[0] == version and ((key[1] == Role.SHADOW) == (role == Role.SHADOW))

        did = sum((one for key, one in operated.items() if mine(key)), Operated())
        rows = [one for key, one in labelled.items() if mine(key)]
        scored, below = self._scores(trial, version, role, window, bounds)
        score, value, label = (
            np.concatenate([np.zeros(0), *(getattr(one, name) for one in rows)]) for name in ("score", "value", "label")
        )
        usable = np.isfinite(score) & np.isfinite(value)
        return Arm(
            answers=did.answers + did.errors, errors=did.errors, slow=did.slower_than(policy.latency_ms / 1000),
            timed=did.answers, scored=scored, below=below, label_score=score[usable], label_value=value[usable],
            label_of=label[usable],
        )  # fmt: skip

    def _scores(
        self, trial: Trial, version: int, role: Role | None, window: Window, bounds: Floats
    ) -> tuple[int, Floats]:
        """How many answers there are, and how many of them are not above each bound; from windows, so at no cost by rows."""
        manifest = self._manifest(trial, version) if len(bounds) else None
        if manifest is None:
            return 0, np.zeros(0)
        key = (trial.key, window, version, role == Role.SHADOW)
        if key in self._counted:
            return self._counted[key]
        edges = np.asarray(manifest.baseline.score.edges)
        count, below = 0, np.zeros(len(bounds))
        for one in self._windows.counted(trial.tenant, trial.model, window, version=version):
            if one.sketch is not None and (one.role == Role.SHADOW) == (role == Role.SHADOW):
                counts = one.sketch.tallied()[SCORE].window
                count += int(counts.sum())
                below += not_above(bounds, edges, counts)
        if window.end < self._now() - _LATE:
            if len(self._counted) >= _REMEMBERED:
                self._counted.clear()
            self._counted[key] = count, below
        return count, below


def _same_requests(stable: Arm, shadow: Arm) -> tuple[Arm, Arm]:
    """A shadow answers what the stable version answered: of both, the labelled rows that both have, in the same order."""
    _, here, there = np.intersect1d(stable.label_of, shadow.label_of, return_indices=True)
    pairs = ((stable, here), (shadow, there))
    one, other = (
        dataclasses.replace(
            arm, label_score=arm.label_score[rows], label_value=arm.label_value[rows], label_of=arm.label_of[rows]
        )
        for arm, rows in pairs
    )
    return one, other


def not_above(bounds: Floats, edges: Floats, counts: npt.NDArray[np.int64]) -> Floats:
    """How many values are not above each bound, of values counted between other edges: exact at an edge, and straight in
    between, which is off by less than one bin's share. Beyond the outermost edges, where nothing says, as at them."""
    at_edges = np.cumsum(counts)[:-1].astype(np.float64)
    return np.interp(bounds, edges, at_edges) if len(edges) else np.zeros(len(bounds))


def deciles(baseline: NumericBaseline) -> Floats:
    """Nine bounds of a training baseline's score that part it into about ten equal groups; fewer where it has ties."""
    counts = np.cumsum(baseline.counts[:-1])
    if not len(counts) or not counts[-1]:
        return np.zeros(0)
    places = np.searchsorted(counts, sum(baseline.counts) * np.arange(1, 10) / 10)
    return np.unique(np.asarray(baseline.edges)[np.minimum(places, len(baseline.edges) - 1)])


def _magnitude(rows: int) -> int:
    """Rows to about a tenth: a verdict is kept again when its evidence has grown by as much."""
    return int(np.log(rows + 1) * 10)


def judgement_document(judgement: CanaryJudgement) -> dict[str, Any]:
    """A verdict as it is kept and shown."""
    trial = judgement.trial
    return {
        "tenant": trial.tenant.value,
        "model": trial.model,
        "revision": trial.revision,
        "stable": trial.stable,
        "candidate": trial.candidate,
        "role": trial.role.value,
        "automatic": trial.automatic,
        "on_probation": bool(trial.probation_until),
        "began_at": rfc3339(trial.stages[0].start) if trial.stages else None,
        "weight": round(100 * trial.stages[-1].share, 1) if trial.stages else None,
        "judged_at": rfc3339(judgement.judged_at),
        "verdict": judgement.verdict.value,
        "summary": judgement.summary,
        "answers": judgement.answers,
        "stage_answers": judgement.stage_answers,
        "more_answers": judgement.more_answers,
        "more_requests": judgement.more_requests,
        "more_seconds": judgement.more_seconds,
        "questions": [
            {
                "question": one.question.value,
                "needed": one.question in trial.needs,
                "finding": one.finding.value,
                "text": one.text,
                "rows": one.rows,
                "stable_rows": one.stable_rows,
                "value": one.value,
                "stable_value": one.stable_value,
                "more_rows": one.needed,
                "would_have_found": one.finds,
            }
            for one in judgement.questions
        ],
    }
