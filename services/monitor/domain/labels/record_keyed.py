"""Take labels that name an entity and a time, and give predictions that come late the labels that wait for them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from services.monitor.domain.label_words import Ambiguous, KeyedRecorded
from services.monitor.domain.labels.match import find_predictions, is_history
from services.monitor.domain.labels.record import MAX_LABELS, RecordLabels
from services.monitor.domain.model import Label, Window
from tenon.core.errors import Invalid, NotFound, Place, TooLarge, Unavailable, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.monitor.domain.label_words import AnsweredRows, KeyedLabel
    from services.monitor.domain.ports import Answered, Bookmarks, KeyedLabels, PredictionLog, Versions
    from tenon.core.manifest import Manifest
    from tenon.core.tenancy import TenantId

MAX_KEYS = 20
MAX_KEY_LENGTH = 200
LONGEST_WITHIN = 31 * 86_400_000_000
_ROWS_A_LOOK = 5_000
_OVERLAP = 64
_FAR = Window(-(2**62), 2**62)


class RecordKeyedLabels:
    """The use case behind labels by entity and time. Sending them again changes nothing."""

    def __init__(
        self, log: PredictionLog, answered: Answered, keyed: KeyedLabels, versions: Versions, record: RecordLabels
    ) -> None:
        self._log, self._answered, self._keyed = log, answered, keyed
        self._versions, self._record = versions, record

    def __call__(self, tenant: TenantId, model: str, labels: Sequence[KeyedLabel]) -> KeyedRecorded:
        """Keep labels and join those whose event was answered; all or, when one is not valid, none.

        Ambiguous ones are named and not kept: they cannot become clear by waiting. Raises `Invalid`.
        """
        self.check(tenant, model, labels)
        matches = find_predictions(self._answered, tenant, model, labels)
        self._keyed.keep(tenant, model, [one for one, match in zip(labels, matches, strict=True) if match.events <= 1])
        direct = [
            Label(found, one.value, one.known_at)
            for one, match in zip(labels, matches, strict=True)
            for found in match.ids
        ]
        for begin in range(0, len(direct), MAX_LABELS):
            self._record(tenant, model, direct[begin : begin + MAX_LABELS])
        ambiguous = [Ambiguous(place, match.events) for place, match in enumerate(matches) if match.events > 1]
        return KeyedRecorded(
            accepted=len(labels) - len(ambiguous),
            predictions=len({label.prediction_id for label in direct}),
            waiting=[place for place, match in enumerate(matches) if not match.events],
            ambiguous=ambiguous,
        )

    def check(self, tenant: TenantId, model: str, labels: Sequence[KeyedLabel], first: int = 0) -> None:
        """Raises `Invalid` naming the first label that cannot be kept by its place; the first one's is `first`."""
        if len(labels) > MAX_LABELS:
            raise TooLarge(
                "LABELS_TOO_MANY", f"{len(labels):,} labels in one call; send at most {MAX_LABELS:,}",
                place=Place(field="labels"), hint="split them over several calls",
            )  # fmt: skip
        manifest = self._manifest(tenant, model)
        for place, label in enumerate(labels):
            _check(label, f"labels[{first + place}]", manifest)
        # The checks of value and time are those of labels by id, with the place standing in for it.
        stand_ins = [Label(str(place), one.value, one.known_at) for place, one in enumerate(labels)]
        self._record.check(tenant, model, stand_ins, first)

    def _manifest(self, tenant: TenantId, model: str) -> Manifest | None:
        seen = self._log.seen_model(tenant, model)
        if seen is None or not seen.series:
            return None
        try:
            return self._versions.manifest(tenant, model, max(one.version for one in seen.series))
        except (NotFound, Unavailable):
            return None


