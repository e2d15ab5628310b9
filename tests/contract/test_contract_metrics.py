"""Metrics: every service has them, under names that dashboards can rely on, and with bounded labels."""

from __future__ import annotations

import re

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.platform import Platform

SERVICES = ("registry", "ingest", "features", "trainer", "predictor", "monitor")
# Ours, the semantic conventions' own, and what the client library says of the process.
PREFIXES = ("tenon_", "http_server_", "rpc_server_", "python_", "process_")


def families(platform: Platform, service: str) -> dict[str, object]:
    answer = httpx.get(f"{platform.urls[service]}/metrics", timeout=60)
    assert answer.status_code == 200
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


@pytest.mark.parametrize("service", SERVICES)
def test_names_follow_the_conventions(platform: Platform, service: str) -> None:
    """One prefix, small letters, and a service's own metrics carry its name or are the platform's."""
    found = families(platform, service)
    assert any(name.startswith("tenon_") for name in found)
    for name in found:
        assert name.startswith(PREFIXES), name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_says_what_it_is(platform: Platform, service: str) -> None:
    """tenon_build_info tells service and version, as other info metrics do."""
    (sample,) = families(platform, service)["tenon_build_info"].samples  # type: ignore[attr-defined]
    assert sample.labels["service"] == service
    assert sample.value == 1


@pytest.mark.parametrize("service", SERVICES)
def test_routes_are_templates_and_ids_are_no_labels(platform: Platform, service: str) -> None:
    """A path with ids in it is counted under its template, so that a stranger cannot make series without end."""
    for number in range(3):
        httpx.get(f"{platform.urls[service]}/v1/tenants/nobody/models/m{number}", timeout=60)
        httpx.get(f"{platform.urls[service]}/nothing/at/{number}", timeout=60)
    routes = {
        sample.labels["http_route"]
        for sample in families(platform, service)["http_server_request_duration_seconds"].samples  # type: ignore[attr-defined]
    }
    assert not [route for route in routes if "nobody" in route or "/at/" in route], routes
    assert "unmatched" in routes
