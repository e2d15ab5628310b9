"""What the use cases need from the outside. The tenant comes first, everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import polars as pl

    from services.monitor.domain.erase_words import Erased, Subject
    from services.monitor.domain.kept.buckets import Counting, Part
    from services.monitor.domain.kept.counted import Counted
    from services.monitor.domain.kept.segment import Segment
    from services.monitor.domain.label_words import AnsweredRows, KeyedLabel, SpineTable, WatchedModel
    from services.monitor.domain.model import (
        Label,
        LabelledRows,
        PredictionBatch,
        Report,
        Role,
        Rows,
        SeenModel,
        VerdictRecord,
        Window,
    )
    from services.monitor.domain.review_words import Correction, ReviewItem, ReviewRound, State
    from tenon.core.manifest import Manifest
    from tenon.core.specs import MonitorSpec
    from tenon.core.tenancy import TenantId


class PredictionLog(Protocol):
    """Every answered prediction, exactly once."""

    def store(self, tenant: TenantId, batch: PredictionBatch) -> bool:
        """Keep a batch; False when it is there already, then nothing changes."""
        ...

    def seen(self, tenant: TenantId) -> list[SeenModel]:
        """All models the log has something of, by name."""
        ...

    def seen_model(self, tenant: TenantId, model: str) -> SeenModel | None:
        """One of them."""
        ...

    def span(self, tenant: TenantId, model: str, by: Literal["at", "event_time"]) -> tuple[int, int] | None:
        """The first and the last time in the log, None when it has nothing of the model."""
        ...

    def traffic(self, tenant: TenantId, model: str, window: Window) -> dict[tuple[int, Role], int]:
        """Predictions in the window by version and role."""
        ...

    def levels(self, tenant: TenantId, model: str, window: Window) -> dict[str, int]:
        """Answers (no shadows) in the window for which history had to be looked up, by what they rest on."""
        ...

    def rows(self, tenant: TenantId, model: str, window: Window, version: int, roles: Sequence[Role]) -> Iterator[Rows]:
        """The window's rows that one version's own model answered in these roles (none named: all), in chunks of some
        thousands. What a rung beside the model answered (`tenon.core.levels`) is left out."""
        ...


class PredictionStore(Protocol):
    """Where the stream's consumer keeps what it took."""

    def take(self, countings: Sequence[Counting], count: Callable[[Segment], Counting]) -> list[Segment]:
        """Keep segments and count them in windows, all or nothing; gives what was kept.

        Batches that were kept before are left out; `count` counts what is left of a segment then.
        """
        ...


class Unsketched(Protocol):
    """Segments that were counted and not looked into, because their version's bins were not known."""

    def versions(self) -> list[tuple[TenantId, str, int]]:
        """Of which versions segments wait."""
        ...

    def segments(self, tenant: TenantId, model: str, version: int, after: int, limit: int) -> list[tuple[int, Segment]]:
        """Some of them with their numbers, in the order they were taken, from behind a number."""
        ...

    def add(self, tenant: TenantId, number: int, segment: Segment, parts: Sequence[Part]) -> bool:
        """Add its sketches to the windows; False when another replica has done it."""
        ...


class Erasure(Protocol):
    """Taking single rows out of the log."""

    def remember(self, tenant: TenantId, subject: Subject) -> None:
        """From now on, drop rows about a subject that were answered before now and come later."""
        ...

    def erase(self, tenant: TenantId, model: str, subject: Subject) -> Erased:
        """Take a subject's rows out of the log and its archive, and their labels away."""
        ...


class Windows(Protocol):
    """What was answered, counted as it came in: cost is by windows and bins, not by rows."""

    def counted(
        self, tenant: TenantId, model: str, window: Window, *,
        version: int = 0, roles: Sequence[Role] = (), step: int | None = None, sketched: bool = True,
    ) -> list[Counted]:  # fmt: skip
        """The window's totals by version and role, exact to the microsecond, by either time. `version` 0 is all, no roles are all.

        With a `step` (an hour or longer) a series by time instead: one for each version, role and step in which there are rows, begun at multiples of
        it and reaching beyond the window's ends to whole stretches. Where only longer stretches are kept, which is so
        for what is old, they come as they are. Without `sketched` only counts.
        """
        ...


class Labels(Protocol):
    """True values, with the history of their corrections."""

    def record(self, tenant: TenantId, model: str, labels: Sequence[Label]) -> int:
        """Keep labels; gives how many of their predictions are in the log."""
        ...

    def withdraw(self, tenant: TenantId, model: str, prediction_id: str, known_at: int) -> None:
        """Take one label away, as if it had never come."""
        ...

    def labelled(
        self, tenant: TenantId, model: str, window: Window, known_at: int | None
    ) -> dict[tuple[int, Role], LabelledRows]:
        """The window's predictions whose label was known at a time (None: now), by version and role. What a rung beside the
        model answered is left out."""
        ...


class Versions(Protocol):
    """What the registry knows of a version."""

    def manifest(self, tenant: TenantId, model: str, version: int) -> Manifest:
        """The version's manifest. Raises `NotFound`, or `Unavailable` when it was never read and cannot be now."""
        ...


class Verdicts(Protocol):
    """Verdicts as they were given."""

    def add(self, tenant: TenantId, record: VerdictRecord) -> None:
        """Keep one."""
        ...

    def latest(self, tenant: TenantId) -> Mapping[str, VerdictRecord]:
        """The newest of each model."""
        ...

    def history(self, tenant: TenantId, model: str, limit: int) -> list[VerdictRecord]:
        """Newest first."""
        ...


