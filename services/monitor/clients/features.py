"""Values as the training path has them, from the features service."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tenon.api.features.v1 import features_pb2 as pb
from tenon.api.features.v1 import features_pb2_grpc
from tenon.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import grpc

    from tenon.core.tenancy import TenantId


class FeatureValues:
    """See `domain.skew_words.TrainedValues`."""

    def __init__(self, channel: grpc.Channel, *, deadline_seconds: float = 60.0) -> None:
        self._stub = features_pb2_grpc.FeatureServiceStub(channel)
        self._deadline = deadline_seconds

    def recompute(
        self, tenant: TenantId, digests: Mapping[str, str], views: Sequence[str],
        rows: Sequence[tuple[Mapping[str, str], int]], *, as_of: int | None = None, commits_before: int = 0,
    ) -> Mapping[str, Sequence[float | str | None]]:  # fmt: skip
        """One call; not tried again, since the next round does."""
        request = pb.GetHistoricalFeaturesRequest(
            tenant=tenant.value, views=views, commits_before=commits_before,
            view_digests={view: digests[view] for view in views if view in digests},
        )  # fmt: skip
        for keys, at in rows:
            request.rows.add(keys=keys).at.FromMicroseconds(at)
        if as_of is not None:
            request.as_of.FromMicroseconds(as_of)
        answer = self._stub.GetHistoricalFeatures(request, timeout=self._deadline)
        if len(answer.values) != 8 * len(rows) * len(answer.features):
            raise Unavailable("FEATURES_ANSWER_INVALID", "features did not give one value for each feature and row")
        values = np.frombuffer(answer.values, "<f8").reshape(len(answer.features), len(rows)).tolist()
        found: dict[str, Sequence[float | str | None]] = dict(zip(answer.features, values, strict=True))
        for place in answer.text_features:
            name = answer.features[place]
            found[name] = [None if math.isnan(value) else answer.texts[int(value)] for value in values[place]]
        return found
