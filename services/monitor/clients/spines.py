"""Models from the trainer and their spines from ingest: which data set has the labels."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from services.monitor.domain.label_words import SpineTable, WatchedModel
from tenon.api.features.v1 import features_pb2, features_pb2_grpc
from tenon.api.ingest.v1 import ingest_pb2, ingest_pb2_grpc
from tenon.api.trainer.v1 import trainer_pb2, trainer_pb2_grpc
from tenon.core.errors import NotFound
from tenon.core.specs import DatasetSpec, FeatureViewSpec, ModelSpec, parse_spec
from tenon.kit.grpc_client import retrying

if TYPE_CHECKING:
    import grpc

    from tenon.core.tenancy import TenantId

_DEADLINE_SECONDS = 5.0
_KEPT_SECONDS = 30.0


class GrpcSpines:
    """See `domain.ports.Spines`. A tenant's models are kept for half a minute."""

    def __init__(self, trainer: grpc.Channel, ingest: grpc.Channel, features: grpc.Channel | None) -> None:
        self._trainer = trainer_pb2_grpc.TrainingServiceStub(trainer)
        self._ingest = ingest_pb2_grpc.DatasetServiceStub(ingest)
        self._features = None if features is None else features_pb2_grpc.FeatureServiceStub(features)
        self._kept: dict[TenantId, tuple[float, list[WatchedModel]]] = {}
        self._lock = threading.Lock()

    def models(self, tenant: TenantId) -> list[WatchedModel]:
        """See the port."""
        with self._lock:
            kept = self._kept.get(tenant)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        asked = trainer_pb2.ListModelsRequest(tenant=tenant.value)
        answer = retrying(lambda: self._trainer.ListModels(asked, timeout=_DEADLINE_SECONDS))
        specs = [parse_spec(ModelSpec, json.loads(model.spec_json)) for model in answer.models]
        views = self._entities(tenant) if any(spec.features.views for spec in specs) else {}
        found = [
            WatchedModel(
                spec, tuple(dict.fromkeys(name for view in spec.features.views for name in views.get(view, ())))
            )
            for spec in specs
        ]
        with self._lock:
            self._kept[tenant] = (time.monotonic() + _KEPT_SECONDS, found)
        return found

    def _entities(self, tenant: TenantId) -> dict[str, tuple[str, ...]]:
        if self._features is None:
            return {}
        asked = features_pb2.ListFeatureViewsRequest(tenant=tenant.value)
        stub = self._features
        answer = retrying(lambda: stub.ListFeatureViews(asked, timeout=_DEADLINE_SECONDS))
        return {
            view.name: tuple(parse_spec(FeatureViewSpec, json.loads(view.spec_json)).entity) for view in answer.views
        }

    def table(self, tenant: TenantId, dataset: str) -> SpineTable | None:
        """See the port."""
        asked = ingest_pb2.GetTableRequest(tenant=tenant.value, dataset=dataset)
        try:
            answer = retrying(lambda: self._ingest.GetTable(asked, timeout=_DEADLINE_SECONDS))
        except NotFound:
            return None
        return SpineTable(answer.uri, answer.version, parse_spec(DatasetSpec, json.loads(answer.dataset.spec_json)))
