"""The unmodified tritonclient over gRPC: `tritonclient_grpc.py sync` or `aio`; the two have the same methods."""

from __future__ import annotations

import contextlib
import inspect
import sys
from typing import Any

import grpc
import numpy as np
from tritonclient.utils import InferenceServerException

from tests.conformance.clients.reporting import capability, contains, main, same

if sys.argv[1] == "aio":
    import tritonclient.grpc.aio as module
else:
    import tritonclient.grpc as module

MODES = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}


async def ask(facts: dict[str, Any], method: str, *words: Any, key: str | None = None, **options: Any) -> Any:
    """One call on a client of its own."""
    client = module.InferenceServerClient(f"127.0.0.1:{facts['grpc']}")
    headers = {"authorization": f"Bearer {facts['key'] if key is None else key}", "x-tenon-tenant": facts["tenant"]}
    try:
        answer = getattr(client, method)(*words, headers=headers, **options)
        return await answer if inspect.isawaitable(answer) else answer
    finally:
        closing = client.close()
        if inspect.isawaitable(closing):
            await closing


async def refusal(facts: dict[str, Any], *words: Any, **options: Any) -> str:
    """What a call was refused with: `[StatusCode.X] text`."""
    try:
        answer = await ask(facts, *words, **options)
    except InferenceServerException as err:
        return str(err)
    raise AssertionError(f"was not refused but answered {answer!r}")


def columns(facts: dict[str, Any], rows: list[int] | None = None, *, tall: bool = False) -> list[Any]:
    """One tensor for each column; missing numbers are NaN. This client always sends raw contents."""
    made = []
    for name, (datatype, values) in facts["columns"].items():
        chosen = [values[row] for row in (range(len(values)) if rows is None else rows)]
        shape = [len(chosen), 1] if tall else [len(chosen)]
        data = [float("nan") if value is None else value for value in chosen]
        item = module.InferInput(name, shape, datatype)
        item.set_data_from_numpy(np.array(data, MODES[datatype]).reshape(shape))
        made.append(item)
    return made


def scores(answer: Any, output: str = "probability") -> list[float]:
    """The numbers of an answer."""
    found: list[float] = answer.as_numpy(output).tolist()
    return found


@capability("health: live, ready, model ready")
async def _(facts: dict[str, Any]) -> None:
    same(await ask(facts, "is_server_live"), True)
    same(await ask(facts, "is_server_ready"), True)
    same(await ask(facts, "is_model_ready", facts["model"]), True)
    same(await ask(facts, "is_model_ready", facts["split"]["model"], facts["split"]["version"]), True)


@capability("metadata: server, model, version")
async def _(facts: dict[str, Any]) -> None:
    server = await ask(facts, "get_server_metadata", as_json=True)
    same(server["name"], "tenon")
    model = await ask(facts, "get_model_metadata", facts["model"], as_json=True)
    same(
        [(item["name"], item["datatype"]) for item in model["inputs"]],
        [(name, kind) for name, (kind, _) in facts["columns"].items()],
    )
    version = facts["split"]["version"]
    same(version in (await ask(facts, "get_model_metadata", facts["split"]["model"], version)).versions, True)


@capability("repository index")
async def _(facts: dict[str, Any]) -> None:
    index = (await ask(facts, "get_model_repository_index")).models
    same((facts["model"], "1", "READY") in [(item.name, item.version, item.state) for item in index], True)


@capability("a tensor per column, binary or raw; NaN is missing")
async def _(facts: dict[str, Any]) -> None:
    same(scores(await ask(facts, "infer", facts["model"], columns(facts))), facts["expected"])
    same(scores(await ask(facts, "infer", facts["model"], columns(facts, tall=True))), facts["expected"])


@capability("one matrix: FP64, FP32, INT64")
async def _(facts: dict[str, Any]) -> None:
    for datatype, kind in (("FP64", np.float64), ("FP32", np.float32), ("INT64", np.int64)):
        values = np.array(facts["matrix"]["rows"], kind)
        item = module.InferInput("rows", list(values.shape), datatype)
        item.set_data_from_numpy(values)
        answer = await ask(facts, "infer", facts["matrix"]["model"], [item])
        same(scores(answer, "prediction"), facts["matrix"]["expected"])


@capability("outputs by name; text comes back as BYTES")
async def _(facts: dict[str, Any]) -> None:
    names = [module.InferRequestedOutput(name) for name in ("prediction_id", "probability")]
    answer = await ask(facts, "infer", facts["model"], columns(facts), outputs=names)
    same(scores(answer), facts["expected"])
    same(len({item.decode() for item in answer.as_numpy("prediction_id").tolist()}), len(facts["expected"]))
    same([item.name for item in answer.get_response().outputs], ["prediction_id", "probability"])


@capability("request compressed: gzip")
async def _(facts: dict[str, Any]) -> None:
    answer = await ask(facts, "infer", facts["model"], columns(facts), compression_algorithm="gzip")
    same(scores(answer), facts["expected"])


@capability("request compressed: deflate")
async def _(facts: dict[str, Any]) -> None:
    answer = await ask(facts, "infer", facts["model"], columns(facts), compression_algorithm="deflate")
    same(scores(answer), facts["expected"])


@capability("the request's id comes back")
async def _(facts: dict[str, Any]) -> None:
    answer = await ask(facts, "infer", facts["model"], columns(facts), request_id="r-1")
    same(answer.get_response().id, "r-1")


