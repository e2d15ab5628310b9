"""What the predict paths and their neighbours take and give, for the OpenAPI document: plain ASGI tells FastAPI nothing.

The schemas say what is read; what a model then refuses (an unknown input, a fraction for an integer) only the model knows.
"""

from __future__ import annotations

from typing import Any

from services.predictor.domain.tensors import BYTES, DTYPES
from tenon.core.levels import Level

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {"type": "number"}
_NAMES = {"type": "array", "items": _TEXT}
_FREE = {"type": ["object", "null"], "description": "Parameters that are not known do no harm."}
_SHAPE = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2}
_DATATYPE = {"type": "string", "enum": [*DTYPES, BYTES]}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _list_of(schema: Any, **limits: Any) -> dict[str, Any]:
    return {"type": "array", "items": schema, **limits}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_ID = {"type": ["string", "null"], "maxLength": 256}
_META = _object(["name", "datatype", "shape"], name=_TEXT, datatype=_DATATYPE, shape=_list_of({"type": "integer"}))

SCHEMAS: dict[str, Any] = {
    "InferRequest": _object(
        ["inputs"],
        id=_ID,
        parameters=_FREE,
        inputs=_list_of(_ref("InferInput"), minItems=1, maxItems=2000),
        outputs={"type": ["array", "null"], "items": _object(["name"], name=_TEXT, parameters=_FREE), "maxItems": 2000},
    ),
    "InferInput": _object(
        ["name", "datatype", "shape"],
        name={"type": "string", "minLength": 1},
        datatype=_DATATYPE,
        shape=_SHAPE,
        parameters=_FREE,
        data={
            "type": "array",
            "items": {"type": ["number", "string", "boolean", "null", "array"]},
            "description": "Flat or nested; null is a missing value. Left out when the tensor is sent in binary.",
        },
    ),
    "InferResponse": _object(
        ["model_name", "model_version", "parameters", "outputs"],
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters=_object(["tenant", "version", "role"], tenant=_TEXT, version=_TEXT, role=_TEXT, prediction_id=_TEXT),
        outputs=_list_of(
            _object(
                ["name", "datatype", "shape"],
                name=_TEXT,
                datatype=_DATATYPE,
                shape=_SHAPE,
                parameters=_object([], binary_data_size={"type": "integer"}, columns=_TEXT, space=_TEXT),
                data=_list_of({"type": ["number", "string", "null"]}),
            )
        ),
    ),
    "PredictRequest": _object(
        ["instances"],
        request_id=_ID,
        explain={"type": "boolean", "description": "Say what each input contributed to each answer."},
        instances=_list_of(
            {
                "type": "object",
                "properties": {"entity": {"type": "object"}, "features": {"type": "object"}},
                "additionalProperties": False,
            },
            minItems=1,
        ),
    )
    | {"additionalProperties": False},
    "PredictResponse": _object(
        ["tenant", "model", "request_id", "predictions"],
        tenant=_TEXT,
        model=_TEXT,
        request_id=_TEXT,
        predictions=_list_of(
            _object(
                ["prediction_id", "value", "output", "model_version", "role", "fallback"],
                prediction_id=_TEXT,
                value={"type": "number"},
                output=_TEXT,
                model_version={"type": "integer"},
                role=_TEXT,
                fallback=_NAMES,
                fallback_level={"type": "string", "enum": [level.value for level in Level]},
                fallback_reason=_TEXT,
                feature_age_seconds={"type": "number"},
                interval=_object(["low", "high", "coverage"], low=_NUMBER, high=_NUMBER, coverage=_NUMBER),
                label={"type": "boolean"},
                explanation={"oneOf": [_ref("Explanation"), {"type": "null"}]},
            )
        ),
    ),
    "Explanation": _object(
        ["space", "base", "margin", "contributions"],
        space={"type": "string", "enum": ["log-odds", "value"]},
        base=_NUMBER,
        margin=_NUMBER,
        contributions=_list_of(
            _object(
                ["column", "value", "contribution"],
                column=_TEXT,
                value={"type": ["number", "string", "boolean", "null"]},
                contribution=_NUMBER,
            )
        ),
    ),
    "ModelMetadata": _object(
        ["name", "versions", "platform", "inputs", "outputs"],
        name=_TEXT,
        versions=_NAMES,
        platform=_TEXT,
        properties={"type": "object"},
        inputs=_list_of(_META),
        outputs=_list_of(_META),
    ),
}

