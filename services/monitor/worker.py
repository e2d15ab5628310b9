"""The door of the prediction log's stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from services.monitor.domain.kept.segment import Segment, segment_of
from services.monitor.domain.log.receive import batch_from_document, segment_from_arrays
from tenon.core.errors import Invalid
from tenon.core.operations import unpack_operations
from tenon.core.tenancy import TenantId
from tenon.kit.prediction_batches import unpack_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tenon.core.operations import OperationsRecord

GROUP = "monitor"


def operations_handler(take: Callable[[OperationsRecord], bool]) -> Callable[[str, Mapping[bytes, bytes]], None]:
    """What the operations stream's consumer calls for each entry."""

    def handle(entry_id: str, fields: Mapping[bytes, bytes]) -> None:
        if b"id" not in fields or b"operations" not in fields:
            raise Invalid("OPERATIONS_INVALID", f"entry {entry_id} is no operations record")
        take(unpack_operations(fields[b"id"], fields[b"operations"]))

    return handle


def dataset_handler(take: Callable[[TenantId, str], int]) -> Callable[[str, Mapping[bytes, bytes]], None]:
    """What the consumer of `dataset_committed` calls; what counts is the table's version, not the event."""

    def handle(_entry_id: str, fields: Mapping[bytes, bytes]) -> None:
        take(TenantId(fields[b"tenant"].decode()), fields[b"dataset"].decode())

    return handle


def batches_handler(
    take: Callable[[list[Segment]], object],
) -> Callable[[Sequence[tuple[str, Mapping[bytes, bytes]]]], None]:
    """What the stream's consumer calls with many entries at once; taking one twice changes nothing."""

    def handle(entries: Sequence[tuple[str, Mapping[bytes, bytes]]]) -> None:
        packed = [fields for _, fields in entries if b"rows" in fields]
        segments = [segment_from_arrays(one.about, one.sources, one.table, one.texts) for one in unpack_batches(packed)]
        segments += [_from_json(entry_id, fields) for entry_id, fields in entries if b"rows" not in fields]
        take(segments)

    return handle


def _from_json(entry_id: str, fields: Mapping[bytes, bytes]) -> Segment:
    """A batch as one JSON document, as tools and tests write it."""
    body = fields.get(b"batch")
    if body is None:
        raise Invalid("BATCH_INVALID", f"entry {entry_id} of the prediction log has no field `batch`")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as err:
        raise Invalid("BATCH_INVALID", f"entry {entry_id} of the prediction log is not JSON: {err.msg}") from err
    return segment_of(batch_from_document(document))
