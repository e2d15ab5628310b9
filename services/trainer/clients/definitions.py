"""Data sets from ingest and feature views from features."""

from __future__ import annotations

import json
from collections.abc import Mapping

import grpc

from services.trainer.domain.ports import View
from tenon.api.features.v1 import features_pb2, features_pb2_grpc
from tenon.api.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from tenon.core.specs import DatasetSpec, FeatureViewSpec, parse_spec
from tenon.core.tenancy import TenantId
from tenon.kit.grpc_client import retrying

DEADLINE_SECONDS = 5.0


class GrpcDefinitions:
    """See `Definitions`."""

    def __init__(self, ingest: grpc.Channel, features: grpc.Channel) -> None:
        self._datasets = ingest_pb2_grpc.DatasetServiceStub(ingest)
        self._views = features_pb2_grpc.FeatureServiceStub(features)

    def get_dataset(self, tenant: TenantId, name: str) -> DatasetSpec:
        """See `Definitions`."""
        request = ingest_pb2.GetDatasetRequest(tenant=tenant.value, dataset=name)
        answer = retrying(lambda: self._datasets.GetDataset(request, timeout=DEADLINE_SECONDS))
        return parse_spec(DatasetSpec, json.loads(answer.dataset.spec_json))

    def list_views(self, tenant: TenantId) -> Mapping[str, View]:
        """See `Definitions`."""
        request = features_pb2.ListFeatureViewsRequest(tenant=tenant.value)
        answer = retrying(lambda: self._views.ListFeatureViews(request, timeout=DEADLINE_SECONDS))
        return {
            view.name: View(parse_spec(FeatureViewSpec, json.loads(view.spec_json)), view.digest)
            for view in answer.views
        }
