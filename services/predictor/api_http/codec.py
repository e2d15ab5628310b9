"""The Open Inference Protocol's JSON and binary bodies."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import orjson

from services.predictor.api_http import json_body
from services.predictor.api_http.entities import details_of
from services.predictor.domain import tensors
from services.predictor.domain.explaining import CONTRIBUTIONS, as_tensor
from services.predictor.domain.logged import ID_BYTES, id_texts
from services.predictor.domain.model import Answer, Ask, Doubles, Role, Served, Values
from services.predictor.domain.tensors import Tensor
from tenon.core.errors import Invalid, Place, TooLarge, UnsupportedMedia

MAX_INPUTS = 2000
MAX_ID = 256
_MEMBERS = 16
_LONGEST_NAME = 1000
_ONE_ROW = ([1], [1, 1])
_PLAIN = {"FP64": float, "INT64": int, "BOOL": bool, tensors.BYTES: str}
_LEAST, _MOST = -(2**63), 2**63 - 1


class Wanted:
    """What a request asks to get back, and how."""

    __slots__ = ("binary", "id", "names")

    def __init__(self, names: list[str], binary: dict[str, bool], default: bool, request_id: str | None) -> None:
        self.names = names
        self.binary = lambda name: binary.get(name, default)
        self.id = request_id


def inflate(body: bytes, encoding: str, cap: int) -> bytes:
    """The body without its Content-Encoding. Raises `UnsupportedMedia`, `TooLarge` or `Invalid`."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise UnsupportedMedia(
            "ENCODING_UNSUPPORTED",
            f"Content-Encoding {encoding[:40]!r} is not read",
            hint="send gzip, deflate or nothing",
        )
    parts: list[bytes] = []
    size, rest = 0, body
    try:
        while rest or not parts:
            # 47: a gzip or zlib header, whichever is there. What is behind its end must be another whole one.
            machine = zlib.decompressobj(47)
            data = machine.decompress(rest, cap + 1 - size)
            parts.append(data)
            size += len(data)
            if size > cap:
                raise TooLarge("BODY_TOO_LARGE", f"the body unpacks to more than {cap >> 20} MiB")
            if not machine.eof:
                raise Invalid("BODY_NOT_COMPRESSED", f"the {encoding} body is cut short")
            if len(parts) > _MEMBERS:
                raise Invalid("BODY_NOT_COMPRESSED", f"the {encoding} body has more than {_MEMBERS} parts")
            rest = machine.unused_data
    except zlib.error:
        raise Invalid("BODY_NOT_COMPRESSED", f"the body is not valid {encoding}") from None
    return b"".join(parts)


def parse_infer(
    body: bytes,
    header_length: str | None,
    *,
    model: str,
    version: str | None,
    request_id: str,
    max_json: int = json_body.MAX_BYTES,
) -> tuple[Ask, Wanted]:
    """An inference request. Raises `Invalid` naming the input and row."""
    tail = memoryview(b"")
    if header_length is not None:
        if not header_length.isdecimal() or int(header_length) > len(body):
            raise Invalid("HEADER_LENGTH_INVALID", "Inference-Header-Content-Length is not a length within the body")
        cut = int(header_length)
        body, tail = body[:cut], memoryview(body)[cut:]
    request = json_body.load(body, max_json)
    inputs = _list_of_objects(request, "inputs", required=True)
    row = _one_row(inputs) if not tail else None
    found = _tensors(inputs, tail) if row is None else []
    given = request.get("id")
    if given is not None and (not isinstance(given, str) or len(given) > MAX_ID):
        raise Invalid("ID_INVALID", f"`id` must be text of at most {MAX_ID} characters", place=Place(field="id"))
    wanted = _wanted(request, given)
    rows, columns, matrix = tensors.columns_of(found) if row is None else (1, row, None)
    ask = Ask(model, version, "rest", given or request_id, rows, columns, matrix)
    parameters = request.get("parameters")
    if parameters:
        ask.explain = parameters.get("explain") is True
        if ask.explain:
            # They come anyway; naming the output says no more than whether it is wanted in binary.
            wanted.names = [name for name in wanted.names if name != CONTRIBUTIONS]
    return ask, wanted


