"""The gRPC door: what the other services ask about data sets."""

from __future__ import annotations

import json

import grpc

from services.ingest.domain.model import Batch, Dataset
from services.ingest.domain.ports import Batches, Datasets
from tenon.api.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from tenon.core.errors import NotFound, Place
from tenon.core.tenancy import Scope
from tenon.kit.grpc import Servicer, allowed_tenant

MAX_BATCHES = 500


class DatasetServicer(ingest_pb2_grpc.DatasetServiceServicer):
    """Translates to the domain and back."""

    def __init__(self, datasets: Datasets, batches: Batches) -> None:
        self._datasets, self._batches = datasets, batches

    def GetDataset(
        self, request: ingest_pb2.GetDatasetRequest, context: grpc.ServicerContext
    ) -> ingest_pb2.GetDatasetResponse:
        """The newest revision."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        return ingest_pb2.GetDatasetResponse(dataset=_dataset(self._datasets.get(tenant, request.dataset)))

    def ListDatasets(
        self, request: ingest_pb2.ListDatasetsRequest, context: grpc.ServicerContext
    ) -> ingest_pb2.ListDatasetsResponse:
        """The newest revision of each data set."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        return ingest_pb2.ListDatasetsResponse(datasets=[_dataset(item) for item in self._datasets.list(tenant)])

    def GetTable(
        self, request: ingest_pb2.GetTableRequest, context: grpc.ServicerContext
    ) -> ingest_pb2.GetTableResponse:
        """Where the committed rows are."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        dataset = self._datasets.get(tenant, request.dataset)
        table = self._datasets.table(tenant, request.dataset)
        if table is None:
            raise NotFound(
                "TABLE_NOT_FOUND", f"data set {request.dataset!r} of tenant {tenant.value!r} has no rows yet",
                place=Place(field="dataset"), hint=f"load a file: tenon ingest {request.dataset} FILE.csv",
            )  # fmt: skip
        return ingest_pb2.GetTableResponse(
            uri=table.uri, version=table.version, rows=table.rows, dataset=_dataset(dataset)
        )

    def ListBatches(
        self, request: ingest_pb2.ListBatchesRequest, context: grpc.ServicerContext
    ) -> ingest_pb2.ListBatchesResponse:
        """Newest first."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        if request.dataset:
            self._datasets.get(tenant, request.dataset)
        limit = min(request.limit, MAX_BATCHES) if request.limit > 0 else 50
        found = self._batches.list(tenant, request.dataset or None, limit)
        return ingest_pb2.ListBatchesResponse(batches=[_batch(item) for item in found])


def servicer(datasets: Datasets, batches: Batches) -> Servicer:
    """The door's only service."""
    return Servicer(
        ingest_pb2_grpc.add_DatasetServiceServicer_to_server,
        DatasetServicer(datasets, batches),
        "tenon.api.ingest.v1.DatasetService",
    )


def _dataset(item: Dataset) -> ingest_pb2.Dataset:
    text = json.dumps(item.spec.canonical(), sort_keys=True, ensure_ascii=False)
    return ingest_pb2.Dataset(tenant=item.tenant.value, name=item.name, revision=item.revision, spec_json=text.encode())


def _batch(item: Batch) -> ingest_pb2.Batch:
    counts = item.counts
    message = ingest_pb2.Batch(
        id=item.id,
        tenant=item.tenant.value,
        dataset=item.dataset,
        file_name=item.file.name,
        file_sha256=item.file.sha256,
        size_bytes=item.file.size_bytes,
        state=item.state.value,
        rows_read=counts.read,
        rows_committed=counts.committed,
        rows_superseded=counts.superseded,
        rows_quarantined=counts.quarantined,
        table_version=item.table_version,
        quarantine_reasons=counts.reasons,
        problem=item.problem.message if item.problem else "",
        problem_reason=item.problem.reason if item.problem else "",
        revision=item.revision,
    )
    message.received_at.FromMicroseconds(item.received_at)
    if item.committed_at is not None:
        message.committed_at.FromMicroseconds(item.committed_at)
    return message
