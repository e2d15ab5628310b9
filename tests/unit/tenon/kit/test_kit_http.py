"""The HTTP frame: one table of errors, request ids, body cap, tenancy."""

from __future__ import annotations

import re
from html import unescape
from typing import Annotated

import pytest
from fastapi import Body, Depends, Request
from fastapi.testclient import TestClient

from tenon.core.errors import Invalid, Kind, Place, Unauthenticated, error_class
from tenon.core.tenancy import ALL_TENANT_SCOPES, Principal, Scope, TenantId
from tenon.kit.auth import bearer
from tenon.kit.http import STATUS, allow, create_app, read_json

PRINCIPALS = {"acme-key": Principal("k1", TenantId("acme"), ALL_TENANT_SCOPES)}


class Keys:
    def authenticate(self, authorization: str | None) -> Principal:
        try:
            return PRINCIPALS[bearer(authorization)]
        except KeyError:
            raise Unauthenticated("KEY_INVALID", "the API key is not valid") from None


@pytest.fixture
def client() -> TestClient:
    app = create_app(service="test", authenticator=Keys(), ready=dict, max_body_bytes=1000)

    @app.get("/v1/tenants/{tenant}/things")
    def things(
        tenant: Annotated[TenantId, Depends(allow(Scope.READ))], limit: int = 10, like: str = ""
    ) -> dict[str, str]:
        return {"tenant": tenant.value}

    @app.post("/v1/tenants/{tenant}/things")
    async def add(request: Request, tenant: Annotated[TenantId, Depends(allow(Scope.WRITE))]) -> dict[str, object]:
        return {"got": await read_json(request)}

    @app.post("/v1/tenants/{tenant}/named")
    def named(
        tenant: Annotated[TenantId, Depends(allow(Scope.WRITE))], body: Annotated[dict[str, str], Body()]
    ) -> dict[str, object]:
        return {"got": body["name"]}

    @app.get("/refuse/{kind}")
    def refuse(kind: str) -> None:
        raise error_class(Kind(kind))("SOME_REASON", "no", place=Place(field="f"), hint="try")

    @app.get("/boom")
    def boom() -> None:
        raise RuntimeError("secret detail")

    return TestClient(app, raise_server_exceptions=False)


KEY = {"authorization": "Bearer acme-key"}


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_has_its_status(client: TestClient, kind: Kind) -> None:
    """A refusal answers with its kind's status and names reason, place and way out."""
    answer = client.get(f"/refuse/{kind.value}")
    assert answer.status_code == STATUS[kind]
    body = answer.json()
    assert (body["error"], body["reason"], body["place"], body["hint"]) == ("no", "SOME_REASON", {"field": "f"}, "try")
    assert body["request_id"] == answer.headers["x-request-id"]


