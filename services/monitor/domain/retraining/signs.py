"""Reasons to train anew from quality in depth: worse by estimate before labels come, and errors that changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.monitor.domain.model import Quality, Window
from services.monitor.domain.quality.measure import plain
from services.monitor.domain.quality.words import Concept
from services.monitor.domain.retraining.judge import QUALITY_HELD, Sign
from tenon.core.errors import NotFound
from tenon.core.specs.monitor import RetrainReason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.monitor.domain.quality.words import QualityReport
    from tenon.core.tenancy import TenantId

_LOOKS = 168
"""Looks at a model in a window: every hour of a week. Quality in depth is too dear to be looked at all the time."""


@dataclass(slots=True)
class _Seen:
    """What the last look at a version found, and since when each reason has been found in every look."""

    due: int
    signs: dict[RetrainReason, str]
    since: dict[RetrainReason, int] = field(default_factory=dict)


class SignsInDepth:
    """Called for a version that may ask for a training. As for matured quality, a reason counts when it has held for a
    seventh of the window; after a restart that time begins anew."""

    def __init__(
        self, build_quality: Callable[..., QualityReport], *, window: int, now: Callable[[], int]
    ) -> None:  # fmt: skip
        self._build_quality, self._window, self._now = build_quality, window, now
        self._seen: dict[tuple[TenantId, str, int], _Seen] = {}

    def __call__(self, tenant: TenantId, model: str, version: int) -> Sequence[Sign]:
        """The reasons that have held."""
        now, key = self._now(), (tenant, model, version)
        seen = self._seen.get(key)
        if seen is None or now >= seen.due:
            found = self._look(tenant, model, version, now)
            before = {} if seen is None else seen.since
            since = {reason: before.get(reason, now) for reason in found}
            seen = self._seen[key] = _Seen(now + self._window // _LOOKS, found, since)
        held = now - self._window // QUALITY_HELD
        return [Sign(reason, text) for reason, text in seen.signs.items() if seen.since[reason] <= held]

    def _look(self, tenant: TenantId, model: str, version: int, now: int) -> dict[RetrainReason, str]:
        try:
            report = self._build_quality(tenant, model, Window(now - self._window, now + 1), version=version)
        except NotFound:
            return {}  # Erased since the list was made.
        found: dict[RetrainReason, str] = {}
        for one in report.estimates:
            if one.version == version and one.verdict is Quality.WORSE and one.expected is not None:
                text = f"{one.metric} is estimated at {plain(one.value)}, {plain(one.expected)} in the version's test"
                found.setdefault(RetrainReason.ESTIMATED_QUALITY, text)
        for drift in report.concept:
            if drift.version == version and drift.verdict is Concept.WORSE:
                found[RetrainReason.CONCEPT] = drift.summary
        return found
