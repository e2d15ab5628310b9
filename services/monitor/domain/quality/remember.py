"""Verdicts on quality that were found before. The same rows give the same verdict, so of a year by fortnights only the newest is measured anew."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from services.monitor.domain.quality.measure import judge_quality

if TYPE_CHECKING:
    import numpy.typing as npt

    from services.monitor.domain.model import Quality, QualityFigure
    from services.monitor.domain.quality.measure import QualityPolicy, TaskName
    from tenon.core.manifest import Evaluation

    Floats = npt.NDArray[np.float64]
    Judged = tuple[Quality, tuple[QualityFigure, ...], str]

_REMEMBERED = 2_000


class JudgeQuality:
    """`judge_quality`, which is asked again only where the rows, the test or the policy are others than before."""

    def __init__(self, policy: QualityPolicy) -> None:
        self._policy = policy
        self._known: OrderedDict[bytes, Judged] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, task: TaskName, version: int, score: Floats, value: Floats, expected: Evaluation) -> Judged:
        """The verdict on one version's labelled rows, its figures, and why in a few words."""
        if len(score) < self._policy.min_rows:
            verdict, figures, text = judge_quality(task, version, score, value, expected, self._policy)
            return verdict, tuple(figures), text
        key = _digest(task, version, score, value, expected)
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                return known
        verdict, figures, text = judge_quality(task, version, score, value, expected, self._policy)
        with self._lock:
            self._known[key] = found = verdict, tuple(figures), text
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found


def _digest(task: TaskName, version: int, score: Floats, value: Floats, expected: Evaluation) -> bytes:
    found = hashlib.blake2b(f"{task} {version} {len(score)} {expected.model_dump_json()}".encode(), digest_size=16)
    for array in (score, value):
        found.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return found.digest()
