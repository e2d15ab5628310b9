"""Answers what can be answered at once, for whoever has a whole request in hand: the HTTP protocol, or the ASGI door.

None is always an answer: then nothing has happened yet, and `PredictDoor` does everything, refusals included.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from msgspec import UNSET

from services.predictor.api_http import codec, json_body
from services.predictor.api_http.admission import Admission
from services.predictor.api_http.at_once import Request, matrix_of, read, row_of, row_of_features, template_of
from services.predictor.api_http.callers import authorization_of, tenant_of
from services.predictor.api_http.paths import Path
from services.predictor.domain.instances import columns_of_instances
from services.predictor.domain.model import Answer, Ask
from services.predictor.domain.naming import HostNames
from services.predictor.domain.predict import Predictor
from services.predictor.domain.quotas import Quota, Quotas
from services.predictor.domain.turns import Turns
from tenon.core.errors import TenonError
from tenon.core.tenancy import TenantId
from tenon.kit import context
from tenon.kit.auth import RecentCallers
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)
HEAVY_BYTES = 64 << 10
_NOTHING = memoryview(b"")
_PREDICT_KEYS = {"instances", "request_id"}


class Reply(NamedTuple):
    """A 200."""

    body: bytes
    json_bytes: int | None
    """How long its JSON part is when tensors follow."""
    request_id: str
    rows: int = 1


class QuickDoor:
    """See the module."""

    def __init__(
        self,
        predictor: Predictor,
        callers: RecentCallers,
        admission: Admission | None = None,
        *,
        inline_rows: int,
        hosts: HostNames | None = None,
    ) -> None:
        self._hosts = hosts
        self.admission = admission or Admission(Quotas(Quota()), Turns())
        self._quotas = self.admission.quotas
        self._turns = self.admission.turns
        self._predictor = predictor
        self._at_once = predictor.at_once
        self._callers = callers
        self._inline_rows = inline_rows

    def caller(self, path: Path, headers: Mapping[bytes, bytes]) -> TenantId | None:
        """Whose request it is, when that is known at once."""
        authorization = authorization_of(headers)
        principal = None if authorization is None else self._callers.find(authorization)
        if principal is None:
            return None
        try:
            return tenant_of(principal, path, headers, self._hosts)
        except TenonError:
            return None

    def answer(
        self, path: Path, headers: Mapping[bytes, bytes], body: bytes, tenant: TenantId | None = None
    ) -> Reply | None:
        """The whole answer to a request, of this tenant if it is known already."""
        if b"content-encoding" in headers or b"traceparent" in headers:
            return None
        if tenant is None:
            tenant = self.caller(path, headers)
            if tenant is None:
                return None
            self._turns.seen(tenant.value)
        meter = self._quotas.of(tenant)
        if meter is not None and meter.refusal() is not None:
            return None
        given = headers.get(b"x-request-id")
        request_id = context.new_request_id() if given is None else context.accept_request_id(given.decode("latin-1"))
        length = headers.get(b"inference-header-content-length")
        try:
            if path.kind == "predict":
                reply = self.predict(tenant, path, body, request_id)
            else:
                reply = self.infer(tenant, path, body, None if length is None else length.decode("latin-1"), request_id)
        except TenonError:
            return None
        except Exception:
            # A door: the long way will most likely fail as well, and answers for it.
            log.exception("the quick way failed")
            return None
        if meter is not None and reply is not None:
            meter.take(reply.rows)
        return reply

    def infer(self, tenant: TenantId, path: Path, body: bytes, length: str | None, request_id: str) -> Reply | None:
        """An inference request of a caller who may ask."""
        if len(body) > HEAVY_BYTES:
            return None
        started = time.perf_counter()
        tail = _NOTHING
        if length is not None:
            if not length.isdecimal() or int(length) > len(body):
                return None
            body, tail = body[: int(length)], memoryview(body)[int(length) :]
        request = read(body)
        if request is None:
            return None
        key = request.id or request_id
        route = self._at_once.route(tenant, path.model, path.version, key)
        if route is None:
            return None
        inputs, is_binary = request.inputs, _is_binary(request)
        if not len(tail):
            row = row_of(route.layout, inputs)
        elif len(inputs) == 1 and inputs[0].shape == [1, len(route.layout.fields)] and not route.layout.text_names:
            matrix = matrix_of(inputs[0], tail)
            row = None if matrix is None else route.layout.row(matrix[0].astype(np.float64).tolist(), [])
        else:
            row = None
        named = None if request.id is UNSET else request.id
        if row is not None:
            score, raw, text = self._at_once.answer(route, "rest", key, row, started)
            served, role = route.serving
            if not is_binary:
                return Reply(template_of(served, role).row(score, text, named), None, request_id)
            answer = Answer(served, role, None, np.array([score]), raw, (), None)
            wanted = codec.Wanted([], {}, True, named)
            return Reply(*codec.render_infer(answer, wanted), request_id)
        return self._matrix(tenant, path, request, tail, named, request_id)

    def predict(self, tenant: TenantId, path: Path, body: bytes, request_id: str) -> Reply | None:
        """Instances by entity, of a model that looks no history up, for a caller who may ask."""
        if len(body) > HEAVY_BYTES or self._predictor.table.find(tenant, path.model).stable.views:
            return None
        started = time.perf_counter()
        request = json_body.load(body, HEAVY_BYTES)
        if not request.keys() <= _PREDICT_KEYS:
            return None
        given = request.get("request_id")
        if given is not None and (type(given) is not str or len(given) > codec.MAX_ID):
            return None
        instances, key = request.get("instances"), given or request_id
        reply = self._features(tenant, path.model, instances, key, started)
        if reply is not None:
            return Reply(reply, None, request_id)
        rows, columns, partial = columns_of_instances(instances)
        if rows > self._inline_rows:
            return None
        plan = self._predictor.plan(
            tenant, Ask(path.model, None, "rest", key, rows, columns, split_rows=True, partial=partial)
        )
        if plan.waits:
            return None
        answers = self._predictor.answer(plan)
        return Reply(codec.render_entities(path.model, tenant.value, key, rows, answers), None, request_id, rows)

    def _features(self, tenant: TenantId, model: str, instances: Any, key: str, started: float) -> bytes | None:
        """One instance with nothing but features, of a model whose answers say no more than their value."""
        if type(instances) is not list or len(instances) != 1:
            return None
        (instance,) = instances
        if type(instance) is not dict or instance.keys() != {"features"} or type(instance["features"]) is not dict:
            return None
        route = self._at_once.route(tenant, model, None, key)
        if route is None:
            return None
        served, role = route.serving
        if served.interval is not None or served.threshold is not None:
            return None
        row = row_of_features(route.layout, instance["features"])
        if row is None:
            return None
        score, _, text = self._at_once.answer(route, "rest", key, row, started)
        return codec.render_value(served, role, key, score, text)

    def _matrix(
        self, tenant: TenantId, path: Path, request: Request, tail: memoryview, named: str | None, request_id: str
    ) -> Reply | None:
        if len(request.inputs) != 1:
            return None
        matrix = matrix_of(request.inputs[0], tail)
        if matrix is None or not 1 < len(matrix) <= self._inline_rows:
            return None
        ask = Ask(path.model, path.version, "rest", named or request_id, len(matrix), {}, matrix)
        plan = self._predictor.plan(tenant, ask)
        if plan.waits:
            return None
        answer = self._predictor.answer(plan)[0]
        if _is_binary(request) or answer.fallback or answer.feature_ages is not None:
            wanted = codec.Wanted([], {}, _is_binary(request), named)
            return Reply(*codec.render_infer(answer, wanted), request_id, len(matrix))
        return Reply(template_of(answer.served, answer.role).rows(answer.scores, named), None, request_id, len(matrix))


def _is_binary(request: Request) -> bool:
    parameters = request.parameters
    return parameters is not UNSET and parameters.get("binary_data_output") is True
