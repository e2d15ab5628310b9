"""Monitor documents and incidents over gRPC: the same as over HTTP, and the same refusals."""

from __future__ import annotations

import json

import grpc
import httpx
import pytest

from tenon.api.monitor.v1 import monitor_pb2 as pb
from tenon.api.monitor.v1 import monitor_pb2_grpc
from tests.support.platform import Platform

TENANT = "contract-watch"
DOCUMENT = {"kind": "Monitor", "name": "cost", "importance": "high", "alerts": {"ignore": ["ward"]}}


@pytest.fixture(scope="module")
def key(platform: Platform) -> str:
    """Of a tenant without a model."""
    platform.create_tenant(TENANT)
    return platform.create_key(TENANT)


def test_a_document_put_over_grpc_is_the_one_http_gives(platform: Platform, key: str) -> None:
    """Tried, put, put again and read, with the revision and the canonical form of the HTTP door."""
    metadata = (("authorization", f"Bearer {key}"),)
    with grpc.insecure_channel(platform.targets["monitor"], [("grpc.enable_http_proxy", 0)]) as channel:
        monitor = monitor_pb2_grpc.MonitorServiceStub(channel)
        request = pb.PutMonitorRequest(tenant=TENANT, spec_json=json.dumps(DOCUMENT).encode(), dry_run=True)
        assert monitor.PutMonitor(request, metadata=metadata, timeout=60).change == "created"
        assert not monitor.ListMonitors(pb.ListMonitorsRequest(tenant=TENANT), metadata=metadata, timeout=60).monitors
        request.dry_run = False
        changes = [monitor.PutMonitor(request, metadata=metadata, timeout=60).change for _ in range(2)]
        assert changes == ["created", "unchanged"]
        found = monitor.GetMonitor(
            pb.GetMonitorRequest(tenant=TENANT, name="cost"), metadata=metadata, timeout=60
        ).monitor
        url = f"{platform.urls['monitor']}/v1/tenants/{TENANT}/monitors/cost"
        told = httpx.get(url, headers={"authorization": f"Bearer {key}"}, timeout=60).json()
        assert (found.revision, found.digest) == (told["revision"], told["digest"])
        assert json.loads(found.spec_json) == told["spec"]
        (listed,) = monitor.ListMonitors(pb.ListMonitorsRequest(tenant=TENANT), metadata=metadata, timeout=60).monitors
        assert listed == found


@pytest.mark.parametrize(
    ("method", "request_", "code", "reason"),
    [
        ("GetMonitor", pb.GetMonitorRequest(tenant=TENANT, name="other"), "NOT_FOUND", "other"),
        ("PutMonitor", pb.PutMonitorRequest(tenant=TENANT, spec_json=b"{"), "INVALID_ARGUMENT", "not JSON"),
        ("PutMonitor", pb.PutMonitorRequest(tenant=TENANT, spec_json=b'{"kind":"Model"}'), "INVALID_ARGUMENT", "Monitor"),
        ("GetIncident", pb.GetIncidentRequest(tenant=TENANT, incident="thing"), "NOT_FOUND", "no incident 'thing'"),
        ("ListIncidents", pb.ListIncidentsRequest(), "PERMISSION_DENIED", "admin key"),
        ("ListIncidents", pb.ListIncidentsRequest(tenant=TENANT, state="odd"), "INVALID_ARGUMENT", "'odd' is not known"),
        ("ListIncidents", pb.ListIncidentsRequest(tenant=TENANT, limit=-1), "INVALID_ARGUMENT", "limit"),
        ("SnoozeIncident", pb.SnoozeIncidentRequest(tenant=TENANT, incident="thing"), "INVALID_ARGUMENT", "until"),
        ("WakeIncident", pb.WakeIncidentRequest(tenant=TENANT, incident="thing"), "NOT_FOUND", "no incident 'thing'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    platform: Platform, key: str, method: str, request_: object, code: str, reason: str
) -> None:
    """The code and the text name what is missing, wrong or not the caller's."""
    with grpc.insecure_channel(platform.targets["monitor"], [("grpc.enable_http_proxy", 0)]) as channel:
        ask = getattr(monitor_pb2_grpc.MonitorServiceStub(channel), method)
        with pytest.raises(grpc.RpcError) as refused:
            ask(request_, metadata=(("authorization", f"Bearer {key}"),), timeout=60)
    details = refused.value.details() or ""
    assert (refused.value.code().name, reason in details) == (code, True), details
