"""Schemathesis asks the REST door what its OpenAPI document promises; the same questions every time."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.conftest import COLUMNS
from tests.conformance.installed import client_python
from tests.support.predictor_bundles import KEYS
from tests.support.predictor_process import PredictorProcess

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
"""All but those that take a model's refusal of a well-formed request for a mistake of the door."""


def schemathesis(predictor: PredictorProcess, folder: Path, document: str, *words: str) -> str:
    """Run it on a document; gives what it wrote."""
    program = client_python("schemathesis").parent / "st"
    command = [
        str(program), "run", document, "--url", predictor.url, "-H", f"Authorization: Bearer {KEYS['acme']}", "--no-color",
        "--generation-deterministic", "--continue-on-failure", "--warnings", "off", *words,
    ]  # fmt: skip
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    done = subprocess.run(command, cwd=folder, env=inherited, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.timeout(900)
def test_answers_are_as_the_document_says(predictor: PredictorProcess, tmp_path: Path) -> None:
    """Every route, with bodies and parameters that fit the document and with ones that do not: no 5xx, no answer that the
    document does not describe, nothing accepted that it forbids, nothing answered without a key that needs one."""
    told = schemathesis(
        predictor,
        tmp_path,
        f"{predictor.url}/openapi.json",
        "--phases",
        "coverage,fuzzing",
        "-n",
        "30",
        "-c",
        ",".join(CHECKS),
    )
    assert "No issues found" in told


@pytest.mark.timeout(900)
def test_questions_a_model_can_answer(predictor: PredictorProcess, tmp_path: Path) -> None:
    """The same with the document narrowed to the columns of one model, so that many requests get as far as an answer."""
    document = tmp_path / "narrow.json"
    document.write_text(json.dumps(narrowed(httpx.get(f"{predictor.url}/openapi.json", timeout=60).json())))
    answered = predictor.metric("tenon_predictor_rows_total")
    told = schemathesis(
        predictor, tmp_path, str(document), "--phases", "fuzzing", "-n", "80", "-c", ",".join(CHECKS), "-m", "positive"
    )
    assert "No issues found" in told
    # The share that is answered; the rest are numbers beyond float32 and texts that are too long.
    assert predictor.metric("tenon_predictor_rows_total") - answered > 100


def test_examples_work_as_they_stand(predictor: PredictorProcess, tmp_path: Path) -> None:
    """Each example of the document is accepted and answered as described, and stands on the page at /docs."""
    told = schemathesis(
        predictor, tmp_path, f"{predictor.url}/openapi.json", "--phases", "examples",
        "-c", "positive_data_acceptance,response_schema_conformance,status_code_conformance",
    )  # fmt: skip
    assert "No issues found" in told
    page = httpx.get(f"{predictor.url}/docs", timeout=60).text
    assert "61.5" in page
    assert "north" in page


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """The predict paths alone, for the model `stay`, with its columns, one or two rows and data that fits."""
    document["paths"] = {
        path: operations for path, operations in document["paths"].items() if path.endswith(("/infer", ":predict"))
    }
    for operations in document["paths"].values():
        for parameter in operations["post"]["parameters"]:
            if parameter["in"] == "path":
                parameter["schema"] = {"enum": [parameter["example"]]}
        operations["post"]["parameters"] = [
            parameter for parameter in operations["post"]["parameters"] if parameter["in"] == "path"
        ]
    kinds = {"FP64": {"type": ["number", "null"]}, "INT64": {"type": "integer"}, "BOOL": {"type": "boolean"}}
    inputs = [
        {
            "type": "object",
            "required": ["name", "datatype", "shape", "data"],
            "additionalProperties": False,
            "properties": {
                "name": {"const": name},
                "datatype": {"const": datatype},
                "shape": {"enum": [[2], [2, 1]]},
                "data": {
                    "type": "array",
                    "minItems": 2,
                    "maxItems": 2,
                    "items": kinds.get(datatype, {"type": "string"}),
                },
            },
        }
        for name, (datatype, _) in COLUMNS.items()
    ]
    schemas = document["components"]["schemas"]
    schemas["InferRequest"]["properties"]["inputs"] = {
        "type": "array", "prefixItems": inputs, "minItems": 4, "maxItems": 4, "items": False,
    }  # fmt: skip
    schemas["InferRequest"]["properties"]["outputs"] = {
        "type": "array", "maxItems": 2, "uniqueItems": True,
        "items": {"type": "object", "required": ["name"], "properties": {"name": {"enum": ["probability", "prediction_id"]}}},
    }  # fmt: skip
    schemas["PredictRequest"]["properties"]["instances"]["items"] = {
        "type": "object",
        "required": ["features"],
        "additionalProperties": False,
        "properties": {
            "entity": {"type": "object", "maxProperties": 0},
            "features": {
                "type": "object",
                "required": ["count"],
                "additionalProperties": False,
                "properties": {
                    name: kinds.get(datatype, {"type": "string"}) for name, (datatype, _) in COLUMNS.items()
                },
            },
        },
    }
    return document
