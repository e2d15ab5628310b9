"""Training sets: asked for by gRPC, read from the blob store."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import grpc
import polars as pl

from services.trainer.domain.ports import TrainingSet
from tenon.api.features.v1 import features_pb2, features_pb2_grpc
from tenon.core.errors import NotFound, Unavailable
from tenon.core.tenancy import TenantId
from tenon.kit.blobs import BlobStore

BUILD_SECONDS = 600.0


class FeaturesTrainingSets:
    """See `TrainingSets`."""

    def __init__(self, features: grpc.Channel, blobs: BlobStore) -> None:
        self._features = features_pb2_grpc.FeatureServiceStub(features)
        self._blobs = blobs

    def build(self, tenant: TenantId, spine: str, columns: Sequence[str], views: Sequence[str]) -> TrainingSet:
        """See `TrainingSets`."""
        request = features_pb2.BuildTrainingSetRequest(tenant=tenant.value, spine=spine, columns=columns, views=views)
        # Not retried here: it is expensive, and the run as a whole is tried again when features was not reachable.
        answer = self._features.BuildTrainingSet(request, timeout=BUILD_SECONDS)
        return TrainingSet(
            uri=answer.uri,
            rows=answer.rows,
            fingerprint=answer.fingerprint,
            file_sha256=answer.file_sha256,
            dataset_versions=dict(answer.dataset_versions),
            view_digests=dict(answer.view_digests),
        )

    def read(self, tenant: TenantId, training_set: TrainingSet) -> pl.DataFrame:  # noqa: ARG002 - the URI is the tenant's
        """See `TrainingSets`."""
        try:
            data = self._blobs.get_bytes(self._blobs.key(training_set.uri))
        except NotFound as err:
            raise Unavailable("TRAINING_SET_MISSING", f"the training set at {training_set.uri} is not there") from err
        except ValueError as err:
            raise Unavailable(
                "TRAINING_SET_ELSEWHERE",
                f"the training set at {training_set.uri} is outside this service's blob store",
                hint="give trainer and features the same TENON_BLOB_URL",
            ) from err
        if hashlib.sha256(data).hexdigest() != training_set.file_sha256:
            raise Unavailable(
                "TRAINING_SET_CHANGED", f"the training set at {training_set.uri} is not the file that features promised"
            )
        return pl.read_parquet(io.BytesIO(data))