class JoinLatePredictions:
    """Gives predictions that came after their label that label. Called every so often; doing it twice changes nothing."""

    def __init__(self, answered: Answered, keyed: KeyedLabels, bookmarks: Bookmarks, record: RecordLabels) -> None:
        self._answered, self._keyed, self._bookmarks, self._record = answered, keyed, bookmarks, record

    def __call__(self) -> int:
        """Look at what was logged since the last time; gives how many labels were joined."""
        return sum(self._join(tenant, model) for tenant, model in self._keyed.models())

    def _join(self, tenant: TenantId, model: str) -> int:
        joined, rows = 0, 0
        seen = self._bookmarks.get(tenant, model, "keyed")
        group: list[AnsweredRows] = []
        # Positions are given before they are committed: one that was late is looked for again.
        for batch in self._answered.answered(tenant, model, _FAR, after=max(0, seen - _OVERLAP)):
            group.append(batch)
            rows += len(batch)
            if rows >= _ROWS_A_LOOK:
                joined += self._give(tenant, model, group, seen)
                group, rows = [], 0
        return joined + self._give(tenant, model, group, seen)

    def _give(self, tenant: TenantId, model: str, batches: Sequence[AnsweredRows], seen: int) -> int:
        if not batches or batches[-1].position <= seen:
            return 0
        first = min(int(batch.event_time.min()) for batch in batches)
        last = max(int(batch.event_time.max()) for batch in batches)
        own = {one for batch in batches for one in batch.prediction_ids}
        labels = self._keyed.between(tenant, model, first, last)
        # Earlier answers about the same event decide with these whether a label is ambiguous.
        matches = find_predictions(self._answered, tenant, model, labels)
        found = [
            Label(one, label.value, label.known_at)
            for label, match in zip(labels, matches, strict=True)
            for one in match.ids
            if one in own
        ]
        for begin in range(0, len(found), MAX_LABELS):
            self._record(tenant, model, found[begin : begin + MAX_LABELS])
        self._bookmarks.put(tenant, model, "keyed", batches[-1].position)
        return len(found)


def _check(label: KeyedLabel, where: str, manifest: Manifest | None) -> None:
    if not label.key or len(label.key) > MAX_KEYS:
        raise Invalid(
            "LABEL_INVALID", f"{where}: entity must name 1 to {MAX_KEYS} columns", place=Place(field=f"{where}.entity")
        )
    for name, value in label.key.items():
        if (isinstance(value, str) and len(value) > MAX_KEY_LENGTH) or (
            isinstance(value, float) and not math.isfinite(value)
        ):
            raise Invalid(
                "LABEL_INVALID", f"{where}: {name[:60]} is no key", place=Place(field=f"{where}.entity.{name[:60]}")
            )
    if not 0 <= label.within <= LONGEST_WITHIN:
        raise Invalid(
            "LABEL_INVALID", f"{where}: within must be a length of 0 to 31d", place=Place(field=f"{where}.within")
        )
    if manifest is not None:
        _check_columns(label, where, manifest)


def _check_columns(label: KeyedLabel, where: str, manifest: Manifest) -> None:
    known = [one.name for one in manifest.signature.inputs if not is_history(one.name) and one.source != "event_time"]
    for name in label.key:
        if name not in known:
            near = did_you_mean(name, known)
            raise Invalid(
                "LABEL_KEY_UNKNOWN", f"{where}: the model is not asked by {name[:60]!r}; there are: {', '.join(known)}",
                place=Place(field=f"{where}.entity.{name[:60]}"), hint=f"did you mean {near!r}?" if near else None,
            )  # fmt: skip
    needed = dict.fromkeys(name for names in manifest.signature.views.values() for name in names)
    missing = [name for name in needed if name not in label.key]
    if missing:
        raise Invalid(
            "LABEL_KEY_INCOMPLETE",
            f"{where}: without {', '.join(missing)} it is not said whom the label is about; an entity of this model is "
            + ", ".join(needed),
            place=Place(field=f"{where}.entity"),
            hint="give all of them, or the prediction id that each answer carries",
        )
