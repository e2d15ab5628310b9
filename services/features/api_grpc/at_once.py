"""Usual lookups, answered where they are read: packed, of a few rows, by a caller who was known a moment ago, from a Redis
that is near. None for all others: the servicer then does everything, refusals included; the answers say what its own would."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from services.features.api_grpc.asked import asked_rows
from services.features.domain.look_up_online import LookUpOnline, ViewColumns
from services.features.domain.texts import text_places
from tenon.api.features.v1 import features_pb2 as pb
from tenon.core.errors import TenonError
from tenon.core.tenancy import Scope, TenantId
from tenon.kit.auth import RecentCallers

MOST_BYTES = 64 << 10
MOST_ROWS = 200
_NEAR_SECONDS = 0.0005
_REST_SECONDS = 1.0
_LOOK_AGAIN = 100
_MOST_HEADS = 1000
_VALUES, _STATUSES, _KNOWN = b"\x0a", b"\x12", b"\x1a"
_COLUMNS = b"\x22"


class LookUpAtOnce:
    """See `tenon.kit.grpc_inline.AtOnce`. Nothing may wait here for long: `online` must give up within some tens of
    milliseconds, and after it did, or while `distance` says that Redis is far, lookups go to threads of their own."""

    def __init__(
        self, online: LookUpOnline, callers: RecentCallers, now: Callable[[], int], distance: Callable[[], float]
    ) -> None:  # fmt: skip
        self._online, self._callers, self._now, self._distance = online, callers, now, distance
        self._heads: dict[tuple[Any, ...], bytes] = {}
        self._resting_until = 0.0
        self._far = 0

    def __call__(self, data: bytes, metadata: Sequence[tuple[str, Any]]) -> bytes | None:
        """The answer's bytes."""
        if len(data) > MOST_BYTES or time.monotonic() < self._resting_until:
            return None
        if self._distance() > _NEAR_SECONDS:
            # One in some finds out whether it is still so.
            self._far += 1
            if self._far % _LOOK_AGAIN:
                return None
        shown = ""
        for key, value in metadata:
            if key == "authorization":
                shown = value
            elif key in ("traceparent", "x-api-key"):
                return None
        principal = self._callers.find(shown.encode("latin-1", "replace")) if shown else None
        if principal is None:
            return None
        try:
            request = pb.GetOnlineFeaturesRequest.FromString(data)
            if not request.packed or len(request.rows) > MOST_ROWS:
                return None
            tenant = TenantId(request.tenant)
            principal.require(tenant, Scope.PREDICT)
            rows = asked_rows(request, self._now())
            if len(rows) > MOST_ROWS:
                return None
            digests = dict(request.view_digests) if request.view_digests else None
            return self._packed(self._online.look_up_columns(tenant, list(request.views), rows, digests))
        except DecodeError:
            return None
        except TenonError as err:
            if err.reason == "REDIS_UNAVAILABLE":
                self._resting_until = time.monotonic() + _REST_SECONDS
            return None

    def _packed(self, views: Sequence[ViewColumns]) -> bytes:
        """The message as it goes over the wire; what is the same in every answer is made once."""
        asked = tuple((view.plan.digest, view.plan.view, view.newest_event) for view in views)
        head = self._heads.get(asked)
        if head is None:
            if len(self._heads) > _MOST_HEADS:
                self._heads.clear()
            until = [0 if view.newest_event is None else view.newest_event for view in views]
            message = pb.GetOnlineFeaturesResponse(
                features=[feature.reference for view in views for feature in view.plan.features],
                text_features=text_places([view.plan for view in views]),
            )
            for moment in until:
                message.data_until.add().FromMicroseconds(moment)
            head = self._heads[asked] = message.SerializeToString()
        parts: list[Any] = [head, _COLUMNS, b""]
        whole = 0
        for tag, items in (
            (_VALUES, [view.answer.values.astype("<f8", copy=False) for view in views]),
            (_STATUSES, [view.answer.statuses for view in views]),
            (_KNOWN, [view.answer.known.astype("<i8", copy=False) for view in views]),
        ):
            if size := sum([item.nbytes for item in items]):
                parts += [tag, _varint(size), *items]
                whole += size + len(parts[-len(items) - 1]) + 1
        parts[2] = _varint(whole)
        if texts := views[0].texts.texts:
            parts.append(pb.GetOnlineFeaturesResponse(texts=texts).SerializeToString())
        return b"".join(parts)


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)