@capability("reserved and unknown parameters do no harm")
async def _(facts: dict[str, Any]) -> None:
    answer = await ask(
        facts, "infer", facts["model"], columns(facts), sequence_id=7, sequence_start=True, sequence_end=True,
        priority=3, timeout=1_000_000, client_timeout=60, parameters={"mine": "x", "yours": 1, "theirs": True},
    )  # fmt: skip
    same(scores(answer), facts["expected"])


@capability("a version named")
async def _(facts: dict[str, Any]) -> None:
    split = facts["split"]
    answer = await ask(facts, "infer", split["model"], columns(facts), model_version=split["version"])
    same((answer.get_response().model_version, scores(answer)), (split["version"], split["expected"]))
    contains(await refusal(facts, "infer", split["model"], columns(facts), model_version="9"), "is not served")


@capability("answers say version, role and prediction id")
async def _(facts: dict[str, Any]) -> None:
    answer = await ask(facts, "infer", facts["model"], columns(facts, [0]))
    parameters = {name: value.string_param for name, value in answer.get_response().parameters.items()}
    same((parameters["tenant"], parameters["version"], parameters["role"]), (facts["tenant"], "1", "stable"))
    same(len(parameters["prediction_id"]), 36)


@capability("repository: load, unload")
async def _(facts: dict[str, Any]) -> None:
    await ask(facts, "unload_model", facts["model"], key=facts["admin"])
    same(scores(await ask(facts, "infer", facts["model"], columns(facts))), facts["expected"])
    await ask(facts, "load_model", facts["model"], key=facts["admin"])
    same(await ask(facts, "is_model_ready", facts["model"]), True)
    contains(await refusal(facts, "unload_model", facts["model"]), "PERMISSION_DENIED")
    contains(await refusal(facts, "load_model", "nothing", key=facts["admin"]), "NOT_FOUND")


@capability("statistics")
async def _(facts: dict[str, Any]) -> None:
    found = (await ask(facts, "get_inference_statistics", facts["model"])).model_stats
    same([(item.name, item.version) for item in found], [(facts["model"], "1")])
    same(found[0].inference_count > 0 and found[0].inference_stats.success.count > 0, True)


@capability("several at once")
async def _(facts: dict[str, Any]) -> None:
    if sys.argv[1] == "aio":
        import asyncio

        calls = [ask(facts, "infer", facts["model"], columns(facts)) for _ in range(20)]
        answers = await asyncio.gather(*calls)
    else:
        import queue

        client = module.InferenceServerClient(f"127.0.0.1:{facts['grpc']}")
        done: queue.Queue[tuple[Any, Any]] = queue.Queue()
        headers = {"authorization": f"Bearer {facts['key']}"}
        for _ in range(20):
            client.async_infer(
                facts["model"], columns(facts), lambda result, error: done.put((result, error)), headers=headers
            )
        pairs = [done.get(timeout=60) for _ in range(20)]
        same([error for _, error in pairs], [None] * 20)
        answers = [result for result, _ in pairs]
        client.close()
    for answer in answers:
        same(scores(answer), facts["expected"])


@capability("refusals in words: key, model, input")
async def _(facts: dict[str, Any]) -> None:
    contains(await refusal(facts, "infer", facts["model"], columns(facts), key="wrong"), "UNAUTHENTICATED")
    text = await refusal(facts, "infer", "nothing", columns(facts))
    contains(text, "NOT_FOUND")
    contains(text, "model 'nothing' is not served")
    text = await refusal(facts, "infer", facts["model"], columns(facts)[:1])
    contains(text, "INVALID_ARGUMENT")
    contains(text, "input 'count'")
    contains(await refusal(facts, "is_model_ready", "nothing"), "NOT_FOUND")


@capability("stream of inferences: refused in words")
async def _(facts: dict[str, Any]) -> str:
    headers = {"authorization": f"Bearer {facts['key']}"}
    client = module.InferenceServerClient(f"127.0.0.1:{facts['grpc']}")
    if sys.argv[1] == "aio":

        async def one() -> Any:
            yield {"model_name": facts["model"], "inputs": columns(facts)}

        # grpc.aio says INTERNAL when the refusal overtakes what it is still sending.
        code = grpc.StatusCode.INTERNAL
        for _ in range(30):
            try:
                async for _, error in client.stream_infer(one(), headers=headers):
                    raise AssertionError(f"was not refused by a status but answered {error!r}")
            except grpc.aio.AioRpcError as err:
                code = err.code()
            if code is not grpc.StatusCode.INTERNAL:
                break
        same(code, grpc.StatusCode.UNIMPLEMENTED)
        await client.close()
        return "UNIMPLEMENTED"
    import queue

    done: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: done.put(error), headers=headers)
    # The refusal comes through the callback; a request that is sent after it finds the stream closed.
    with contextlib.suppress(InferenceServerException):
        client.async_stream_infer(facts["model"], columns(facts))
    contains(str(done.get(timeout=60)), "UNIMPLEMENTED")
    client.stop_stream(cancel_requests=True)
    client.close()
    return "UNIMPLEMENTED"


@capability("what only Triton has: refused in words")
async def _(facts: dict[str, Any]) -> str:
    for method, words in (
        ("get_model_config", [facts["model"]]),
        ("get_trace_settings", []),
        ("get_log_settings", []),
        ("get_system_shared_memory_status", []),
        ("get_cuda_shared_memory_status", []),
    ):
        contains(await refusal(facts, method, *words), "UNIMPLEMENTED")
    return "UNIMPLEMENTED"


main()
