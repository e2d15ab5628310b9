"""The OpenAPI document of the predictor."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI

from services.predictor.api_http.described import EXAMPLE, describe
from tenon.kit.openapi import amend, say_what_all_do


@pytest.fixture
def document() -> dict[str, Any]:
    """Of an app with the predict path and a probe, both unknown to FastAPI but for their names."""
    app = FastAPI()
    amend(app, say_what_all_do)

    @app.post("/v2/models/{model}/infer")
    @app.post("/v2/models/{model}/versions/{version}/infer")
    def infer(model: str, version: str | None = None) -> None:
        """Nothing."""

    @app.get("/v2/health/live")
    def live() -> None:
        """Nothing."""

    amend(app, describe)
    assert app.openapi() is app.openapi()
    return app.openapi()


def test_predict_paths_say_what_they_take_and_give(document: dict[str, Any]) -> None:
    """Body with a working example, both forms of the answer, and no parameter that is not read."""
    for path in ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"):
        infer = document["paths"][path]["post"]
        assert infer["requestBody"]["content"]["application/json"]["example"] == EXAMPLE
        assert set(infer["responses"]["200"]["content"]) == {"application/json", "application/octet-stream"}
        assert all(parameter["in"] in ("path", "header") for parameter in infer["parameters"])


def test_refusals_and_keys_are_described(document: dict[str, Any]) -> None:
    """Every route refuses in one form and never as FastAPI would; only probes need no key."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert "422" not in operation["responses"]
            refusal = operation["responses"]["default"]["content"]["application/json"]["schema"]
            assert refusal == {"$ref": "#/components/schemas/Refusal"}
            assert (operation.get("security") == []) is path.startswith("/v2/health/")
    assert document["security"] == [{"bearer": []}, {"apiKey": []}]
    assert "HTTPValidationError" not in document["components"]["schemas"]
