"""KServe's unmodified `InferenceRESTClient` (asynchronous; there is no other)."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from tests.conformance.clients.reporting import capability, contains, main, same


async def ask(
    facts: dict[str, Any], method: str, *words: Any, key: str | None = None, protocol: str = "v2", below: str = "",
    **options: Any,
) -> Any:  # fmt: skip
    """One call on a client of its own."""
    base = f"http://127.0.0.1:{facts['http']}{below}"
    headers = {"authorization": f"Bearer {facts['key'] if key is None else key}"}
    async with InferenceRESTClient(RESTConfig(protocol=protocol)) as client:
        return await getattr(client, method)(base, *words, headers=headers, **options)


async def refusal(facts: dict[str, Any], *words: Any, **options: Any) -> str:
    """What a call was refused with."""
    try:
        answer = await ask(facts, *words, **options)
    except httpx.HTTPStatusError as err:
        return str(err)
    raise AssertionError(f"was not refused but answered {answer!r}")


def columns(facts: dict[str, Any], *, binary: bool, tall: bool = False, first: int = 0) -> list[InferInput]:
    """One tensor for each column; missing numbers are NaN in binary and null in JSON."""
    modes = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}
    made = []
    for name, (datatype, values) in facts["columns"].items():
        chosen = values[: first or None]
        shape = [len(chosen), 1] if tall else [len(chosen)]
        if binary:
            item = InferInput(name, shape, datatype)
            data = [float("nan") if value is None else value for value in chosen]
            item.set_data_from_numpy(np.array(data, modes[datatype]).reshape(shape), binary_data=True)
        else:
            item = InferInput(name, shape, datatype, chosen)
        made.append(item)
    return made


def request(facts: dict[str, Any], inputs: list[InferInput], **options: Any) -> InferRequest:
    """A request for the model with one tensor for each column."""
    return InferRequest(model_name=facts["model"], infer_inputs=inputs, **options)


def scores(answer: Any, output: str = "probability") -> list[float]:
    """The numbers of an answer."""
    found: list[float] = answer.get_output_by_name(output).as_numpy().tolist()
    return found


@capability("health: live, ready, model ready")
async def _(facts: dict[str, Any]) -> None:
    same(await ask(facts, "is_server_live"), True)
    same(await ask(facts, "is_server_ready"), True)
    same(await ask(facts, "is_model_ready", facts["model"]), True)
    same(await ask(facts, "is_model_ready", "nothing"), False)


@capability("a tensor per column, binary or raw; NaN is missing")
async def _(facts: dict[str, Any]) -> None:
    for tall in (False, True):
        asked = request(facts, columns(facts, binary=True, tall=tall))
        same(scores(await ask(facts, "infer", asked, model_name=facts["model"])), facts["expected"])


@capability("a tensor per column, JSON or typed")
async def _(facts: dict[str, Any]) -> None:
    for tall in (False, True):
        asked = request(facts, columns(facts, binary=False, tall=tall))
        same(scores(await ask(facts, "infer", asked, model_name=facts["model"])), facts["expected"])
    body, length = request(facts, columns(facts, binary=False)).to_rest()
    same(length, None)
    same(scores(await ask(facts, "infer", body, model_name=facts["model"])), facts["expected"])


@capability("one matrix: FP64, FP32, INT64")
async def _(facts: dict[str, Any]) -> None:
    for datatype, kind in (("FP64", np.float64), ("FP32", np.float32), ("INT64", np.int64)):
        for binary in (True, False):
            values = np.array(facts["matrix"]["rows"], kind)
            item = InferInput("rows", list(values.shape), datatype)
            item.set_data_from_numpy(values, binary_data=binary)
            asked = InferRequest(model_name=facts["matrix"]["model"], infer_inputs=[item])
            answer = await ask(facts, "infer", asked, model_name=facts["matrix"]["model"])
            same(scores(answer, "prediction"), facts["matrix"]["expected"])


@capability("outputs by name; text comes back as BYTES")
async def _(facts: dict[str, Any]) -> None:
    for binary in (True, False):
        names = [RequestedOutput(name, {"binary_data": binary}) for name in ("prediction_id", "probability")]
        asked = request(facts, columns(facts, binary=binary), request_outputs=names)
        answer = await ask(facts, "infer", asked, model_name=facts["model"])
        same(scores(answer), facts["expected"])
        same(len(set(answer.get_output_by_name("prediction_id").as_numpy().tolist())), len(facts["expected"]))
    everything = request(facts, columns(facts, binary=True), parameters={"binary_data_output": True})
    same(scores(await ask(facts, "infer", everything, model_name=facts["model"])), facts["expected"])


@capability("the request's id comes back")
async def _(facts: dict[str, Any]) -> None:
    asked = request(facts, columns(facts, binary=False), request_id="r-1")
    same((await ask(facts, "infer", asked, model_name=facts["model"])).id, "r-1")


@capability("reserved and unknown parameters do no harm")
async def _(facts: dict[str, Any]) -> None:
    asked = request(facts, columns(facts, binary=False), parameters={"mine": "x", "yours": 1.5, "theirs": True})
    same(scores(await ask(facts, "infer", asked, model_name=facts["model"])), facts["expected"])


@capability("answers say version, role and prediction id")
async def _(facts: dict[str, Any]) -> None:
    asked = request(facts, columns(facts, binary=False, first=1))
    parameters = (await ask(facts, "infer", asked, model_name=facts["model"])).parameters
    same((parameters["tenant"], parameters["version"], parameters["role"]), (facts["tenant"], "1", "stable"))
    same(len(parameters["prediction_id"]), 36)


@capability("several at once")
async def _(facts: dict[str, Any]) -> None:
    import asyncio

    asked = [request(facts, columns(facts, binary=True)) for _ in range(20)]
    for answer in await asyncio.gather(*(ask(facts, "infer", one, model_name=facts["model"]) for one in asked)):
        same(scores(answer), facts["expected"])


@capability("by entity: POST /v1/models/{model}:predict")
async def _(facts: dict[str, Any]) -> None:
    answer = await ask(facts, "infer", {"instances": facts["instances"]}, model_name=facts["model"], protocol="v1")
    same([line["value"] for line in answer["predictions"]], facts["expected"])


@capability("refusals in words: key, model, input")
async def _(facts: dict[str, Any]) -> None:
    asked = request(facts, columns(facts, binary=False))
    contains(await refusal(facts, "infer", asked, model_name=facts["model"], key="wrong"), "401")
    contains(await refusal(facts, "infer", asked, model_name="nothing"), "model 'nothing' is not served")
    half = request(facts, columns(facts, binary=False)[:1])
    contains(await refusal(facts, "infer", half, model_name=facts["model"]), "input 'count'")


@capability("a base URL with a tenant's path")
async def _(facts: dict[str, Any]) -> None:
    below = f"/tenants/{facts['tenant']}"
    same(await ask(facts, "is_server_ready", below=below), True)
    same(await ask(facts, "is_model_ready", facts["model"], below=below), True)
    asked = request(facts, columns(facts, binary=True))
    same(scores(await ask(facts, "infer", asked, model_name=facts["model"], below=below)), facts["expected"])
    by_entity = await ask(
        facts, "infer", {"instances": facts["instances"]}, model_name=facts["model"], protocol="v1", below=below
    )
    same([line["value"] for line in by_entity["predictions"]], facts["expected"])
    contains(await refusal(facts, "infer", asked, model_name=facts["model"], below="/tenants/nobody"), "no tenant")


main()
