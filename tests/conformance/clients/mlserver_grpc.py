"""MLServer's codecs, converters and stubs over gRPC: what they encode is asked, what is answered they decode."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pandas as pd
from mlserver.codecs import Base64Codec, NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc import dataplane_pb2_grpc
from mlserver.grpc.converters import (
    ModelInferRequestConverter,
    ModelInferResponseConverter,
    ModelMetadataResponseConverter,
    ServerMetadataResponseConverter,
)
from mlserver.types import InferenceRequest, InferenceResponse, RequestOutput

from tests.conformance.clients.reporting import capability, contains, main, refused, same


def ask(facts: dict[str, Any], method: str, request: Any, key: str | None = None) -> Any:
    """One call over a channel of its own."""
    metadata = [
        ("authorization", f"Bearer {facts['key'] if key is None else key}"),
        ("x-tenon-tenant", facts["tenant"]),
    ]
    with grpc.insecure_channel(f"127.0.0.1:{facts['grpc']}") as channel:
        stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
        return getattr(stub, method)(request, metadata=metadata, timeout=60)


def infer(
    facts: dict[str, Any], model: str, request: InferenceRequest, version: str = "", *, raw: bool = False
) -> InferenceResponse:
    """An answer in MLServer's types."""
    asked = ModelInferRequestConverter.from_types(request, model_name=model, model_version=version, use_raw=raw)
    return ModelInferResponseConverter.to_types(ask(facts, "ModelInfer", asked))


def frame(facts: dict[str, Any]) -> pd.DataFrame:
    """The rows that have every value: this client's typed messages cannot say that one is missing."""
    kinds = {"FP64": float, "INT64": "int64", "BOOL": bool, "BYTES": object}
    return pd.DataFrame(
        {
            name: pd.Series([values[row] for row in facts["whole"]], dtype=kinds[datatype])
            for name, (datatype, values) in facts["columns"].items()
        }
    )


def scores(response: InferenceResponse) -> list[float]:
    """The numbers of an answer, by the codec that MLServer takes where none is named."""
    found: list[float] = NumpyCodec.decode_output(response.outputs[0]).tolist()
    return found


def wanted(facts: dict[str, Any], key: str = "expected") -> list[float]:
    """The answers to `frame`."""
    return [facts[key][row] for row in facts["whole"]]


@capability("health: live, ready, model ready")
def _(facts: dict[str, Any]) -> None:
    same(ask(facts, "ServerLive", pb.ServerLiveRequest()).live, True)
    same(ask(facts, "ServerReady", pb.ServerReadyRequest()).ready, True)
    same(ask(facts, "ModelReady", pb.ModelReadyRequest(name=facts["model"])).ready, True)


@capability("metadata: server, model, version")
def _(facts: dict[str, Any]) -> None:
    server = ServerMetadataResponseConverter.to_types(ask(facts, "ServerMetadata", pb.ServerMetadataRequest()))
    same(server.name, "tenon")
    model = ModelMetadataResponseConverter.to_types(
        ask(facts, "ModelMetadata", pb.ModelMetadataRequest(name=facts["model"]))
    )
    same(
        [(item.name, item.datatype) for item in model.inputs],
        [(name, kind) for name, (kind, _) in facts["columns"].items()],
    )


@capability("repository index")
def _(facts: dict[str, Any]) -> None:
    index = ask(facts, "RepositoryIndex", pb.RepositoryIndexRequest()).models
    same((facts["model"], "1", "READY") in [(item.name, item.version, item.state) for item in index], True)


