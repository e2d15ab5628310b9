"""Predictions by entity over gRPC: the twin of POST /v1/models/{model}:predict."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.struct_pb2 import NULL_VALUE, Struct, Value

from services.predictor.api_grpc.tenants import tenant_of_call
from services.predictor.domain.cold import Cold
from services.predictor.domain.explaining import RowExplanation, by_row
from services.predictor.domain.instances import columns_of_instances
from services.predictor.domain.logged import id_texts
from services.predictor.domain.model import Answer, Ask
from services.predictor.domain.naming import HostNames
from services.predictor.domain.ports import Observer
from services.predictor.domain.predict import Predictor
from services.predictor.domain.quotas import Quota, Quotas
from tenon.api.predictor.v1 import predictor_pb2 as pb
from tenon.api.predictor.v1 import predictor_pb2_grpc
from tenon.core.errors import Invalid, Place, TenonError
from tenon.core.tenancy import TenantId
from tenon.kit import context

_MAX_ID = 256
_EXACT = 2**53


class PredictionServicer(predictor_pb2_grpc.PredictionServiceServicer):
    """Translates and calls the one use case."""

    def __init__(
        self, predictor: Predictor, observer: Observer, hosts: HostNames | None = None, quotas: Quotas | None = None
    ) -> None:
        self._predictor = predictor
        self._hosts = hosts
        self._quotas = quotas or Quotas(Quota())
        self._observer = observer

    def Predict(self, request: pb.PredictRequest, call: grpc.ServicerContext) -> pb.PredictResponse:
        """Predictions, in the order of the instances."""
        named = ""
        try:
            tenant = tenant_of_call(call, request.tenant, self._hosts)
            named = tenant.value
            with self._quotas.admitted(tenant) as used:
                rows, answers = self._answers(tenant, request, call)
                used.count = rows
        except TenonError as err:
            self._observer.refused(named, "grpc", err.reason)
            raise
        predictions: list[Any] = [None] * rows
        for answer in answers:
            places = range(rows) if answer.rows is None else answer.rows.tolist()
            scores, ids = answer.scores.tolist(), id_texts(answer.ids)
            explained = by_row(answer.served, answer.explained, len(scores)) if answer.explained is not None else None
            threshold = answer.served.threshold
            for index, place in enumerate(places):
                interval = answer.interval_of(index, scores[index])
                footing = answer.footings.at(index) if answer.footings is not None else None
                predictions[place] = pb.Prediction(
                    prediction_id=ids[index],
                    value=scores[index],
                    model_version=answer.served.version,
                    role=answer.role.value,
                    feature_age_seconds=answer.age_of(index),
                    fallback=answer.fallback if footing is None else footing.lost,
                    interval=None
                    if interval is None
                    else pb.Interval(low=interval[0], high=interval[1], coverage=interval[2]),
                    label=None if threshold is None else scores[index] >= threshold,
                    explanation=None if explained is None else _explanation(explained[index]),
                    fallback_level="" if footing is None else footing.level.value,
                    fallback_reason="" if footing is None else footing.reason,
                )
        return pb.PredictResponse(model=request.model, tenant=named, predictions=predictions)

    def _answers(
        self, tenant: TenantId, request: pb.PredictRequest, call: grpc.ServicerContext
    ) -> tuple[int, list[Answer]]:
        """(rows, answers) of a request."""
        if len(request.request_id) > _MAX_ID:
            raise Invalid(
                "ID_INVALID", f"`request_id` has at most {_MAX_ID} characters", place=Place(field="request_id")
            )
        instances = [
            {"entity": _plain(instance.entity), "features": _plain(instance.features)} for instance in request.instances
        ]
        rows, columns, partial = columns_of_instances(instances)
        request_id = request.request_id or context.request_id.get()
        ask = Ask(request.model, None, "grpc", request_id, rows, columns, split_rows=True, partial=partial)
        ask.explain = request.explain
        try:
            answers = self._predictor.predict(tenant, ask)
        except Cold as cold:
            answers = self._predictor.patience.until(
                cold, lambda: self._predictor.predict(tenant, ask), seconds=call.time_remaining()
            )
        return rows, answers


def _explanation(row: RowExplanation | None) -> pb.Explanation | None:
    if row is None:
        return None
    message = pb.Explanation(space=row.space, base=row.base, margin=row.margin)
    for part in row.contributions:
        message.contributions.add(column=part.column, value=_as_value(part.value), contribution=part.contribution)
    return message


def _as_value(value: Any) -> Value:
    if value is None:
        return Value(null_value=NULL_VALUE)
    if isinstance(value, bool):
        return Value(bool_value=value)
    return Value(string_value=value) if isinstance(value, str) else Value(number_value=value)


def _plain(struct: Struct) -> dict[str, Any]:
    return {name: _value(value) for name, value in struct.fields.items()}


def _value(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        # A Struct knows only doubles; whole ones become integers again, so that both doors say and mean the same.
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= _EXACT else number
    if kind == "string_value":
        return value.string_value
    if kind == "bool_value":
        return value.bool_value
    # What is nested is refused below with the column's name; here it only has to stay what it is.
    return {"struct_value": {}, "list_value": []}.get(kind or "")
