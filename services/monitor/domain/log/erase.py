"""Forget a data subject: the rows of the log that are about it, wherever they are, and their labels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from services.monitor.domain.erase_words import Erased, Subject
from tenon.core.errors import Invalid, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from services.monitor.domain.ports import Erasure, KeyedLabels, PredictionLog
    from tenon.core.tenancy import TenantId

MOST_COLUMN = 255


class EraseSubject:
    """The use case behind erasure; asking again finds what came meanwhile."""

    def __init__(
        self, log: PredictionLog, erasure: Erasure, keyed: KeyedLabels,
        forget: Callable[[TenantId, str, Collection[str]], object],
    ) -> None:  # fmt: skip
        """`forget` takes what is kept of predictions besides: review, corrections, labels from data sets."""
        self._log, self._erasure, self._keyed, self._forget = log, erasure, keyed, forget

    def __call__(self, tenant: TenantId, subject: Subject) -> dict[str, Erased]:
        """Erase a subject from the logs of all the tenant's models; what was erased by model. Raises `Invalid`."""
        if not subject.prediction_ids and not subject.key:
            raise Invalid(
                "SUBJECT_MISSING", "nothing says who is to be erased", place=Place(field="key"),
                hint="give `key` as {column: value}, or `prediction_ids`",
            )  # fmt: skip
        if len(subject.key) > 1:
            raise Invalid("SUBJECT_MISSING", "a key is one column and its value", place=Place(field="key"))
        if not all(1 <= len(column) <= MOST_COLUMN for column in subject.key):
            raise Invalid(
                "SUBJECT_MISSING", f"a column's name has 1 to {MOST_COLUMN} characters", place=Place(field="key")
            )  # fmt: skip
        # First of all: what is taken after this knows of it, what was taken before is found below.
        self._erasure.remember(tenant, subject)
        erased = {}
        for seen in self._log.seen(tenant):
            found = self._erasure.erase(tenant, seen.model, subject)
            names = {*found.prediction_ids, *subject.prediction_ids}
            if names:
                self._forget(tenant, seen.model, names)
            for column, value in subject.key.items():
                waiting = self._keyed.forget(tenant, seen.model, column, value)
                found = replace(found, labels=found.labels + waiting)
            if found.rows or found.labels:
                erased[seen.model] = found
        return erased
