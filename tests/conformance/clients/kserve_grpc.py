"""KServe's unmodified `InferenceGRPCClient` (asynchronous; there is no other), and its stubs for what it lacks."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc
from kserve.protocol.infer_type import RequestedOutput

from tests.conformance.clients.reporting import capability, contains, main, same


async def ask(facts: dict[str, Any], method: str, *words: Any, key: str | None = None, **options: Any) -> Any:
    """One call on a client of its own."""
    headers = [("authorization", f"Bearer {facts['key'] if key is None else key}")]
    async with InferenceGRPCClient(f"127.0.0.1:{facts['grpc']}") as client:
        return await getattr(client, method)(*words, headers=headers, **options)


async def refusal(facts: dict[str, Any], *words: Any, **options: Any) -> str:
    """What a call was refused with."""
    try:
        answer = await ask(facts, *words, **options)
    except grpc.RpcError as err:
        return str(err)
    raise AssertionError(f"was not refused but answered {answer!r}")


def columns(facts: dict[str, Any], *, raw: bool, tall: bool = False, rows: list[int] | None = None) -> list[InferInput]:
    """One tensor for each column; missing numbers are NaN."""
    modes = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}
    made = []
    for name, (datatype, values) in facts["columns"].items():
        chosen = [values[row] for row in (range(len(values)) if rows is None else rows)]
        shape = [len(chosen), 1] if tall else [len(chosen)]
        data = [float("nan") if value is None else value for value in chosen]
        if raw:
            item = InferInput(name, shape, datatype)
            item.set_data_from_numpy(np.array(data, modes[datatype]).reshape(shape), binary_data=True)
        else:
            item = InferInput(name, shape, datatype, data)
        made.append(item)
    return made


def request(facts: dict[str, Any], inputs: list[InferInput], model: str = "", **options: Any) -> InferRequest:
    """A request."""
    return InferRequest(model_name=model or facts["model"], infer_inputs=inputs, **options)


def scores(answer: Any, output: str = "probability") -> list[float]:
    """The numbers of an answer."""
    found: list[float] = answer.get_output_by_name(output).as_numpy().tolist()
    return found


@capability("health: live, ready, model ready")
async def _(facts: dict[str, Any]) -> None:
    same(await ask(facts, "is_server_live"), True)
    same(await ask(facts, "is_server_ready"), True)
    same(await ask(facts, "is_model_ready", facts["model"]), True)
    contains(await refusal(facts, "is_model_ready", "nothing"), "NOT_FOUND")


@capability("metadata: server, model, version")
async def _(facts: dict[str, Any]) -> None:
    metadata = [("authorization", f"Bearer {facts['key']}")]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{facts['grpc']}") as channel:
        stub = grpc_predict_v2_pb2_grpc.GRPCInferenceServiceStub(channel)
        server = await stub.ServerMetadata(pb.ServerMetadataRequest(), metadata=metadata)
        same(server.name, "tenon")
        model = await stub.ModelMetadata(pb.ModelMetadataRequest(name=facts["model"]), metadata=metadata)
    same(
        [(item.name, item.datatype) for item in model.inputs],
        [(name, kind) for name, (kind, _) in facts["columns"].items()],
    )


@capability("a tensor per column, binary or raw; NaN is missing")
async def _(facts: dict[str, Any]) -> None:
    for tall in (False, True):
        same(scores(await ask(facts, "infer", request(facts, columns(facts, raw=True, tall=tall)))), facts["expected"])


@capability("a tensor per column, JSON or typed")
async def _(facts: dict[str, Any]) -> None:
    for tall in (False, True):
        same(scores(await ask(facts, "infer", request(facts, columns(facts, raw=False, tall=tall)))), facts["expected"])


@capability("one matrix: FP64, FP32, INT64")
async def _(facts: dict[str, Any]) -> None:
    for datatype, kind in (("FP64", np.float64), ("FP32", np.float32), ("INT64", np.int64)):
        for raw in (True, False):
            values = np.array(facts["matrix"]["rows"], kind)
            item = InferInput("rows", list(values.shape), datatype)
            item.set_data_from_numpy(values, binary_data=raw)
            answer = await ask(facts, "infer", request(facts, [item], facts["matrix"]["model"]))
            same(scores(answer, "prediction"), facts["matrix"]["expected"])


@capability("outputs by name; text comes back as BYTES")
async def _(facts: dict[str, Any]) -> None:
    for raw in (True, False):
        names = [RequestedOutput("prediction_id"), RequestedOutput("probability")]
        answer = await ask(facts, "infer", request(facts, columns(facts, raw=raw), request_outputs=names))
        same(scores(answer), facts["expected"])
        same(len(set(answer.get_output_by_name("prediction_id").as_numpy().tolist())), len(facts["expected"]))


@capability("the request's id comes back")
async def _(facts: dict[str, Any]) -> None:
    same((await ask(facts, "infer", request(facts, columns(facts, raw=True), request_id="r-1"))).id, "r-1")


@capability("reserved and unknown parameters do no harm")
async def _(facts: dict[str, Any]) -> None:
    parameters = {"mine": "x", "yours": 1, "theirs": True}
    answer = await ask(facts, "infer", request(facts, columns(facts, raw=True), parameters=parameters))
    same(scores(answer), facts["expected"])


@capability("a version named")
async def _(facts: dict[str, Any]) -> None:
    split = facts["split"]
    asked = request(facts, columns(facts, raw=True), split["model"], model_version=split["version"])
    answer = await ask(facts, "infer", asked)
    same((answer.model_version, scores(answer)), (split["version"], split["expected"]))


@capability("answers say version, role and prediction id")
async def _(facts: dict[str, Any]) -> None:
    answer = await ask(facts, "infer", request(facts, columns(facts, raw=True, rows=[0])))
    parameters = {name: value.string_param for name, value in answer.parameters.items()}
    same((parameters["tenant"], parameters["version"], parameters["role"]), (facts["tenant"], "1", "stable"))
    same(len(parameters["prediction_id"]), 36)


@capability("several at once")
async def _(facts: dict[str, Any]) -> None:
    import asyncio

    asked = [request(facts, columns(facts, raw=True)) for _ in range(20)]
    for answer in await asyncio.gather(*(ask(facts, "infer", one) for one in asked)):
        same(scores(answer), facts["expected"])


@capability("refusals in words: key, model, input")
async def _(facts: dict[str, Any]) -> None:
    asked = request(facts, columns(facts, raw=True))
    contains(await refusal(facts, "infer", asked, key="wrong"), "UNAUTHENTICATED")
    contains(
        await refusal(facts, "infer", request(facts, columns(facts, raw=True), "nothing")), "'nothing' is not served"
    )
    contains(await refusal(facts, "infer", request(facts, columns(facts, raw=True)[:1])), "input 'count'")


main()
