"""The door of the prediction log's stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from tenon.core.errors import Invalid
from tenon.core.operations import unpack_operations
from tenon.kit.prediction_batches import unpack_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tenon.core.operations import OperationsRecord

GROUP = "monitor"


def operations_handler(take: Callable[[OperationsRecord], bool]) -> Callable[[str, Mapping[bytes, bytes]], None]:
    """The same for the predictors' operations records."""

    def handle(entry_id: str, fields: Mapping[bytes, bytes]) -> None:
        if b"id" not in fields or b"operations" not in fields:
            raise Invalid("OPERATIONS_INVALID", f"entry {entry_id} is no operations record")
        take(unpack_operations(fields[b"id"], fields[b"operations"]))

    return handle


def batch_handler(record: Callable[[object], bool]) -> Callable[[str, Mapping[bytes, bytes]], None]:
    """What the stream's consumer calls for each entry; taking one twice changes nothing."""

    def handle(entry_id: str, fields: Mapping[bytes, bytes]) -> None:
        if b"rows" in fields:
            record(unpack_batch(fields))
            return
        # A batch as one JSON document, as tools and tests write it.
        body = fields.get(b"batch")
        if body is None:
            raise Invalid("BATCH_INVALID", f"entry {entry_id} of the prediction log has no field `batch`")
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as err:
            raise Invalid("BATCH_INVALID", f"entry {entry_id} of the prediction log is not JSON: {err.msg}") from err
        record(document)

    return handle