def render_infer(answer: Answer, wanted: Wanted) -> tuple[bytes, int | None]:
    """(body, length of its JSON part when tensors follow). Raises `Invalid` for an unknown output."""
    served, rows = answer.served, len(answer.scores)
    tails: list[bytes] = []
    outputs: list[dict[str, Any]] = []
    for name in tensors.check_outputs(wanted.names, served.output):
        is_id = name == tensors.PREDICTION_ID
        output: dict[str, Any] = {"name": name, "datatype": "BYTES" if is_id else "FP64", "shape": [rows]}
        if wanted.binary(name):
            data = tensors.join_bytes(id_texts(answer.ids)) if is_id else answer.scores.astype("<f8").tobytes()
            output["parameters"] = {"binary_data_size": len(data)}
            tails.append(data)
        else:
            output["data"] = id_texts(answer.ids) if is_id else answer.scores.tolist()
        outputs.append(output)
    if answer.explained is not None:
        matrix, said = as_tensor(answer.explained, rows)
        output = {"name": CONTRIBUTIONS, "datatype": "FP64", "shape": list(matrix.shape), "parameters": dict(said)}
        if wanted.binary(CONTRIBUTIONS):
            output["parameters"]["binary_data_size"] = matrix.nbytes
            tails.append(matrix.astype("<f8").tobytes())
        else:
            output["data"] = matrix.ravel().tolist()
        outputs.append(output)
    body: dict[str, Any] = {"model_name": served.model, "model_version": str(served.version)}
    if wanted.id is not None:
        body["id"] = wanted.id
    body["parameters"] = parameters_of(answer)
    body["outputs"] = outputs
    data = orjson.dumps(body)
    if not tails:
        return data, None
    return b"".join((data, *tails)), len(data)


def parameters_of(answer: Answer) -> dict[str, Any]:
    """What every answer says: tenant, version, role; and what was missing, and how old the history was."""
    found: dict[str, Any] = {
        "tenant": answer.served.tenant.value,
        "version": str(answer.served.version),
        "role": answer.role.value,
    }
    if len(answer.ids) == ID_BYTES:
        found["prediction_id"] = id_texts(answer.ids)[0]
    if answer.feature_age_seconds is not None:
        found["feature_age_seconds"] = answer.feature_age_seconds
    if answer.fallback:
        found["fallback"] = ",".join(answer.fallback)
    if answer.footings is not None:
        worst = answer.footings.worst
        found["fallback_level"] = worst.level.value
        if worst.reason:
            found["fallback_reason"] = worst.reason
    return found


def render_entities(model: str, tenant: str, request_id: str, rows: int, answers: Sequence[Answer]) -> bytes:
    """The answer of the entity-keyed door, in the order of the instances."""
    predictions: list[Any] = [None] * rows
    for answer in answers:
        places = range(rows) if answer.rows is None else answer.rows.tolist()
        scores, ids = answer.scores.tolist(), id_texts(answer.ids)
        details = details_of(answer)
        for index, place in enumerate(places):
            line = {
                "prediction_id": ids[index],
                "value": scores[index],
                "output": answer.served.output,
                "model_version": answer.served.version,
                "role": answer.role.value,
            }
            age = answer.age_of(index)
            if age is not None:
                line["feature_age_seconds"] = age
            if answer.footings is None:
                line["fallback"] = answer.fallback
            else:
                footing = answer.footings.at(index)
                line["fallback"] = footing.lost
                line["fallback_level"] = footing.level.value
                if footing.reason:
                    line["fallback_reason"] = footing.reason
            predictions[place] = line if details is None else line | details[index]
    return orjson.dumps({"tenant": tenant, "model": model, "request_id": request_id, "predictions": predictions})


def render_value(served: Served, role: Role, request_id: str, score: float, prediction_id: str) -> bytes:
    """The same for one instance whose answer says no more than its value."""
    line = {
        "prediction_id": prediction_id, "value": score, "output": served.output, "model_version": served.version,
        "role": role.value, "fallback": (),
    }  # fmt: skip
    return orjson.dumps(
        {"tenant": served.tenant.value, "model": served.model, "request_id": request_id, "predictions": [line]}
    )


