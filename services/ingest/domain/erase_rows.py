"""Use case: forget somebody: the rows of a data set that have a value in a column leave the lake, for good."""

from __future__ import annotations

from dataclasses import dataclass

from services.ingest.domain.model import Batch
from services.ingest.domain.ports import Batches, Datasets, Lake, LoadQueue
from tenon.core.errors import Invalid, Place, did_you_mean
from tenon.core.specs import Column, ColumnType
from tenon.core.tenancy import TenantId

_ALL = 1 << 30


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was removed. `batches`: the files that had brought the rows; as they came, they are still kept. `table_version`
    is the table's after it; None where there is no table."""

    rows: int
    batches: list[Batch]
    table_version: int | None


class EraseRows:
    """Everybody who reads the data set is told by the same event that a loaded file sends. Asking again removes what came
    meanwhile, and finishes what was cut off."""

    def __init__(self, datasets: Datasets, batches: Batches, queue: LoadQueue, lake: Lake) -> None:
        self._datasets, self._batches, self._queue, self._lake = datasets, batches, queue, lake

    def erase(self, tenant: TenantId, name: str, column: str, value: str) -> Erasure:
        """Remove the rows. Raises `NotFound`, `Invalid` for a column or value that cannot be, and `Unavailable` while a
        file is being loaded into the very rows."""
        spec = self._datasets.get(tenant, name).spec
        found = spec.columns.get(column)
        if found is None:
            near = did_you_mean(column, spec.columns)
            raise Invalid(
                "COLUMN_UNKNOWN",
                f"data set {name!r} has no column {column[:80]!r}",
                place=Place(field="key"),
                hint=f"did you mean `{near}`?" if near else f"its columns are: {', '.join(spec.columns)}",
            )
        erased = self._lake.erase(tenant, spec, column, _typed(found, column, value))
        if erased is None:
            return Erasure(0, [], None)
        table = self._datasets.table(tenant, name)
        if table is None or table.version < erased.table.version:
            self._queue.move(tenant, name, erased.table)
        # One look through the ledger, oldest first; somebody may have come in every file. A ledger from a backup knows fewer.
        brought = set(erased.batches)
        files = [one for one in self._batches.list(tenant, name, _ALL) if one.id in brought] if brought else []
        return Erasure(erased.rows, files[::-1], erased.table.version)


def _typed(column: Column, name: str, value: str) -> str | int:
    if column.type is ColumnType.STRING:
        return value
    if column.type is not ColumnType.INTEGER:
        raise Invalid(
            "SUBJECT_INVALID",
            f"column {name!r} is of type {column.type.value}; somebody is named by a string or an integer",
            place=Place(field="key"),
        )
    try:
        number = int(value)
    except ValueError:
        number = 1 << 63
    if not -(1 << 63) <= number < 1 << 63:
        raise Invalid(
            "SUBJECT_INVALID", f"column {name!r} has integers, which {value[:40]!r} is not", place=Place(field="key")
        )
    return number
