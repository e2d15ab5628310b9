"""Every model of a tenant or of the fleet in one line: what serves, how it fares, what to do. The worst comes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.monitor.domain.canary.words import CanaryVerdict
from services.monitor.domain.model import Drift, Quality
from tenon.core.errors import Unavailable
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.monitor.domain.model import SeenModel, VerdictRecord
    from services.monitor.domain.ports import Fleet, PredictionLog, Verdicts
    from services.monitor.domain.releases import Known, Release, Releases

WORSE, DRIFTS, SILENT, UNKNOWN, FINE = range(5)
"""How urgent a line is."""


@dataclass(frozen=True, slots=True)
class Line:
    """One model. What is not known is None: nothing released, nothing asked, nothing judged."""

    tenant: str
    model: str
    rank: int
    release: Release | None
    seen: SeenModel | None
    verdict: VerdictRecord | None
    advice: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """The lines, worst first, and how surely the releases are known."""

    lines: tuple[Line, ...]
    tenants: tuple[str, ...]
    known: Known

    @property
    def urgent(self) -> tuple[Line, ...]:
        """Those that somebody should look at now."""
        return tuple(line for line in self.lines if line.rank <= DRIFTS)


class LookOver:
    """The use case behind the pages' tables and `tenon monitor status`."""

    def __init__(
        self, fleet: Fleet, log: PredictionLog, verdicts: Verdicts, releases: Releases, *,
        window: int, now: Callable[[], int], trial: Callable[[TenantId, str], dict[str, Any] | None] = lambda _t, _m: None,
    ) -> None:  # fmt: skip
        self._fleet, self._log, self._verdicts, self._releases = fleet, log, verdicts, releases
        self._window, self._now, self._trial = window, now, trial

    def tenant(self, tenant: TenantId) -> Overview:
        """All models of one tenant that are released or were ever asked."""
        known = self._releases.current(tenant)
        return Overview(_sorted(self._lines(tenant, known)), (tenant.value,), known)

    def fleet(self) -> Overview:
        """All models of all tenants."""
        known = self._releases.current(None)
        names = {*known.tenants, *(tenant.value for tenant, _, _ in self._fleet.active(0))}
        lines = [line for name in sorted(names) for line in self._lines(TenantId(name), known)]
        return Overview(_sorted(lines), tuple(sorted(names)), known)

    def _lines(self, tenant: TenantId, known: Known) -> list[Line]:
        seen = {one.model: one for one in self._log.seen(tenant)}
        latest = self._verdicts.latest(tenant) if seen else {}
        released = {one.model: one for one in known.releases if one.tenant == tenant.value}
        return [
            self._line(tenant, model, released.get(model), seen.get(model), latest.get(model), known)
            for model in sorted(seen.keys() | released.keys())
        ]

    def _line(
        self, tenant: TenantId, model: str, release: Release | None, seen: SeenModel | None,
        verdict: VerdictRecord | None, known: Known,
    ) -> Line:  # fmt: skip
        quiet_since = self._now() - self._window
        last_at = seen.last_at if seen is not None else None
        whose = f"{model} --tenant {tenant}"

        def line(rank: int, advice: str, command: str = "") -> Line:
            return Line(tenant.value, model, rank, release, seen, verdict, advice, command)

        if release is None and known.asked_at is not None:
            return line(
                SILENT, "Nothing is released: release a version.", f"tenon release set {whose} --stable VERSION"
            )
        if last_at is None:
            return line(SILENT, "Nobody has asked it yet: ask for a prediction.", f"tenon predict {whose}")
        if last_at < quiet_since:
            return line(SILENT, "Nobody asks it any more: see whether its callers still run.")
        if verdict is None:
            return line(UNKNOWN, "The first verdict comes within a minute.")
        canary = release is not None and any(track.role == "canary" for track in release.tracks)
        trial = self._on_trial(tenant, model) if canary else None
        if trial is not None and trial["verdict"] == CanaryVerdict.ROLL_BACK:
            return line(WORSE, "Take the canary back: it is worse.", f"tenon release rollback {whose}")
        if verdict.quality is Quality.WORSE:
            fresh = release is not None and release.revision > 1 and release.made_at >= quiet_since
            if canary or fresh:
                what = (
                    "Take the canary back if it is the worse one" if canary else "Roll back if the last release did it"
                )
                return line(WORSE, f"{what}; else train anew.", f"tenon release rollback {whose}")
            if verdict.drift is not Drift.DRIFT:
                return line(WORSE, "Train anew: what the inputs mean has changed.", f"tenon train {whose}")
        if verdict.drift is Drift.DRIFT:
            columns = ", ".join(verdict.drifted_columns[:2]) + (" …" if len(verdict.drifted_columns) > 2 else "")
            return line(
                WORSE if verdict.quality is Quality.WORSE else DRIFTS,
                f"See whether {columns} changed at its source; if it is real, train anew.",
                f"tenon train {whose}",
            )
        if verdict.drift is Drift.NOT_ENOUGH_EVIDENCE:
            return line(UNKNOWN, "Wait: too few predictions to judge.")
        if verdict.quality is Quality.NOT_ENOUGH_EVIDENCE:
            return line(
                UNKNOWN,
                "Send labels: quality cannot be judged without.",
                f"tenon labels {whose.replace(model, f'{model} FILE', 1)}",
            )
        if trial is not None and trial["verdict"] == CanaryVerdict.PROMOTE:
            return line(FINE, "Promote the canary: it is no worse.", f"tenon release promote {whose}")
        if trial is not None and trial["more_requests"]:
            return line(FINE, f"Wait: the canary's verdict takes about {trial['more_requests']:,} more requests.")
        if canary:
            return line(FINE, "Wait until the canary's verdict allows promoting it.")
        return line(FINE, "Nothing to do.")

    def _on_trial(self, tenant: TenantId, model: str) -> dict[str, Any] | None:
        try:
            return self._trial(tenant, model)
        except Unavailable:
            return None


def _sorted(lines: list[Line]) -> tuple[Line, ...]:
    def urgency(line: Line) -> tuple[int, int, str, str]:
        drifted = len(line.verdict.drifted_columns) if line.verdict is not None else 0
        return (line.rank, -drifted, line.tenant, line.model)

    return tuple(sorted(lines, key=urgency))
