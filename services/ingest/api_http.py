"""The HTTP door: contracts, uploads, batches, quarantine, tables."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from services.ingest import metrics
from services.ingest.domain.define_dataset import DefineDataset
from services.ingest.domain.erase_rows import EraseRows
from services.ingest.domain.model import Batch, BatchState, Dataset, RawFile, Table
from services.ingest.domain.ports import Batches, Datasets
from services.ingest.domain.read_quarantine import ReadQuarantine
from services.ingest.domain.receive_file import ReceiveFile
from tenon.core.errors import Invalid, NotFound, Place, TooLarge, UnsupportedMedia
from tenon.core.tenancy import Scope, TenantId
from tenon.core.timestamps import rfc3339
from tenon.kit.http import JsonResponse, allow, read_json
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)

Reader = Annotated[TenantId, Depends(allow(Scope.READ))]
Writer = Annotated[TenantId, Depends(allow(Scope.WRITE))]

_WRITE_SIZE = 1 << 20
_POLL_SECONDS = 0.05
_ERASURE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["key"],
                    "properties": {"key": {"type": "object", "description": "A column of the data set and its value."}},
                }
            }
        },
    }
}


def is_upload(path: str) -> bool:
    """Whether a path takes files; it watches the size of its bodies itself."""
    return path.startswith("/v1/tenants/") and path.endswith("/files")


def create_router(
    *, define: DefineDataset, datasets: Datasets, receive: ReceiveFile, batches: Batches, quarantine: ReadQuarantine,
    erase: EraseRows, spool: Path, max_file_bytes: int,
) -> APIRouter:  # fmt: skip
    """Every route of ingest."""
    router = APIRouter(prefix="/v1/tenants/{tenant}")

    @router.put("/datasets/{name}", summary="Apply a data set's contract")
    async def put_dataset(tenant: Writer, name: str, request: Request, dry_run: bool = False) -> JsonResponse:
        document = await read_json(request)
        change, stored = await run_in_threadpool(define.apply, tenant, name, document, dry_run=dry_run)
        return JsonResponse({"change": change.value} | _dataset_body(stored))

    @router.get("/datasets", summary="Every data set")
    def list_datasets(tenant: Reader) -> JsonResponse:
        return JsonResponse({"datasets": [_dataset_body(item) for item in datasets.list(tenant)]})

    @router.get("/datasets/{name}", summary="One data set and its table")
    def get_dataset(tenant: Reader, name: str) -> JsonResponse:
        body = _dataset_body(datasets.get(tenant, name))
        return JsonResponse(body | {"table": _table_body(datasets.table(tenant, name))})

    @router.get("/datasets/{name}/table", summary="Where the committed rows are")
    def get_table(tenant: Reader, name: str) -> JsonResponse:
        datasets.get(tenant, name)
        return JsonResponse(_table_body(require_table(datasets, tenant, name)))

    @router.post("/datasets/{name}/files", summary="Send a CSV file", status_code=202)
    async def post_file(
        tenant: Writer,
        name: str,
        request: Request,
        file_name: Annotated[str, Query(alias="name", description="The file's name; .gz is read as gzip.")] = "",
        wait: Annotated[bool, Query(description="Answer when the file is loaded or refused.")] = False,
        wait_seconds: Annotated[float, Query(gt=0, le=3600, description="How long to wait at most.")] = 900.0,
    ) -> JsonResponse:
        """Answers 202 when the file is stored safely, 200 when it is loaded (or was loaded before)."""
        file_name = await run_in_threadpool(receive.check, tenant, name, file_name)
        gzipped = _is_gzipped(request, file_name)
        async with _spooled(request, spool, max_file_bytes) as (path, sha256, size):
            raw = RawFile(file_name, sha256, size, gzipped)
            receipt = await run_in_threadpool(receive.receive, tenant, name, raw, path)
        metrics.RECEIVED.labels(str(receipt.duplicate).lower()).inc()
        metrics.RECEIVED_BYTES.inc(size)
        batch = receipt.batch
        if wait:
            batch = await _finished(batches, tenant, batch, wait_seconds)
            if batch.state is BatchState.REFUSED and batch.problem is not None:
                problem, body = batch.problem, batch_body(batch)
                raise Invalid(
                    problem.reason, problem.message, place=problem.place, hint=problem.hint, data={"batch": body}
                )
        return JsonResponse(
            batch_body(batch) | {"duplicate": receipt.duplicate}, status_code=200 if batch.state.is_final else 202
        )

    @router.get("/datasets/{name}/batches", summary="The files of a data set, newest first")
    def list_batches(tenant: Reader, name: str, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> JsonResponse:
        datasets.get(tenant, name)
        return JsonResponse({"batches": [batch_body(item) for item in batches.list(tenant, name, limit)]})

    @router.get("/datasets/{name}/batches/{batch}", summary="What became of a file")
    def get_batch(tenant: Reader, name: str, batch: str) -> JsonResponse:
        return JsonResponse(batch_body(batches.get(tenant, name, batch)))

    @router.get("/datasets/{name}/batches/{batch}/quarantine", summary="The bad rows of a file, with reasons")
    def get_quarantine(
        tenant: Reader,
        name: str,
        batch: str,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        format: Annotated[str, Query(pattern="^(json|csv)$", description="csv gives every row.")] = "json",  # noqa: A002
    ) -> Response:
        if format == "csv":
            lines = quarantine.as_csv(tenant, name, batch)
            headers = {"content-disposition": f'attachment; filename="{name}-{batch}-quarantine.csv"'}
            return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)
        rows, total = quarantine.first(tenant, name, batch, limit)
        return JsonResponse({"rows": [row.as_dict() for row in rows], "total": total})

    @router.post("/datasets/{name}/erasures", summary="Forget somebody", openapi_extra=_ERASURE_BODY)
    def post_erasure(tenant: Writer, name: str, body: Annotated[Any, Depends(read_json)]) -> JsonResponse:
        """Removes the rows that have a value in a column from the lake, for good, and names the files that brought them."""
        column, value = _subject(body)
        erased = erase.erase(tenant, name, column, value)
        log.info("rows erased", dataset=name, rows=erased.rows, table_version=erased.table_version)
        files = [
            {"batch": batch.id, "file_name": batch.file.name, "file_sha256": batch.file.sha256}
            for batch in erased.batches
        ]
        return JsonResponse({"rows": erased.rows, "table_version": erased.table_version, "files": files})

    return router


def _subject(body: Any) -> tuple[str, str]:
    key = body.get("key") if isinstance(body, dict) else None
    if not isinstance(key, dict) or len(key) != 1 or not all(type(value) in (str, int) for value in key.values()):
        raise Invalid(
            "SUBJECT_MISSING", "nothing says who is to be erased", place=Place(field="key"),
            hint="give `key` as an object of one column and its value",
        )  # fmt: skip
    ((column, value),) = key.items()
    return column, str(value)


def require_table(datasets: Datasets, tenant: TenantId, name: str) -> Table:
    """The table of a data set. Raises `NotFound` when nothing was ever committed."""
    table = datasets.table(tenant, name)
    if table is None:
        raise NotFound(
            "TABLE_NOT_FOUND", f"data set {name!r} of tenant {tenant.value!r} has no rows yet",
            place=Place(field="dataset"), hint=f"load a file: tenon ingest {name} FILE.csv",
        )  # fmt: skip
    return table


def _is_gzipped(request: Request, file_name: str) -> bool:
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise UnsupportedMedia(
            "MULTIPART",
            "the file itself is the body, without a form around it",
            hint="curl --data-binary @FILE …?name=FILE",
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip"):
        raise UnsupportedMedia("ENCODING_UNKNOWN", f"content encoding {encoding[:40]!r} is not read; use gzip or none")
    return encoding == "gzip" or file_name.lower().endswith(".gz")


@asynccontextmanager
async def _spooled(request: Request, spool: Path, cap: int) -> AsyncIterator[tuple[Path, str, int]]:
    """The body in a local file, its digest and its size; the file is gone afterwards."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > cap:
        raise _too_large(cap)
    handle, name = tempfile.mkstemp(dir=spool, prefix="upload-")
    path, digest, size, waiting = Path(name), hashlib.sha256(), 0, bytearray()
    try:
        with os.fdopen(handle, "wb") as out:

            def write(data: bytes) -> None:
                digest.update(data)
                out.write(data)

            async for piece in request.stream():
                size += len(piece)
                if size > cap:
                    raise _too_large(cap)
                waiting += piece
                if len(waiting) >= _WRITE_SIZE:
                    await run_in_threadpool(write, bytes(waiting))
                    waiting.clear()
            await run_in_threadpool(write, bytes(waiting))
        yield path, digest.hexdigest(), size
    except ClientDisconnect:
        raise Invalid(
            "UPLOAD_CUT_OFF", "the connection ended before the whole file had arrived", hint="send it again"
        ) from None
    finally:
        await run_in_threadpool(path.unlink, missing_ok=True)


