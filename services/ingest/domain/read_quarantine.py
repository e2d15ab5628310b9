"""Use case: show a tenant its own bad rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import islice

from services.ingest.domain.model import BadRow
from services.ingest.domain.ports import Batches, Quarantine
from tenon.core.tenancy import TenantId

_COLUMNS = ("_line", "_reason", "_column", "_value", "_message", "_also")


class ReadQuarantine:
    """Reads the quarantine of a batch."""

    def __init__(self, batches: Batches, quarantine: Quarantine) -> None:
        self._batches, self._quarantine = batches, quarantine

    def first(self, tenant: TenantId, dataset: str, batch_id: str, limit: int) -> tuple[list[BadRow], int]:
        """The first bad rows in line order, and how many there are in all."""
        batch = self._batches.get(tenant, dataset, batch_id)
        _, rows = self._quarantine.read(tenant, dataset, batch_id)
        return list(islice(rows, limit)), batch.counts.quarantined

    def as_csv(self, tenant: TenantId, dataset: str, batch_id: str) -> Iterator[str]:
        """All bad rows as CSV: what is wrong first, then the row's own columns, to be mended and sent again.

        A row whose number of fields is not the header's stands whole in the last column, `_record`.
        """
        self._batches.get(tenant, dataset, batch_id)
        header, rows = self._quarantine.read(tenant, dataset, batch_id)
        return _csv_lines(header, rows)


def _csv_lines(header: list[str], rows: Iterator[BadRow]) -> Iterator[str]:
    yield _line([*_COLUMNS, *header, "_record"])
    for row in rows:
        about = [str(row.line), row.reason, row.column or "", row.value or "", row.message, " ".join(row.also)]
        if len(row.fields) == len(header):
            yield _line([*about, *row.fields, ""])
        else:
            record = row.fields[0] if row.reason == "QUOTES_MALFORMED" else _line(row.fields).rstrip("\r\n")
            yield _line([*about, *([""] * len(header)), record])


def _line(fields: list[str] | tuple[str, ...]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(fields)
    return out.getvalue()
