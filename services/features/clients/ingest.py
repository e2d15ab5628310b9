"""Ingest's data sets, by gRPC."""

from __future__ import annotations

import json
from collections.abc import Sequence

import grpc

from services.features.domain.model import LakeTable, LoadedFile
from tenon.api.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from tenon.core.errors import NotFound
from tenon.core.specs import DatasetSpec, parse_spec
from tenon.core.tenancy import TenantId
from tenon.kit.grpc_client import retrying

_DEADLINE_SECONDS = 5.0
_FILES = 500


class IngestDatasets:
    """See `ports.Datasets`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = ingest_pb2_grpc.DatasetServiceStub(channel)

    def definition(self, tenant: TenantId, dataset: str) -> DatasetSpec:
        """See `ports.Datasets`."""
        request = ingest_pb2.GetDatasetRequest(tenant=tenant.value, dataset=dataset)
        answer = retrying(lambda: self._stub.GetDataset(request, timeout=_DEADLINE_SECONDS))
        return _spec(answer.dataset)

    def table(self, tenant: TenantId, dataset: str) -> LakeTable | None:
        """See `ports.Datasets`."""
        request = ingest_pb2.GetTableRequest(tenant=tenant.value, dataset=dataset)
        try:
            answer = retrying(lambda: self._stub.GetTable(request, timeout=_DEADLINE_SECONDS))
        except NotFound:
            # The same code says that there is no such data set; asking for the definition tells the two apart.
            self.definition(tenant, dataset)
            return None
        return LakeTable(answer.uri, answer.version, _spec(answer.dataset))

    def files(self, tenant: TenantId, dataset: str) -> Sequence[LoadedFile]:
        """See `ports.Datasets`."""
        request = ingest_pb2.ListBatchesRequest(tenant=tenant.value, dataset=dataset, limit=_FILES)
        answer = retrying(lambda: self._stub.ListBatches(request, timeout=_DEADLINE_SECONDS))
        return [
            LoadedFile(
                batch.id,
                batch.file_name,
                batch.file_sha256,
                batch.rows_committed,
                batch.table_version,
                batch.committed_at.ToMicroseconds(),
            )
            for batch in answer.batches
            if batch.state == "committed"
        ]


def _spec(dataset: ingest_pb2.Dataset) -> DatasetSpec:
    return parse_spec(DatasetSpec, json.loads(dataset.spec_json))