def _too_large(cap: int) -> TooLarge:
    return TooLarge(
        "FILE_TOO_LARGE", f"the file is over the cap of {cap >> 20} MiB", hint="send it as .gz, or split it",
        data={"cap_bytes": cap},
    )  # fmt: skip


async def _finished(batches: Batches, tenant: TenantId, batch: Batch, seconds: float) -> Batch:
    """The batch when it is finished or the time is up."""
    until = time.monotonic() + seconds
    pause = _POLL_SECONDS
    while not batch.state.is_final and time.monotonic() < until:
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, 1.0)
        batch = await run_in_threadpool(batches.get, tenant, batch.dataset, batch.id)
    return batch


def _dataset_body(item: Dataset) -> dict[str, Any]:
    return {"tenant": item.tenant.value, "name": item.name, "revision": item.revision, "spec": item.spec.canonical()}


def _table_body(table: Table | None) -> dict[str, Any] | None:
    return None if table is None else {"uri": table.uri, "version": table.version, "rows": table.rows}


def batch_body(batch: Batch) -> dict[str, Any]:
    """A batch as JSON data."""
    counts = batch.counts
    return {
        "id": batch.id,
        "tenant": batch.tenant.value,
        "dataset": batch.dataset,
        "revision": batch.revision,
        "file_name": batch.file.name,
        "file_sha256": batch.file.sha256,
        "size_bytes": batch.file.size_bytes,
        "state": batch.state.value,
        "rows_read": counts.read,
        "rows_committed": counts.committed,
        "rows_superseded": counts.superseded,
        "rows_quarantined": counts.quarantined,
        "quarantine_reasons": dict(counts.reasons.most_common()),
        "table_version": batch.table_version,
        "problem": batch.problem.as_dict() if batch.problem else None,
        "received_at": rfc3339(batch.received_at),
        "committed_at": rfc3339(batch.committed_at) if batch.committed_at is not None else None,
    }