class Policies(Protocol):
    """How models are watched, as their tenants declared it (`kind: Monitor`)."""

    def of(self, tenant: TenantId, model: str) -> MonitorSpec:
        """The declared document, or the defaults."""
        ...


class AllPolicies(Protocol):
    """The same of everybody, for the background evaluator only."""

    def everybody(self) -> Mapping[tuple[str, str], MonitorSpec]:
        """Every declared document by tenant and model."""
        ...


class Fleet(Protocol):
    """The view over all tenants, for the background evaluator only."""

    def active(self, since: int) -> list[tuple[TenantId, str, int]]:
        """Models that answered at or after `since`, each with a number that grows with each batch and label call."""
        ...


class Gauges(Protocol):
    """Where the evaluator shows what it found."""

    def show(self, report: Report) -> None:
        """Set the gauges of one model."""
        ...


class Answered(Protocol):
    """The log, row by row with ids: for what must find single predictions."""

    def answered(
        self, tenant: TenantId, model: str, window: Window, *, after: int = 0, ids: Collection[str] = ()
    ) -> Iterator[AnsweredRows]:
        """The window's rows of every version and role, a batch at a time, in the order batches were taken.

        `after` leaves out batches up to that position, `ids` all other predictions.
        """
        ...


class KeyedLabels(Protocol):
    """Labels by entity and time, kept so that predictions which come late find theirs."""

    def keep(self, tenant: TenantId, model: str, labels: Sequence[KeyedLabel]) -> None:
        """Keep labels; the same one again changes nothing, another value for the same key and known-at replaces it."""
        ...

    def between(self, tenant: TenantId, model: str, first: int, last: int) -> list[KeyedLabel]:
        """Those whose event time, give or take `within`, touches [first, last]."""
        ...

    def models(self) -> list[tuple[TenantId, str]]:
        """Models of all tenants that have any."""
        ...

    def forget(self, tenant: TenantId, model: str, column: str, value: str) -> int:
        """Erase those whose key has this value in this column; gives how many."""
        ...


class Bookmarks(Protocol):
    """How far a background work has come, a model at a time."""

    def get(self, tenant: TenantId, model: str, name: str) -> int:
        """Where it was left; 0 at first."""
        ...

    def put(self, tenant: TenantId, model: str, name: str, position: int) -> None:
        """Leave it here."""
        ...


class KnownLabels(Protocol):
    """Single labels."""

    def known(self, tenant: TenantId, model: str, ids: Collection[str]) -> dict[str, tuple[int, float]]:
        """The newest known-at and value of those predictions that have a label."""
        ...

    def withdraw(self, tenant: TenantId, model: str, prediction_id: str, known_at: int) -> None:
        """Take one label away; what was known before holds again."""
        ...


class Reviews(Protocol):
    """Review queues and what experts decided."""

    def current(self, tenant: TenantId, model: str) -> ReviewRound | None:
        """The newest round with its items in order."""
        ...

    def start(self, tenant: TenantId, model: str, fresh: ReviewRound) -> ReviewRound:
        """Keep a new round; gives it with its number."""
        ...

    def decide(
        self, tenant: TenantId, model: str, prediction_id: str, state: State, at: int, expert: str,
        correction: Correction | None,
    ) -> ReviewItem | None:  # fmt: skip
        """Decide an open item of the newest round and keep the correction; None when it was decided in the meantime."""
        ...

    def undo(self, tenant: TenantId, model: str, expert: str, at: int) -> ReviewItem | None:
        """Open the expert's last decided item of the newest round again; gives it as it was decided."""
        ...

    def reviewed(self, tenant: TenantId, model: str) -> set[str]:
        """Predictions that an expert has labelled."""
        ...

    def corrections(self, tenant: TenantId, model: str, known_before: int) -> list[Correction]:
        """What experts had said at that time, the newest of each prediction, by prediction id."""
        ...

    def forget(self, tenant: TenantId, model: str, ids: Collection[str]) -> None:
        """Erase predictions from queues and corrections."""
        ...


class Spines(Protocol):
    """Which data set has a model's labels, and where it is."""

    def models(self, tenant: TenantId) -> Sequence[WatchedModel]:
        """The tenant's models. Raises `Unavailable`."""
        ...

    def table(self, tenant: TenantId, dataset: str) -> SpineTable | None:
        """The data set's newest committed version; None when nothing was committed. Raises `Unavailable`."""
        ...


class SpineRows(Protocol):
    """Rows of lake tables; columns that a table does not have yet are missing."""

    def changed(self, table: SpineTable, columns: Sequence[str], *, since: int) -> Iterator[pl.DataFrame]:
        """Rows that were added or replaced after a version (and perhaps others); all when it cannot be told, or since is -1."""
        ...

    def between(self, table: SpineTable, columns: Sequence[str], first: int, last: int) -> pl.DataFrame:
        """Rows whose event time lies in [first, last]."""
        ...

    def committed_at(self, table: SpineTable) -> int:
        """When this version was committed."""
        ...


class DatasetLabels(Protocol):
    """What data sets said of predictions."""

    def newest(self, tenant: TenantId, model: str, ids: Collection[str]) -> dict[str, Label]:
        """What was said last."""
        ...

    def put(self, tenant: TenantId, model: str, labels: Sequence[Label]) -> None:
        """Keep it."""
        ...