@capability("repository: load, unload")
def _(facts: dict[str, Any]) -> None:
    ask(facts, "RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name=facts["model"]), key=facts["admin"])
    ask(facts, "RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name=facts["model"]), key=facts["admin"])
    same(ask(facts, "ModelReady", pb.ModelReadyRequest(name=facts["model"])).ready, True)


@capability("a data frame (PandasCodec)")
def _(facts: dict[str, Any]) -> None:
    for raw in (True, False):
        response = infer(facts, facts["model"], PandasCodec.encode_request(frame(facts)), raw=raw)
        same(scores(response), wanted(facts))
        same(PandasCodec.decode_response(response)["probability"].tolist(), wanted(facts))


@capability("a tensor per column, JSON or typed")
def _(facts: dict[str, Any]) -> None:
    inputs = []
    for name, (datatype, values) in facts["columns"].items():
        chosen = [values[row] for row in facts["whole"]]
        if datatype == "BYTES":
            inputs.append(StringCodec.encode_input(name, chosen))
        else:
            kind = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_}[datatype]
            inputs.append(NumpyCodec.encode_input(name, np.array(chosen, kind)))
    same(scores(infer(facts, facts["model"], InferenceRequest(inputs=inputs))), wanted(facts))


@capability("one matrix: FP64, FP32, INT64")
def _(facts: dict[str, Any]) -> None:
    for kind in (np.float64, np.float32, np.int64):
        for raw in (True, False):
            request = NumpyRequestCodec.encode_request(np.array(facts["matrix"]["rows"], kind))
            same(scores(infer(facts, facts["matrix"]["model"], request, raw=raw)), facts["matrix"]["expected"])


@capability("outputs by name; text comes back as BYTES")
def _(facts: dict[str, Any]) -> None:
    for raw in (True, False):
        request = PandasCodec.encode_request(frame(facts))
        request.outputs = [RequestOutput(name="probability"), RequestOutput(name="prediction_id")]
        response = infer(facts, facts["model"], request, raw=raw)
        same(scores(response), wanted(facts))
        ids = StringCodec.decode_output(response.outputs[1])
        same(([len(item) for item in ids], len(set(ids))), ([36] * len(ids), len(facts["whole"])))


@capability("the request's id comes back")
def _(facts: dict[str, Any]) -> None:
    request = PandasCodec.encode_request(frame(facts))
    request.id = "r-1"
    same(infer(facts, facts["model"], request).id, "r-1")


@capability("a version named")
def _(facts: dict[str, Any]) -> None:
    split = facts["split"]
    response = infer(facts, split["model"], PandasCodec.encode_request(frame(facts)), split["version"])
    same((response.model_version, scores(response)), (split["version"], wanted(split | {"whole": facts["whole"]})))


@capability("answers say version, role and prediction id")
def _(facts: dict[str, Any]) -> None:
    parameters = infer(facts, facts["model"], PandasCodec.encode_request(frame(facts).head(1))).parameters
    same((parameters.tenant, parameters.version, parameters.role), (facts["tenant"], "1", "stable"))


@capability("an encoding that would be misread: refused in words")
def _(facts: dict[str, Any]) -> None:
    request = PandasCodec.encode_request(frame(facts))
    request.inputs[-1] = Base64Codec.encode_input(request.inputs[-1].name, [b"north"] * len(facts["whole"]))
    refused(grpc.RpcError, lambda: infer(facts, facts["model"], request), "INVALID_ARGUMENT", "base64")


@capability("refusals in words: key, model, input")
def _(facts: dict[str, Any]) -> None:
    request = PandasCodec.encode_request(frame(facts))
    asked = ModelInferRequestConverter.from_types(request, model_name=facts["model"])
    refused(grpc.RpcError, lambda: ask(facts, "ModelInfer", asked, key="wrong"), "UNAUTHENTICATED")
    refused(grpc.RpcError, lambda: infer(facts, "nothing", request), "NOT_FOUND", "'nothing' is not served")
    half = PandasCodec.encode_request(frame(facts)[["age"]])
    text = refused(grpc.RpcError, lambda: infer(facts, facts["model"], half), "INVALID_ARGUMENT")
    contains(text, "input 'count'")


@capability("stream of inferences: refused in words")
def _(facts: dict[str, Any]) -> str:
    asked = ModelInferRequestConverter.from_types(PandasCodec.encode_request(frame(facts)), model_name=facts["model"])
    metadata = [("authorization", f"Bearer {facts['key']}")]
    with grpc.insecure_channel(f"127.0.0.1:{facts['grpc']}") as channel:
        stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
        refused(
            grpc.RpcError,
            lambda: list(stub.ModelStreamInfer(iter([asked]), metadata=metadata, timeout=60)),
            "UNIMPLEMENTED",
        )
    return "UNIMPLEMENTED"


main()
