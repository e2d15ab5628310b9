"""Take labels: before or after their prediction, once or corrected; the newest known one holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.monitor.domain.model import Label
from tenon.core.errors import Invalid, NotFound, Place, TooLarge, Unavailable
from tenon.core.names import check_resource_name
from tenon.core.timestamps import MICROS_PER_SECOND, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.monitor.domain.ports import Labels, PredictionLog, Versions
    from tenon.core.tenancy import TenantId

MAX_LABELS = 10_000
MAX_ID_LENGTH = 128
# Clocks differ; a label from further ahead is a mistake in a unit or a time zone.
_AHEAD = 86_400 * MICROS_PER_SECOND


@dataclass(frozen=True, slots=True)
class LabelsRecorded:
    """What became of a call's labels. Unmatched ones wait for their prediction."""

    accepted: int
    matched: int

    @property
    def unmatched(self) -> int:
        """Labels whose prediction is not in the log (yet)."""
        return self.accepted - self.matched


class RecordLabels:
    """The use case behind all label doors."""

    def __init__(self, labels: Labels, log: PredictionLog, versions: Versions, now: Callable[[], int]) -> None:
        self._labels, self._log, self._versions, self._now = labels, log, versions, now

    def __call__(self, tenant: TenantId, model: str, labels: Sequence[Label]) -> LabelsRecorded:
        """Keep labels of a model; all or, when one is not valid, none. Raises `Invalid` naming the label by its place."""
        self.check(tenant, model, labels)
        # Within one call the later of two labels for the same prediction and time wins, as between calls.
        unique = {(label.prediction_id, label.known_at): label for label in labels}
        matched = self._labels.record(tenant, model, list(unique.values()))
        return LabelsRecorded(len({label.prediction_id for label in labels}), matched)

    def check(self, tenant: TenantId, model: str, labels: Sequence[Label], first: int = 0) -> None:
        """Raises `Invalid` naming the first label that cannot be kept by its place; the first one's is `first`."""
        check_resource_name(model, "model")
        if not labels:
            raise Invalid("LABELS_EMPTY", "no labels were sent", place=Place(field="labels"))
        if len(labels) > MAX_LABELS:
            raise TooLarge(
                "LABELS_TOO_MANY", f"{len(labels):,} labels in one call; send at most {MAX_LABELS:,}",
                place=Place(field="labels"), hint="split them over several calls",
            )  # fmt: skip
        binary = self._is_binary(tenant, model)
        latest = self._now() + _AHEAD
        for place, label in enumerate(labels):
            _check(label, f"labels[{first + place}]", binary, latest)

    def _is_binary(self, tenant: TenantId, model: str) -> bool:
        """Whether the model answers yes or no, as far as is known: labels may be the first thing we hear of a model."""
        seen = self._log.seen_model(tenant, model)
        if seen is None or not seen.series:
            return False
        newest = max(one.version for one in seen.series)
        try:
            return self._versions.manifest(tenant, model, newest).task == "binary"
        except (NotFound, Unavailable):
            return False


def _check(label: Label, where: str, binary: bool, latest: int) -> None:
    if not label.prediction_id or len(label.prediction_id) > MAX_ID_LENGTH:
        raise Invalid(
            "LABEL_INVALID", f"{where}: prediction_id must be 1 to {MAX_ID_LENGTH} characters",
            place=Place(field=f"{where}.prediction_id"),
        )  # fmt: skip
    if not math.isfinite(label.value):
        raise Invalid(
            "LABEL_INVALID", f"{where}: value must be a finite number", place=Place(field=f"{where}.value")
        )  # fmt: skip
    if binary and label.value not in {0.0, 1.0}:
        raise Invalid(
            "LABEL_NOT_BINARY", f"{where}: value {label.value:g} is neither 0 nor 1, and the model answers yes or no",
            place=Place(field=f"{where}.value"), hint="send 1 where the label is true, else 0",
        )  # fmt: skip
    if label.known_at > latest:
        raise Invalid(
            "LABEL_FROM_FUTURE", f"{where}: known_at {rfc3339(label.known_at)} is more than a day ahead",
            place=Place(field=f"{where}.known_at"),
        )  # fmt: skip
