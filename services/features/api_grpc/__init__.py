"""The gRPC door: translates, calls the use cases, translates back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.features.api_grpc.asked import asked_rows, micros_of
from services.features.domain.build_training_set import BuildTrainingSet
from services.features.domain.define_views import DefineViews
from services.features.domain.look_up_online import LookUpOnline, ViewColumns
from services.features.domain.model import EntityKeys, View
from services.features.domain.push_events import PushEvents
from services.features.domain.recompute import Recompute
from services.features.domain.texts import text_places
from tenon.api.features.v1 import features_pb2 as pb
from tenon.api.features.v1 import features_pb2_grpc
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import Scope
from tenon.kit.grpc import allowed_tenant

_MICROS = 1_000_000


class FeatureServicer(features_pb2_grpc.FeatureServiceServicer):
    """See proto/tenon/api/features/v1/features.proto."""

    def __init__(
        self,
        views: DefineViews,
        training: BuildTrainingSet,
        online: LookUpOnline,
        recompute: Recompute,
        pushing: PushEvents,
        now: Callable[[], int],
    ) -> None:
        self._views, self._training, self._online, self._now = views, training, online, now
        self._recompute, self._pushing = recompute, pushing

    def GetFeatureView(
        self,
        request: pb.GetFeatureViewRequest,
        context: grpc.ServicerContext,
    ) -> pb.GetFeatureViewResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        return pb.GetFeatureViewResponse(view=_view(self._views.get(tenant, request.view)))

    def ListFeatureViews(
        self,
        request: pb.ListFeatureViewsRequest,
        context: grpc.ServicerContext,
    ) -> pb.ListFeatureViewsResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        return pb.ListFeatureViewsResponse(views=[_view(view) for view in self._views.list(tenant)])

    def BuildTrainingSet(
        self,
        request: pb.BuildTrainingSetRequest,
        context: grpc.ServicerContext,
    ) -> pb.BuildTrainingSetResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.WRITE)
        as_of = micros_of(request.as_of, "as_of") if request.HasField("as_of") else None
        made = self._training.build(tenant, request.spine, list(request.columns), list(request.views), as_of)
        return pb.BuildTrainingSetResponse(
            uri=made.uri,
            rows=made.rows,
            fingerprint=made.fingerprint,
            file_sha256=made.file_sha256,
            dataset_versions=made.dataset_versions,
            view_digests=made.view_digests,
        )

    def GetOnlineFeatures(
        self,
        request: pb.GetOnlineFeaturesRequest,
        context: grpc.ServicerContext,
    ) -> pb.GetOnlineFeaturesResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.PREDICT)
        rows = asked_rows(request, self._now())
        digests = dict(request.view_digests)
        if request.packed:
            return _packed(self._online.look_up_columns(tenant, list(request.views), rows, digests))
        answer = self._online.look_up_asked(tenant, list(request.views), rows, digests)
        return pb.GetOnlineFeaturesResponse(
            features=answer.features,
            rows=[
                pb.FeatureRow(
                    values=row.values,
                    statuses=[status.value for status in row.statuses],  # type: ignore[misc]
                    known_until=[_timestamp(known) for known in row.known_until],
                )
                for row in answer.rows
            ],
            data_until=[_timestamp(until) for until in answer.data_until],
            text_features=answer.text_features,
            texts=answer.texts,
        )

    def GetHistoricalFeatures(
        self,
        request: pb.GetHistoricalFeaturesRequest,
        context: grpc.ServicerContext,
    ) -> pb.GetHistoricalFeaturesResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.PREDICT)
        now = self._now()
        rows = [
            EntityKeys(dict(row.keys), micros_of(row.at, f"rows.{index}.at") if row.HasField("at") else now)
            for index, row in enumerate(request.rows)
        ]
        found = self._recompute(
            tenant, list(request.views), rows, dict(request.view_digests),
            as_of=micros_of(request.as_of, "as_of") if request.HasField("as_of") else None,
            commits_before=request.commits_before,
        )  # fmt: skip
        return pb.GetHistoricalFeaturesResponse(
            features=found.features,
            values=found.values.astype("<f8", copy=False).tobytes(),
            table_versions=found.table_versions,
            text_features=found.text_features,
            texts=found.texts,
        )

    def PushEvents(self, request: pb.PushEventsRequest, context: grpc.ServicerContext) -> pb.PushEventsResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.WRITE)
        rows = [_row(data, index) for index, data in enumerate(request.rows)]
        made = self._pushing.push(tenant, request.dataset, rows)
        return pb.PushEventsResponse(accepted=made.accepted, known=made.known, views=made.views)


def _row(data: bytes, index: int) -> dict[str, Any]:
    try:
        row = json.loads(data)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise Invalid("PUSHED_ROW_INVALID", f"rows.{index} is not a JSON object", place=Place(field=f"rows.{index}"))
    return row


def _packed(views: Sequence[ViewColumns]) -> pb.GetOnlineFeaturesResponse:
    return pb.GetOnlineFeaturesResponse(
        features=[feature.reference for view in views for feature in view.plan.features],
        data_until=[_timestamp(view.newest_event) for view in views],
        text_features=text_places([view.plan for view in views]),
        texts=views[0].texts.texts,
        columns=pb.PackedFeatures(
            values=b"".join(view.answer.values.astype("<f8", copy=False).tobytes() for view in views),
            statuses=b"".join(view.answer.statuses.tobytes() for view in views),
            known_until=b"".join(view.answer.known.astype("<i8", copy=False).tobytes() for view in views),
        ),
    )


def _view(view: View) -> pb.FeatureView:
    return pb.FeatureView(
        tenant=view.tenant.value,
        name=view.name,
        revision=view.revision,
        spec_json=json.dumps(view.spec.canonical(), sort_keys=True).encode(),
        digest=view.digest,
    )


def _timestamp(micros: int | None) -> Timestamp:
    # A repeated field has no unset entries: an empty timestamp (1970) stands for "nothing counts".
    return Timestamp() if micros is None else Timestamp(seconds=micros // _MICROS, nanos=micros % _MICROS * 1000)
