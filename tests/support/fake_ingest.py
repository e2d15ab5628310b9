"""Ingest as other services see it: its gRPC door over definitions and Delta tables that a test writes itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import polars as pl
from deltalake import DeltaTable, write_deltalake

from tenon.api.ingest.v1 import ingest_pb2 as pb
from tenon.api.ingest.v1 import ingest_pb2_grpc
from tenon.core.specs import ColumnType, DatasetSpec

_DTYPES = {
    ColumnType.STRING: pl.String(), ColumnType.INTEGER: pl.Int64(), ColumnType.FLOAT: pl.Float64(),
    ColumnType.BOOLEAN: pl.Boolean(), ColumnType.TIMESTAMP: pl.Datetime("us", "UTC"), ColumnType.DATE: pl.Date(),
}  # fmt: skip


def lake_frame(spec: DatasetSpec, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows in the types of the lake; a column that a row leaves out is missing."""
    return pl.DataFrame(
        [
            pl.Series(
                name,
                [row.get(name) for row in rows],
                pl.Decimal(18, column.scale or 0) if column.type is ColumnType.DECIMAL else _DTYPES[column.type],
            )
            for name, column in spec.columns.items()
        ]
    )


class FakeIngest(ingest_pb2_grpc.DatasetServiceServicer):
    """Definitions by (tenant, name), tables under a folder. Tests call `define` and `commit`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._specs: dict[tuple[str, str], DatasetSpec] = {}
        self.target = ""

    def define(self, tenant: str, spec: DatasetSpec) -> None:
        """Make a data set known."""
        self._specs[tenant, spec.name] = spec

    def commit(self, tenant: str, dataset: str, frame: pl.DataFrame, *, replace: bool = False) -> int:
        """Append rows (or replace all of them); gives the table's version."""
        uri = self.uri(tenant, dataset)
        write_deltalake(uri, frame, mode="overwrite" if replace else "append")
        return int(DeltaTable(uri).version())

    def uri(self, tenant: str, dataset: str) -> str:
        """Where the data set's table is."""
        return f"file://{self._folder}/{tenant}/{dataset}"

    def GetDataset(self, request: pb.GetDatasetRequest, context: grpc.ServicerContext) -> pb.GetDatasetResponse:
        """See the proto."""
        return pb.GetDatasetResponse(dataset=self._dataset(request.tenant, request.dataset, context))

    def GetTable(self, request: pb.GetTableRequest, context: grpc.ServicerContext) -> pb.GetTableResponse:
        """See the proto."""
        dataset = self._dataset(request.tenant, request.dataset, context)
        uri = self.uri(request.tenant, request.dataset)
        if not DeltaTable.is_deltatable(uri):
            context.abort(grpc.StatusCode.NOT_FOUND, f"nothing was committed to {request.dataset!r}")
        return pb.GetTableResponse(uri=uri, version=DeltaTable(uri).version(), dataset=dataset)

    def _dataset(self, tenant: str, name: str, context: grpc.ServicerContext) -> pb.Dataset:
        spec = self._specs.get((tenant, name))
        if spec is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"tenant {tenant!r} has no data set {name!r}")
        return pb.Dataset(tenant=tenant, name=name, revision=1, spec_json=json.dumps(spec.canonical()).encode())


@contextmanager
def running_ingest(folder: Path) -> Iterator[FakeIngest]:
    """The door on a free port; `target` says which."""
    fake = FakeIngest(folder)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    ingest_pb2_grpc.add_DatasetServiceServicer_to_server(fake, server)
    fake.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield fake
    finally:
        server.stop(None)