def test_an_unknown_error_tells_only_the_request_id(client: TestClient) -> None:
    """An exception nobody foresaw is a 500 with an id, without its text."""
    answer = client.get("/boom", headers={"x-request-id": "r-1"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["request_id"] == "r-1"


def test_the_callers_request_id_is_kept_unless_it_could_forge_a_log_line(client: TestClient) -> None:
    """A plain id comes back; anything else is replaced."""
    assert client.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert "\t" not in client.get("/healthz", headers={"x-request-id": "a\tb"}).headers["x-request-id"]


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({}, "/v1/tenants/acme/things", 401),
        ({"authorization": "Bearer nope"}, "/v1/tenants/acme/things", 401),
        ({"authorization": "Basic x"}, "/v1/tenants/acme/things", 401),
        (KEY, "/v1/tenants/acme/things", 200),
        ({"x-api-key": "acme-key"}, "/v1/tenants/acme/things", 200),
        (KEY, "/v1/tenants/other/things", 404),
        (KEY, "/v1/tenants/nowhere/things", 404),
        (KEY, "/v1/tenants/NOT%20VALID/things", 400),
        (KEY, "/nothing", 404),
    ],
)
def test_tenancy_at_the_door(client: TestClient, headers: dict[str, str], path: str, status: int) -> None:
    """No key, a wrong key, the own tenant, another tenant and a missing one."""
    answer = client.get(path, headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert answer.json()["error"]


def test_a_json_mistake_names_line_and_column(client: TestClient) -> None:
    """A malformed body is the caller's mistake, and the answer says where it is."""
    answer = client.post("/v1/tenants/acme/things", content=b'{"a": 1,\n "b" 2}', headers=KEY)
    assert answer.status_code == 400
    assert answer.json()["place"]["line"] == 2


def test_a_misspelt_query_parameter_is_not_ignored(client: TestClient) -> None:
    """An unknown parameter is refused with the nearest known one, and only to those who may ask at all."""
    answer = client.get("/v1/tenants/acme/things?limt=5", headers=KEY)
    assert (answer.status_code, answer.json()["hint"]) == (400, "did you mean `limit`?")
    assert client.get("/v1/tenants/acme/things?limit=5", headers=KEY).status_code == 200
    assert client.get("/v1/tenants/acme/things?limt=5").status_code == 401


@pytest.mark.parametrize("content_type", [None, "application/x-www-form-urlencoded", "application/json; charset=utf-8"])
def test_a_body_is_json_whatever_curl_calls_it(client: TestClient, content_type: str | None) -> None:
    """`curl -d` sends a form's content type; the body is read as the JSON it is."""
    headers = KEY | ({"content-type": content_type} if content_type else {})
    answer = client.post("/v1/tenants/acme/named", content=b'{"name": "x"}', headers=headers)
    assert answer.json() == {"got": "x"}


@pytest.mark.parametrize("declared", [True, False])
def test_an_oversized_body_is_refused(client: TestClient, declared: bool) -> None:
    """Over the cap is 413, whether the length is declared or the body is chunked."""
    body = b"x" * 2000 if declared else (chunk for chunk in [b"x" * 900, b"x" * 900])
    answer = client.post("/v1/tenants/acme/things", content=body, headers=KEY)
    assert answer.status_code == 413


def test_metrics_and_probes_need_no_key(client: TestClient) -> None:
    """Prometheus and Kubernetes ask without a credential."""
    for path in ("/healthz", "/readyz", "/metrics"):
        assert client.get(path).status_code == 200


def test_a_refusal_from_invalid_data_has_the_right_class() -> None:
    """error_class is the inverse of a class's kind."""
    assert error_class(Kind.INVALID) is Invalid


def test_the_docs_page_shows_every_route_and_fetches_nothing(client: TestClient) -> None:
    """/docs works without the internet: no script, nothing loaded from elsewhere, and every route stands in it."""
    answer = client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "/v1/tenants/{tenant}/things" in answer.text
    assert 'curl -s -X POST "$URL/v1/tenants/TENANT/named"' in unescape(answer.text)
    assert not re.search(r"<script|<link|https?:|src=", answer.text)


def test_a_wrong_method_names_the_right_one(client: TestClient) -> None:
    """405 says what was tried and what is possible."""
    answer = client.delete("/v1/tenants/acme/named", headers=KEY)
    assert answer.status_code == 405
    assert answer.json()["error"] == "DELETE is not possible at /v1/tenants/acme/named, only POST"


@pytest.mark.parametrize(
    ("body", "reason", "said"),
    [
        (b"{", "JSON_INVALID", "the body is not valid JSON"),
        (b"[]", "REQUEST_INVALID", "the body: a JSON object is expected"),
    ],
)
def test_a_wrong_body_is_refused_in_plain_words(client: TestClient, body: bytes, reason: str, said: str) -> None:
    """No words of the validator's: what is wrong, where, and a reason."""
    answer = client.post("/v1/tenants/acme/named", content=body, headers=KEY)
    assert (answer.status_code, answer.json()["reason"]) == (400, reason)
    assert answer.json()["error"].startswith(said)
