"""MLServer's codecs and types, over REST: what they encode is asked, what is answered they decode."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import numpy as np
import pandas as pd
from mlserver.codecs import Base64Codec, NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec
from mlserver.types import (
    InferenceErrorResponse,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataServerResponse,
    RepositoryIndexResponse,
    RequestOutput,
)

from tests.conformance.clients.reporting import capability, contains, main, same


def fetch(facts: dict[str, Any], path: str, body: str | None = None, key: str | None = None) -> tuple[int, str]:
    """Status and text of one request."""
    headers = {"authorization": f"Bearer {facts['key'] if key is None else key}", "content-type": "application/json"}
    data = None if body is None else body.encode()
    asked = urllib.request.Request(f"http://127.0.0.1:{facts['http']}{path}", data, headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as err:
        return err.code, err.read().decode()


def infer(facts: dict[str, Any], model: str, request: InferenceRequest, path: str = "") -> InferenceResponse:
    """An answer in MLServer's types."""
    status, text = fetch(facts, f"/v2/models/{model}{path}/infer", request.model_dump_json())
    same((status, text if status != 200 else ""), (200, ""))
    return InferenceResponse.model_validate_json(text)


def frame(facts: dict[str, Any]) -> pd.DataFrame:
    """The rows as a data frame; missing numbers are NaN."""
    kinds = {"FP64": float, "INT64": "int64", "BOOL": bool, "BYTES": object}
    return pd.DataFrame(
        {name: pd.Series(values, dtype=kinds[datatype]) for name, (datatype, values) in facts["columns"].items()}
    )


def scores(response: InferenceResponse) -> list[float]:
    """The numbers of an answer, by the codec that MLServer takes where none is named."""
    found: list[float] = NumpyCodec.decode_output(response.outputs[0]).tolist()
    return found


@capability("health: live, ready, model ready")
def _(facts: dict[str, Any]) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{facts['model']}/ready"):
        same(fetch(facts, path)[0], 200)
    same(fetch(facts, "/v2/models/nothing/ready")[0], 404)


@capability("metadata: server, model, version")
def _(facts: dict[str, Any]) -> None:
    same(MetadataServerResponse.model_validate_json(fetch(facts, "/v2")[1]).name, "tenon")
    model = MetadataModelResponse.model_validate_json(fetch(facts, f"/v2/models/{facts['model']}")[1])
    same(
        [(item.name, item.datatype) for item in model.inputs],
        [(name, kind) for name, (kind, _) in facts["columns"].items()],
    )


@capability("repository index")
def _(facts: dict[str, Any]) -> None:
    index = RepositoryIndexResponse.model_validate(json.loads(fetch(facts, "/v2/repository/index", "{}")[1]))
    same((facts["model"], "READY") in [(item.name, item.state) for item in index], True)


@capability("repository: load, unload")
def _(facts: dict[str, Any]) -> None:
    for step in ("unload", "load"):
        path = f"/tenants/{facts['tenant']}/v2/repository/models/{facts['model']}/{step}"
        same(fetch(facts, path, "", key=facts["admin"]), (200, ""))


@capability("a data frame (PandasCodec)")
def _(facts: dict[str, Any]) -> None:
    for use_bytes in (True, False):
        response = infer(facts, facts["model"], PandasCodec.encode_request(frame(facts), use_bytes=use_bytes))
        same(scores(response), facts["expected"])
        same(PandasCodec.decode_response(response)["probability"].tolist(), facts["expected"])


@capability("a tensor per column, JSON or typed")
def _(facts: dict[str, Any]) -> None:
    inputs = []
    for name, (datatype, values) in facts["columns"].items():
        if datatype == "BYTES":
            inputs.append(StringCodec.encode_input(name, values))
        else:
            kind = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_}[datatype]
            inputs.append(NumpyCodec.encode_input(name, np.array(values, kind)))
    same(scores(infer(facts, facts["model"], InferenceRequest(inputs=inputs))), facts["expected"])


@capability("one matrix: FP64, FP32, INT64")
def _(facts: dict[str, Any]) -> None:
    for kind in (np.float64, np.float32, np.int64):
        request = NumpyRequestCodec.encode_request(np.array(facts["matrix"]["rows"], kind))
        same(scores(infer(facts, facts["matrix"]["model"], request)), facts["matrix"]["expected"])


@capability("outputs by name; text comes back as BYTES")
def _(facts: dict[str, Any]) -> None:
    request = PandasCodec.encode_request(frame(facts))
    request.outputs = [RequestOutput(name="probability"), RequestOutput(name="prediction_id")]
    response = infer(facts, facts["model"], request)
    same(scores(response), facts["expected"])
    ids = StringCodec.decode_output(response.outputs[1])
    same(([len(item) for item in ids], len(set(ids))), ([36] * len(ids), len(facts["expected"])))
    table = PandasCodec.decode_response(response)
    same((table["probability"].tolist(), table["prediction_id"].tolist()), (facts["expected"], ids))


@capability("the request's id comes back")
def _(facts: dict[str, Any]) -> None:
    request = PandasCodec.encode_request(frame(facts))
    request.id = "r-1"
    same(infer(facts, facts["model"], request).id, "r-1")


@capability("a version named")
def _(facts: dict[str, Any]) -> None:
    split = facts["split"]
    request = PandasCodec.encode_request(frame(facts))
    response = infer(facts, split["model"], request, f"/versions/{split['version']}")
    same((response.model_version, scores(response)), (split["version"], split["expected"]))


@capability("answers say version, role and prediction id")
def _(facts: dict[str, Any]) -> None:
    parameters = infer(facts, facts["model"], PandasCodec.encode_request(frame(facts).head(1))).parameters
    same((parameters.tenant, parameters.version, parameters.role), (facts["tenant"], "1", "stable"))
    same(len(parameters.prediction_id), 36)


@capability("an encoding that would be misread: refused in words")
def _(facts: dict[str, Any]) -> None:
    request = PandasCodec.encode_request(frame(facts))
    request.inputs[-1] = Base64Codec.encode_input(request.inputs[-1].name, [b"north"] * len(facts["expected"]))
    status, text = fetch(facts, f"/v2/models/{facts['model']}/infer", request.model_dump_json())
    same(status, 400)
    contains(text, "base64")


@capability("refusals in words: key, model, input")
def _(facts: dict[str, Any]) -> None:
    body = PandasCodec.encode_request(frame(facts)).model_dump_json()
    same(fetch(facts, f"/v2/models/{facts['model']}/infer", body, key="wrong")[0], 401)
    status, text = fetch(facts, "/v2/models/nothing/infer", body)
    same(status, 404)
    contains(InferenceErrorResponse.model_validate_json(text).error or "", "'nothing' is not served")
    half = PandasCodec.encode_request(frame(facts)[["age"]]).model_dump_json()
    status, text = fetch(facts, f"/v2/models/{facts['model']}/infer", half)
    same(status, 400)
    contains(InferenceErrorResponse.model_validate_json(text).error or "", "input 'count'")


main()
