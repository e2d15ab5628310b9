"""The unmodified tritonclient over HTTP: `tritonclient_http.py sync` or `aio`; the two have the same methods."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException

from tests.conformance.clients.reporting import capability, contains, main, same

if sys.argv[1] == "aio":
    import tritonclient.http.aio as module
else:
    import tritonclient.http as module

MODES = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}


async def ask(
    facts: dict[str, Any], method: str, *words: Any, key: str | None = None, below: str = "", **options: Any
) -> Any:
    """One call on a client of its own."""
    client = module.InferenceServerClient(f"127.0.0.1:{facts['http']}{below}")
    headers = {"authorization": f"Bearer {facts['key'] if key is None else key}"}
    answer = getattr(client, method)(*words, headers=headers, **options)
    if inspect.isawaitable(answer):
        answer = await answer
    closing = client.close()
    if inspect.isawaitable(closing):
        await closing
    return answer


async def refusal(facts: dict[str, Any], *words: Any, **options: Any) -> str:
    """What a call was refused with."""
    try:
        answer = await ask(facts, *words, **options)
    except InferenceServerException as err:
        return str(err)
    raise AssertionError(f"was not refused but answered {answer!r}")


def columns(
    facts: dict[str, Any], rows: list[int] | None = None, *, tall: bool = False, binary: bool = True
) -> list[Any]:
    """One tensor for each column; missing numbers are NaN."""
    made = []
    for name, (datatype, values) in facts["columns"].items():
        chosen = [values[row] for row in (range(len(values)) if rows is None else rows)]
        shape = [len(chosen), 1] if tall else [len(chosen)]
        data = [float("nan") if value is None else value for value in chosen]
        item = module.InferInput(name, shape, datatype)
        item.set_data_from_numpy(np.array(data, MODES[datatype]).reshape(shape), binary_data=binary)
        made.append(item)
    return made


def matrix(facts: dict[str, Any], datatype: str, kind: Any, *, binary: bool = True) -> list[Any]:
    """All columns in one tensor."""
    values = np.array(facts["matrix"]["rows"], kind)
    item = module.InferInput("rows", list(values.shape), datatype)
    item.set_data_from_numpy(values, binary_data=binary)
    return [item]


def scores(answer: Any, output: str = "probability") -> list[float]:
    """The numbers of an answer."""
    found: list[float] = answer.as_numpy(output).tolist()
    return found


@capability("health: live, ready, model ready")
async def _(facts: dict[str, Any]) -> None:
    same(await ask(facts, "is_server_live"), True)
    same(await ask(facts, "is_server_ready"), True)
    same(await ask(facts, "is_model_ready", facts["model"]), True)
    same(await ask(facts, "is_model_ready", "nothing"), False)
    same(await ask(facts, "is_model_ready", facts["split"]["model"], facts["split"]["version"]), True)


@capability("metadata: server, model, version")
async def _(facts: dict[str, Any]) -> None:
    server = await ask(facts, "get_server_metadata")
    same(server["name"], "tenon")
    same("binary_tensor_data" in server["extensions"], True)
    model = await ask(facts, "get_model_metadata", facts["model"])
    same(
        [(item["name"], item["datatype"]) for item in model["inputs"]],
        [(name, kind) for name, (kind, _) in facts["columns"].items()],
    )
    version = facts["split"]["version"]
    same(version in (await ask(facts, "get_model_metadata", facts["split"]["model"], version))["versions"], True)


@capability("repository index")
async def _(facts: dict[str, Any]) -> None:
    index = await ask(facts, "get_model_repository_index")
    same({"name": facts["model"], "version": "1", "state": "READY", "reason": "stable"} in index, True)


@capability("a tensor per column, binary or raw; NaN is missing")
async def _(facts: dict[str, Any]) -> None:
    same(scores(await ask(facts, "infer", facts["model"], columns(facts))), facts["expected"])
    same(scores(await ask(facts, "infer", facts["model"], columns(facts, tall=True))), facts["expected"])


@capability("a tensor per column, JSON or typed")
async def _(facts: dict[str, Any]) -> None:
    wanted = [facts["expected"][row] for row in facts["whole"]]
    inputs = columns(facts, facts["whole"], binary=False)
    same(scores(await ask(facts, "infer", facts["model"], inputs)), wanted)
    plain = [module.InferRequestedOutput("probability", binary_data=False)]
    answer = await ask(facts, "infer", facts["model"], inputs, outputs=plain)
    same(scores(answer), wanted)
    same(answer.get_response()["outputs"][0]["data"], wanted)
    same(
        scores(await ask(facts, "infer", facts["model"], columns(facts, facts["whole"], tall=True, binary=False))),
        wanted,
    )


@capability("one matrix: FP64, FP32, INT64")
async def _(facts: dict[str, Any]) -> None:
    for datatype, kind in (("FP64", np.float64), ("FP32", np.float32), ("INT64", np.int64)):
        for binary in (True, False):
            inputs = matrix(facts, datatype, kind, binary=binary)
            answer = await ask(facts, "infer", facts["matrix"]["model"], inputs)
            same(scores(answer, "prediction"), facts["matrix"]["expected"])


@capability("outputs by name; text comes back as BYTES")
async def _(facts: dict[str, Any]) -> None:
    for binary in (True, False):
        names = [module.InferRequestedOutput(name, binary_data=binary) for name in ("prediction_id", "probability")]
        answer = await ask(facts, "infer", facts["model"], columns(facts), outputs=names)
        same(scores(answer), facts["expected"])
        ids = answer.as_numpy("prediction_id").tolist()
        same(len({item if isinstance(item, str) else item.decode() for item in ids}), len(facts["expected"]))
        same([item["name"] for item in answer.get_response()["outputs"]], ["prediction_id", "probability"])


@capability("request compressed: gzip")
async def _(facts: dict[str, Any]) -> None:
    answer = await ask(facts, "infer", facts["model"], columns(facts), request_compression_algorithm="gzip")
    same(scores(answer), facts["expected"])


@capability("request compressed: deflate")
async def _(facts: dict[str, Any]) -> None:
    answer = await ask(facts, "infer", facts["model"], columns(facts), request_compression_algorithm="deflate")
    same(scores(answer), facts["expected"])


@capability("compressed answers accepted: gzip, deflate")
async def _(facts: dict[str, Any]) -> str:
    for algorithm in ("gzip", "deflate"):
        answer = await ask(facts, "infer", facts["model"], columns(facts), response_compression_algorithm=algorithm)
        same(scores(answer), facts["expected"])
    return "plain"


@capability("the request's id comes back")
async def _(facts: dict[str, Any]) -> None:
    answer = await ask(facts, "infer", facts["model"], columns(facts), request_id="r-1")
    same(answer.get_response()["id"], "r-1")


@capability("reserved and unknown parameters do no harm")
async def _(facts: dict[str, Any]) -> None:
    answer = await ask(
        facts, "infer", facts["model"], columns(facts), sequence_id=7, sequence_start=True, sequence_end=True,
        priority=3, timeout=1_000_000, parameters={"mine": "x", "yours": 1.5, "theirs": True},
    )  # fmt: skip
    same(scores(answer), facts["expected"])


@capability("a version named")
async def _(facts: dict[str, Any]) -> None:
    split = facts["split"]
    answer = await ask(facts, "infer", split["model"], columns(facts), model_version=split["version"])
    same((answer.get_response()["model_version"], scores(answer)), (split["version"], split["expected"]))
    contains(await refusal(facts, "infer", split["model"], columns(facts), model_version="9"), "is not served")


@capability("answers say version, role and prediction id")
async def _(facts: dict[str, Any]) -> None:
    answer = await ask(facts, "infer", facts["model"], columns(facts, [0]))
    parameters = answer.get_response()["parameters"]
    same((parameters["tenant"], parameters["version"], parameters["role"]), (facts["tenant"], "1", "stable"))
    same(len(parameters["prediction_id"]), 36)


@capability("repository: load, unload")
async def _(facts: dict[str, Any]) -> None:
    writer: dict[str, Any] = {"key": facts["admin"], "below": f"/tenants/{facts['tenant']}"}
    await ask(facts, "unload_model", facts["model"], **writer)
    same(scores(await ask(facts, "infer", facts["model"], columns(facts))), facts["expected"])
    await ask(facts, "load_model", facts["model"], **writer)
    same(await ask(facts, "is_model_ready", facts["model"]), True)
    contains(await refusal(facts, "unload_model", facts["model"]), "[403]")
    contains(await refusal(facts, "load_model", "nothing", **writer), "[404]")


@capability("statistics")
async def _(facts: dict[str, Any]) -> None:
    found = await ask(facts, "get_inference_statistics", facts["model"])
    same([(item["name"], item["version"]) for item in found["model_stats"]], [(facts["model"], "1")])
    same(found["model_stats"][0]["inference_count"] > 0, True)
    everything = await ask(facts, "get_inference_statistics")
    same(len(everything["model_stats"]) > 2, True)


@capability("several at once")
async def _(facts: dict[str, Any]) -> None:
    if sys.argv[1] == "aio":
        import asyncio

        calls = [ask(facts, "infer", facts["model"], columns(facts)) for _ in range(20)]
        answers = await asyncio.gather(*calls)
    else:
        client = module.InferenceServerClient(f"127.0.0.1:{facts['http']}", concurrency=4)
        headers = {"authorization": f"Bearer {facts['key']}"}
        under_way = [client.async_infer(facts["model"], columns(facts), headers=headers) for _ in range(20)]
        answers = [call.get_result() for call in under_way]
        client.close()
    for answer in answers:
        same(scores(answer), facts["expected"])


@capability("refusals in words: key, model, input")
async def _(facts: dict[str, Any]) -> None:
    contains(await refusal(facts, "infer", facts["model"], columns(facts), key="wrong"), "[401]")
    contains(await refusal(facts, "infer", "nothing", columns(facts)), "model 'nothing' is not served")
    contains(await refusal(facts, "infer", facts["model"], columns(facts)[:1]), "input 'count'")


@capability("what only Triton has: refused in words")
async def _(facts: dict[str, Any]) -> str:
    for method, words in (
        ("get_model_config", [facts["model"]]),
        ("get_trace_settings", []),
        ("get_log_settings", []),
        ("get_system_shared_memory_status", []),
        ("get_cuda_shared_memory_status", []),
    ):
        contains(await refusal(facts, method, *words), "[404]")
    return "404"


@capability("a base URL with a tenant's path")
async def _(facts: dict[str, Any]) -> None:
    below = f"/tenants/{facts['tenant']}"
    same(await ask(facts, "is_server_ready", below=below), True)
    same(await ask(facts, "is_model_ready", facts["model"], below=below), True)
    same((await ask(facts, "get_model_metadata", facts["model"], below=below))["name"], facts["model"])
    same(scores(await ask(facts, "infer", facts["model"], columns(facts), below=below)), facts["expected"])
    contains(await refusal(facts, "infer", facts["model"], columns(facts), below="/tenants/nobody"), "no tenant")


main()