def _one_row(inputs: list[dict[str, Any]]) -> dict[str, Values] | None:
    """The columns of one row when each input is written in the usual way, else None; `_tensors` makes the same of them."""
    columns: dict[str, Values] = {}
    for item in inputs:
        if len(item) != 4:
            return None
        name, datatype, shape, data = item.get("name"), item.get("datatype"), item.get("shape"), item.get("data")
        if not (type(name) is str and name and name not in columns and type(datatype) is str):
            return None
        # true and 1.0 are equal to 1, but they are no sizes.
        if not (shape in _ONE_ROW and type(shape[0]) is int and type(shape[-1]) is int):
            return None
        if type(data) is not list or len(data) != 1:
            return None
        value = data[0]
        kind, plain = type(value), _PLAIN.get(datatype)
        if kind is float and plain is float:
            columns[name] = Doubles(data)
        elif plain is None or (kind is int and not _LEAST <= value <= _MOST):
            return None
        elif kind is plain or value is None:
            columns[name] = data
        elif kind is int and plain is float:
            columns[name] = Doubles((float(value),))
        else:
            return None
    return columns


def _tensors(inputs: list[dict[str, Any]], tail: memoryview) -> list[Tensor]:
    found, place = [], 0
    for item in inputs:
        tensor, place = _input(item, tail, place)
        found.append(tensor)
    if place != len(tail):
        raise Invalid("DATA_SIZE", f"the body has {len(tail) - place} bytes after the last binary tensor")
    return found


def _input(item: dict[str, Any], tail: memoryview, place: int) -> tuple[Tensor, int]:
    name = item.get("name")
    if not isinstance(name, str) or not name:
        raise Invalid("INPUT_NAME_MISSING", "an input has no name", place=Place(field="inputs"))
    if len(name) > _LONGEST_NAME:
        raise tensors.refuse(name, "INPUT_UNKNOWN", f"a name has at most {_LONGEST_NAME} characters")
    datatype = tensors.check_datatype(name, item.get("datatype"))
    shape = item.get("shape")
    if not isinstance(shape, list):
        raise tensors.refuse(name, "SHAPE_INVALID", "`shape` must be a list of whole numbers")
    rows, width = tensors.check_shape(name, shape)
    parameters, size = item.get("parameters"), None
    if isinstance(parameters, dict):
        size = parameters.get("binary_data_size")
        tensors.check_content_type(name, parameters.get("content_type"))
    if size is None:
        data = item.get("data")
        if len(shape) == 1 and type(data) is list and data and type(data[0]) is list:
            raise tensors.refuse(name, "DATA_SIZE", "`data` is nested, but the shape has one dimension")
        return tensors.from_json(name, datatype, rows, width, item.get("data")), place
    if type(size) is not int or size < 0 or place + size > len(tail):
        raise tensors.refuse(name, "DATA_SIZE", "`binary_data_size` goes beyond the body")
    if "data" in item:
        raise tensors.refuse(name, "DATA_TWICE", "it has both `data` and `binary_data_size`")
    return tensors.from_raw(name, datatype, rows, width, tail[place : place + size]), place + size


def _wanted(request: dict[str, Any], given: str | None) -> Wanted:
    parameters = request.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise Invalid("REQUEST_INVALID", "`parameters` must be an object", place=Place(field="parameters"))
    default = bool(parameters and parameters.get("binary_data_output") is True)
    names, binary = [], {}
    for item in _list_of_objects(request, "outputs", required=False):
        name = item.get("name")
        if not isinstance(name, str):
            raise Invalid("REQUEST_INVALID", "an output has no name", place=Place(field="outputs"))
        names.append(name)
        options = item.get("parameters")
        if isinstance(options, dict) and isinstance(options.get("binary_data"), bool):
            binary[name] = options["binary_data"]
    return Wanted(names, binary, default, given)


def _list_of_objects(request: dict[str, Any], key: str, *, required: bool) -> list[dict[str, Any]]:
    items = request.get(key)
    if items is None and not required:
        return []
    if not isinstance(items, list) or (required and not items):
        raise Invalid(
            "REQUEST_INVALID",
            f"`{key}` must be a list" + (" with at least one entry" if required else ""),
            place=Place(field=key),
        )
    if len(items) > MAX_INPUTS:
        raise Invalid(
            "REQUEST_INVALID",
            f"`{key}` has {len(items)} entries, at most {MAX_INPUTS} are read",
            place=Place(field=key),
        )
    for item in items:
        if not isinstance(item, dict):
            raise Invalid("REQUEST_INVALID", f"each of `{key}` must be an object", place=Place(field=key))
    return items
