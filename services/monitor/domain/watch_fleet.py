"""Look at what came in for all tenants' models since the last look, and keep the incidents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.monitor.domain.alerts.routes import compose
from services.monitor.domain.incidents.causes import suspects
from services.monitor.domain.incidents.discovery import round_level
from services.monitor.domain.incidents.from_operations import TICK
from services.monitor.domain.incidents.history import of_round
from services.monitor.domain.incidents.ledger import Ledger
from services.monitor.domain.incidents.ports import RoundResult
from services.monitor.domain.incidents.words import IncidentPolicy, State
from services.monitor.domain.model import Window
from services.monitor.domain.reports.build import main_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.monitor.domain.alerts.routes import OperatorHook
    from services.monitor.domain.incidents.from_operations import ExamineOperations
    from services.monitor.domain.incidents.ports import Examine, Rounds
    from services.monitor.domain.incidents.words import Cell, Happened
    from services.monitor.domain.ports import AllPolicies, Fleet, PredictionLog
    from services.monitor.domain.releases import Releases
    from tenon.core.specs import MonitorSpec
    from tenon.core.tenancy import TenantId

_OPERATIONS = ("", "operations")
"""Among the cursors: no tenant has this name."""
_AWAY = 3 * TICK
_MINUTE = 60_000_000
_DAY = 1440 * _MINUTE


@dataclass(frozen=True, slots=True)
class Cadence:
    """When a model's next window ends: with enough rows soon, with few after a day, with too few after a week.

    Only row counts decide, never what is in the rows, so that a p-value is that of a window chosen without looking.
    """

    align: int = _MINUTE
    settle: int = _MINUTE
    """Predictions arrive a little late: the last minute is left to the next window."""
    rows: int = 1_000
    fewest: int = 100
    longest: int = _DAY
    look_back: int = 7 * _DAY

    def due(self, start: int, end: int, rows: int) -> bool:
        """Whether a window of so many rows is ready to be judged."""
        length = end - start
        return rows >= self.rows or (rows >= self.fewest and length >= self.longest) or length >= self.look_back


class WatchFleet:
    """One round. Several replicas may run it: the database lets one of them keep a round, the others start anew."""

    def __init__(
        self, fleet: Fleet, log: PredictionLog, examine: Examine, rounds: Rounds, policies: AllPolicies, releases: Releases, *,
        now: Callable[[], int], new_id: Callable[[], str], hooks: Callable[[], Sequence[OperatorHook]] = lambda: (),
        sources: Sequence[Callable[[], list[Cell]]] = (), operations: ExamineOperations | None = None,
        policy: IncidentPolicy | None = None,
        cadence: Cadence | None = None, show: Callable[[Ledger, Sequence[Happened]], None] = lambda _ledger, _news: None,
    ) -> None:  # fmt: skip
        self._fleet, self._log, self._examine, self._rounds = fleet, log, examine, rounds
        self._policies, self._releases, self._hooks, self._sources = policies, releases, hooks, sources
        self._operations = operations
        self._now, self._new_id, self._show = now, new_id, show
        self._policy, self._cadence = policy or IncidentPolicy(), cadence or Cadence()

    def __call__(self) -> int:
        """Judge what is due; gives how many events were news. What cannot be judged now is tried again next time."""
        now = self._now()
        before = self._rounds.begin(now - self._policy.reopen_within)
        declared = self._policies.everybody()
        cells, cursors, failures = self._cells(before.cursors, now)
        for source in self._sources:
            cells += source()
        operated, passed = self._operated(before.cursors, cursors, now, failures)
        cells = [cell for cell in cells if not _ignored(cell, declared)]
        operated = [cell for cell in operated if not _ignored(cell, declared)]
        ledger = Ledger(
            before.incidents, self._policy, now=now, new_id=self._new_id,
            important=lambda tenant, model: _important(declared, tenant, model),
        )  # fmt: skip
        if cells:
            elapsed = now - before.at if before.at is not None else self._cadence.longest
            ledger.step(cells, round_level(self._rate(operations=False), elapsed, self._policy.period))
        if operated:
            ledger.step(operated, round_level(self._rate(operations=True), passed, self._policy.period))
        ledger.end_silent(self._last_seen(), now - self._cadence.look_back)
        news = ledger.happened
        for one in news:
            if one.incident.state is State.OPEN:
                one.incident.causes = suspects(one.incident, self._releases)
        messages = compose(ledger.incidents, news, declared, self._hooks(), before.told, before.notes, now)
        if cursors or ledger.changed or messages:
            # Without a test no level was spent: the time goes on to the next round.
            tested = any(cell.p_value is not None for cell in cells)
            at = now if tested or before.at is None else before.at
            changed = list(ledger.changed.values())
            result = RoundResult(at, cursors, changed, messages, now, of_round(news, changed, now))
            if not self._rounds.commit(before, result):
                return 0
        self._show(ledger, news)
        if failures:
            raise ExceptionGroup(f"{len(failures)} models could not be looked at", failures)
        return len(news)

    def _cells(
        self, reached: Mapping[tuple[str, str], int], now: int
    ) -> tuple[list[Cell], dict[tuple[str, str], int], list[Exception]]:  # fmt: skip
        cadence = self._cadence
        end = (now - cadence.settle) // cadence.align * cadence.align
        cells: list[Cell] = []
        cursors: dict[tuple[str, str], int] = {}
        failures: list[Exception] = []
        for tenant, model, _ in self._fleet.active(end - cadence.look_back):
            key = (tenant.value, model)
            start = reached[key] if key in reached else self._first_look(tenant, model, end)
            if end - start < cadence.align:
                continue
            window = Window(max(start, end - cadence.look_back), end)
            if not cadence.due(window.start, end, self._rows(tenant, model, window)):
                if key not in reached:
                    cursors[key] = start
                continue
            try:
                cells += self._examine(tenant, model, window)
            except Exception as err:  # noqa: BLE001 - part of a background loop; the caller logs and counts
                failures.append(err)
                continue
            cursors[key] = end
        return cells, cursors, failures

    def _first_look(self, tenant: TenantId, model: str, end: int) -> int:
        """A day back, but not to before the model's first release, when nobody was answered."""
        cadence = self._cadence
        made = [one.made_at for one in self._releases.history(tenant, model).releases if one.revision == 1]
        return max([end - cadence.longest, *(at // cadence.align * cadence.align for at in made)])

    def _operated(
        self, reached: Mapping[tuple[str, str], int], cursors: dict[tuple[str, str], int], now: int,
        failures: list[Exception],
    ) -> tuple[list[Cell], int]:  # fmt: skip
        """What the predictors told up to the last tick that no replica has looked at, and the time since the one before."""
        if self._operations is None:
            return [], 0
        tick = (now - self._cadence.settle) // TICK * TICK
        passed = tick - reached.get(_OPERATIONS, 0)
        if passed <= 0:
            return [], 0
        cells: list[Cell] = []
        # After a while without any look, what waits in the stream is read first: it would look like silence.
        if passed <= _AWAY:
            try:
                cells = self._operations(tick)
            except Exception as err:  # noqa: BLE001 - part of a background loop; the caller logs and counts
                failures.append(err)
                return [], 0
        cursors[_OPERATIONS] = tick
        return cells, passed

    def _rate(self, *, operations: bool) -> float:
        """Operations are asked far more often, and say it more clearly: they have a level of their own."""
        share = self._policy.operations_share if self._operations is not None else 0.0
        return self._policy.false_discovery_rate * (share if operations else 1 - share)

    def _rows(self, tenant: TenantId, model: str, window: Window) -> int:
        """Answers of the version that answered most."""
        traffic = self._log.traffic(tenant, model, window)
        chosen = main_version(traffic)
        return sum(rows for (version, _), rows in traffic.items() if version == chosen)

    def _last_seen(self) -> Callable[[str, str], int | None]:
        since = self._now() - self._cadence.look_back
        active = {(tenant.value, model) for tenant, model, _ in self._fleet.active(since)}
        if self._operations is not None:
            active |= self._operations.active(since)
        return lambda tenant, model: since if (tenant, model) in active else None


def _ignored(cell: Cell, declared: Mapping[tuple[str, str], MonitorSpec]) -> bool:
    spec = declared.get((cell.tenant, cell.model))
    return spec is not None and cell.feature in spec.alerts.ignore


def _important(declared: Mapping[tuple[str, str], MonitorSpec], tenant: str, model: str) -> bool:
    spec = declared.get((tenant, model))
    return spec is not None and spec.importance == "high"
