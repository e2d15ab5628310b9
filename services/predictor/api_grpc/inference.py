"""The Open Inference Protocol over gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np

import tenon
from services.predictor.api_grpc.repository import RepositoryCalls
from services.predictor.api_grpc.tenants import tenant_of_call
from services.predictor.domain import tensors
from services.predictor.domain.cold import Cold
from services.predictor.domain.explaining import CONTRIBUTIONS, as_tensor
from services.predictor.domain.logged import id_texts
from services.predictor.domain.model import Answer, Ask, Entry, Serving, Values
from services.predictor.domain.naming import HostNames
from services.predictor.domain.ports import Observer
from services.predictor.domain.predict import Predictor
from services.predictor.domain.quotas import Quota, Quotas, Rows
from services.predictor.domain.repository import Repository
from services.predictor.domain.tensors import Tensor
from tenon.api.inference.v2 import inference_pb2 as pb
from tenon.core.errors import Invalid, Place, TenonError
from tenon.core.tenancy import TenantId
from tenon.kit import context

_FIELD = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_MAX_INPUTS = 2000
_MAX_ID = 256
EXTENSIONS = ("model_repository", "statistics")


class InferenceServicer(RepositoryCalls):
    """Translates and calls the one use case."""

    def __init__(
        self,
        predictor: Predictor,
        observer: Observer,
        ready: Callable[[], dict[str, str]],
        repository: Repository,
        hosts: HostNames | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self._quotas = quotas or Quotas(Quota())
        self._predictor = predictor
        self._hosts = hosts
        self._repository = repository
        self._observer = observer
        self._ready = ready

    def ServerLive(self, request: Any, call: grpc.ServicerContext) -> pb.ServerLiveResponse:
        """Whether the process answers."""
        return pb.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, call: grpc.ServicerContext) -> pb.ServerReadyResponse:
        """Whether every model that must be served is."""
        return pb.ServerReadyResponse(ready=not self._ready())

    def ServerMetadata(self, request: Any, call: grpc.ServicerContext) -> pb.ServerMetadataResponse:
        """Name and version."""
        return pb.ServerMetadataResponse(name="tenon", version=tenon.__version__, extensions=EXTENSIONS)

    def ModelReady(self, request: pb.ModelReadyRequest, call: grpc.ServicerContext) -> pb.ModelReadyResponse:
        """Whether a model answers; NOT_FOUND when there is none."""
        tenant = tenant_of_call(call, hosts=self._hosts)
        self._find(tenant, request.name, request.version)
        return pb.ModelReadyResponse(ready=True)

    def ModelMetadata(self, request: pb.ModelMetadataRequest, call: grpc.ServicerContext) -> pb.ModelMetadataResponse:
        """What a model takes and gives."""
        tenant = tenant_of_call(call, hosts=self._hosts)
        entry, serving = self._find(tenant, request.name, request.version)
        served = serving.served
        meta = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name=served.model,
            versions=[str(item.served.version) for item in entry.answering()],
            platform=served.engine.replace("-", "_"),
            inputs=[
                meta(name=name, datatype=kind, shape=shape) for name, kind, shape in tensors.metadata_of(served.columns)
            ],
            outputs=[
                meta(name=served.output, datatype="FP64", shape=[-1]),
                meta(name=tensors.PREDICTION_ID, datatype="BYTES", shape=[-1]),
            ],
        )

    def _find(self, tenant: TenantId, model: str, version: str) -> tuple[Entry, Serving]:
        table = self._predictor.table

        def look() -> tuple[Entry, Serving]:
            entry = table.find(tenant, model)
            return entry, table.find_version(tenant, model, version) if version else entry.lead

        try:
            return look()
        except Cold as cold:
            return self._predictor.patience.until(cold, look)

    def ModelInfer(self, request: pb.ModelInferRequest, call: grpc.ServicerContext) -> pb.ModelInferResponse:
        """Predictions."""
        named = ""
        try:
            tenant = tenant_of_call(call, hosts=self._hosts)
            named = tenant.value
            with self._quotas.admitted(tenant) as used:
                answer, wanted = self._answer(tenant, request, call, used)
        except TenonError as err:
            self._observer.refused(named, "grpc", err.reason)
            raise
        return _response(answer, wanted, request.id, raw=len(request.raw_input_contents) > 0)

    def _answer(
        self, tenant: TenantId, request: pb.ModelInferRequest, call: grpc.ServicerContext, used: Rows
    ) -> tuple[Answer, list[str]]:
        """The answer to a request that is let in, and the outputs to send."""
        ask = _ask(request)
        used.count = ask.rows
        if "explain" in request.parameters:
            ask.explain = request.parameters["explain"].bool_param
        try:
            plan = self._predictor.plan(tenant, ask)
        except Cold as cold:
            plan = self._predictor.patience.until(
                cold, lambda: self._predictor.plan(tenant, ask), seconds=call.time_remaining()
            )
        names = [output.name for output in request.outputs if not (ask.explain and output.name == CONTRIBUTIONS)]
        wanted = tensors.check_outputs(names, plan.parts[0].serving.served.output)
        if plan.waits:
            self._predictor.look_up(plan)
        return self._predictor.answer(plan)[0], wanted


def _ask(request: pb.ModelInferRequest) -> Ask:
    inputs, raw = request.inputs, request.raw_input_contents
    if len(inputs) > _MAX_INPUTS:
        raise Invalid("REQUEST_INVALID", f"the request has {len(inputs)} inputs, at most {_MAX_INPUTS} are read")
    if raw and len(raw) != len(inputs):
        raise Invalid("DATA_SIZE", f"there are {len(inputs)} inputs, but {len(raw)} raw contents")
    if len(request.id) > _MAX_ID:
        raise Invalid("ID_INVALID", f"`id` has at most {_MAX_ID} characters", place=Place(field="id"))
    found = []
    for index, item in enumerate(inputs):
        if not item.name:
            raise Invalid("INPUT_NAME_MISSING", f"input {index} has no name", place=Place(field="inputs"))
        datatype = tensors.check_datatype(item.name, item.datatype)
        if datatype == tensors.BYTES and "content_type" in item.parameters:
            tensors.check_content_type(item.name, item.parameters["content_type"].string_param)
        rows, width = tensors.check_shape(item.name, list(item.shape))
        if raw:
            if item.HasField("contents") and item.contents.ByteSize():
                raise tensors.refuse(item.name, "DATA_TWICE", "it has both raw and typed contents")
            found.append(tensors.from_raw(item.name, datatype, rows, width, raw[index]))
        else:
            found.append(Tensor(item.name, rows, width, _typed(item, datatype, rows * width)))
    rows, columns, matrix = tensors.columns_of(found)
    request_id = request.id or context.request_id.get()
    return Ask(request.model_name, request.model_version or None, "grpc", request_id, rows, columns, matrix)


def _typed(item: Any, datatype: str, count: int) -> Values:
    field = _FIELD.get(datatype)
    if field is None:
        raise tensors.refuse(item.name, "DATATYPE_RAW_ONLY", f"{datatype} can only be sent raw")
    values = getattr(item.contents, field)
    if len(values) != count:
        raise tensors.refuse(
            item.name,
            "DATA_SIZE",
            f"the shape says {count} values, `{field}` (the field of {datatype}) has {len(values)}",
        )
    if len(item.contents.ListFields()) > 1:
        raise tensors.refuse(item.name, "DATA_TWICE", f"it has values in `{field}` and in another field")
    if datatype == "BYTES":
        return tensors.text_elements(item.name, values)
    dtype = tensors.DTYPES[datatype]
    if field in ("int_contents", "uint_contents") and dtype.itemsize < 4:
        limits = np.iinfo(dtype)
        for row, value in enumerate(values):
            if not limits.min <= value <= limits.max:
                raise tensors.refuse(item.name, "VALUE_RANGE", f"row {row}: {value} does not fit {datatype}")
    return np.array(values, dtype)


def _response(answer: Answer, wanted: list[str], request_id: str, *, raw: bool) -> pb.ModelInferResponse:
    served, rows = answer.served, len(answer.scores)
    response = pb.ModelInferResponse(model_name=served.model, model_version=str(served.version), id=request_id)
    parameters = response.parameters
    parameters["tenant"].string_param = served.tenant.value
    parameters["version"].string_param = str(served.version)
    parameters["role"].string_param = answer.role.value
    if rows == 1:
        parameters["prediction_id"].string_param = id_texts(answer.ids)[0]
    if answer.feature_age_seconds is not None:
        # Text, because half of the clients know no double parameter.
        parameters["feature_age_seconds"].string_param = repr(answer.feature_age_seconds)
    if answer.fallback:
        parameters["fallback"].string_param = ",".join(answer.fallback)
    if answer.footings is not None:
        worst = answer.footings.worst
        parameters["fallback_level"].string_param = worst.level.value
        if worst.reason:
            parameters["fallback_reason"].string_param = worst.reason
    for name in wanted:
        is_id = name == tensors.PREDICTION_ID
        output = response.outputs.add(name=name, datatype="BYTES" if is_id else "FP64", shape=[rows])
        if raw:
            data = tensors.join_bytes(id_texts(answer.ids)) if is_id else answer.scores.astype("<f8").tobytes()
            response.raw_output_contents.append(data)
        elif is_id:
            output.contents.bytes_contents.extend(text.encode() for text in id_texts(answer.ids))
        else:
            output.contents.fp64_contents.extend(answer.scores.tolist())
    if answer.explained is not None:
        matrix, said = as_tensor(answer.explained, rows)
        output = response.outputs.add(name=CONTRIBUTIONS, datatype="FP64", shape=matrix.shape)
        for name, text in said.items():
            output.parameters[name].string_param = text
        if raw:
            response.raw_output_contents.append(matrix.astype("<f8").tobytes())
        else:
            output.contents.fp64_contents.extend(matrix.ravel().tolist())
    return response