_INPUTS = [
    {"name": "age", "datatype": "FP64", "shape": [2], "data": [61.5, None]},
    {"name": "count", "datatype": "INT64", "shape": [2], "data": [3, 0]},
    {"name": "urgent", "datatype": "BOOL", "shape": [2], "data": [True, False]},
    {"name": "ward", "datatype": "BYTES", "shape": [2], "data": ["north", "west"]},
]
EXAMPLE = {"inputs": _INPUTS}
"""For a model of the four columns that the how-to on curl uses; the tests send it."""
EXAMPLE_BY_ENTITY = {
    "instances": [{"entity": {}, "features": {"age": 61.5, "count": 3, "urgent": True, "ward": "north"}}]
}
_HEAD_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "required": False,
    "schema": {"type": "integer", "minimum": 0},
    "description": "Bytes of the JSON part when binary tensors follow it.",
}
_ENCODING = {
    "name": "Content-Encoding",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "enum": ["gzip", "deflate", "identity", ""]},
}


_EXPLAIN = {
    "name": "explain",
    "in": "query",
    "required": False,
    "schema": {"type": "boolean"},
    "description": "As `explain` of the body.",
}


def _body(name: str, example: Any, **others: Any) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": _ref(name), "example": example}, **others}}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_MODEL = {"model": "stay", "version": "1"}
_READY = _object(["name", "ready"], name=_TEXT, ready={"type": "boolean"})
_INDEX = _list_of(_object(["name", "version", "state"], name=_TEXT, version=_TEXT, state=_TEXT, reason=_TEXT))
_WHOLE = {"type": "integer", "minimum": 0}
_STATISTICS = _list_of(
    _object(
        ["name", "version", "last_inference", "inference_count", "execution_count", "inference_stats"],
        name=_TEXT,
        version=_TEXT,
        last_inference=_WHOLE,
        inference_count=_WHOLE,
        execution_count=_WHOLE,
        inference_stats={"type": "object", "additionalProperties": _object(["count", "ns"], count=_WHOLE, ns=_WHOLE)},
        batch_stats={"type": "array"},
        memory_usage=_list_of(_object(["type", "id", "byte_size"], type=_TEXT, id=_WHOLE, byte_size=_WHOLE)),
    )
)
_HEALTH = _object([], live={"type": "boolean"}, ready={"type": "boolean"})
_ANSWERS: dict[str, Any] = {
    "/v2": _object(["name", "version", "extensions"], name=_TEXT, version=_TEXT, extensions=_NAMES),
    "/v2/health/live": _HEALTH,
    "/v2/health/ready": _HEALTH,
    "/v2/models": _object(["models"], models=_NAMES),
    "/v2/models/{model}": _ref("ModelMetadata"),
    "/v2/models/{model}/ready": _READY,
    "/v2/repository/index": _INDEX,
    "/v2/models/stats": _object(["model_stats"], model_stats=_STATISTICS),
    "/v2/models/{model}/stats": _object(["model_stats"], model_stats=_STATISTICS),
    "/v2/models/{model}/infer": _ref("InferResponse"),
    "/v1/models/{model}:predict": _ref("PredictResponse"),
}
"""What 200 answers, by path; a version in the path changes nothing."""


def describe(document: dict[str, Any]) -> None:
    """Complete the document."""
    document["components"]["schemas"].update(SCHEMAS)
    for path, operations in document["paths"].items():
        plain = path.replace("/versions/{version}", "")
        for method, operation in operations.items():
            parameters = [item for item in operation.get("parameters", []) if item["in"] == "path"]
            for parameter in parameters:
                parameter["example"] = _MODEL.get(parameter["name"], "x")
            # FastAPI takes the version, where the path has none, for one of the query.
            operation["parameters"] = parameters
            if plain in _ANSWERS:
                operation["responses"]["200"] = {"description": "Answered.", "content": _json(_ANSWERS[plain])}
            elif plain.endswith(("/load", "/unload")):
                # Done is said by an empty body, as clients of the protocol expect it.
                operation["responses"]["200"] = {"description": "Done."}
                wanted = _object([], parameters={"type": ["object", "null"]})
                operation["requestBody"] = {"required": False, "content": _json(wanted)}
            if plain.startswith("/v2/health/"):
                operation["security"] = []
            if method == "post" and plain == "/v2/repository/index":
                wanted = _object([], ready={"type": "boolean"})
                operation["requestBody"] = {"required": False, "content": _json(wanted)}
        if plain == "/v2/health/ready":
            operations["get"]["responses"]["503"] = {"description": "Not ready.", "content": _json(_HEALTH)}
        if plain.endswith("/infer"):
            infer = operations["post"]
            infer["requestBody"] = _body("InferRequest", EXAMPLE)
            infer["responses"]["200"]["content"] |= _BINARY
            infer["parameters"].extend([_HEAD_LENGTH, _ENCODING])
        elif plain.endswith(":predict"):
            predict = operations["post"]
            predict["requestBody"] = _body("PredictRequest", EXAMPLE_BY_ENTITY)
            predict["parameters"].extend([_EXPLAIN, _ENCODING])
