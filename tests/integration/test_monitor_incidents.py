"""Incidents from the stream to the chat: a real monitor on a real Redis, a chat that listens, the command that answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import redis
from google.protobuf.duration_pb2 import Duration

from tenon.api.monitor.v1 import monitor_pb2 as pb
from tenon.api.monitor.v1 import monitor_pb2_grpc
from tenon.core.manifest import CategoricalBaseline, NumericBaseline
from tests.support.fakes_monitor import ADMIN_KEY, FakeRegistry, MonitorProcess, wait_for
from tests.support.monitor_data import batch_document, categorical_baseline, manifest, numeric_baseline
from tests.support.platform import PATIENT
from tests.support.redis import redis_binary, running_redis
from tests.support.service_process import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine")

TENANTS = ("north", "south", "east", "west", "mid")
TOKEN = "T0-B0-secret"


class Chat:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                chat.texts.append(self.path + " " + " ".join(one["text"]["text"] for one in json.loads(body)["blocks"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Be quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def url(self, name: str) -> str:
        """Where a name is listened for."""
        return f"http://127.0.0.1:{self.server.server_port}/{name}/{TOKEN}"


def tenon(monitor: MonitorProcess, *words: str) -> dict[str, Any]:
    """What the command answers."""
    services = ("registry", "ingest", "features", "trainer", "predictor", "monitor")
    environment = {**os.environ, **PATIENT, "TENON_API_KEY": ADMIN_KEY} | {
        f"TENON_{name.upper()}_URL": monitor.url for name in services
    }
    done = subprocess.run(
        [sys.executable, "-m", "tenon.cli.main", *words, "--json"],
        capture_output=True, text=True, timeout=180, check=False, env=environment, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def answered_over_grpc(monitor: MonitorProcess, own: str, common: str) -> None:
    """North's client sees its own rows and members only, and answers for itself; the operator sees everybody's."""
    with grpc.insecure_channel(f"127.0.0.1:{monitor.grpc_port}", [("grpc.enable_http_proxy", 0)]) as channel:
        stub = monitor_pb2_grpc.MonitorServiceStub(channel)
        north: Any = {"metadata": (("authorization", "Bearer key-of-north"),), "timeout": 60}
        admin: Any = {"metadata": (("authorization", f"Bearer {ADMIN_KEY}"),), "timeout": 60}
        mine = {one.id: one for one in stub.ListIncidents(pb.ListIncidentsRequest(tenant="north"), **north).incidents}
        assert set(mine) == {own, common}
        assert {one.tenant for incident in mine.values() for one in incident.evidence} == {"north"}
        assert (list(mine[common].tenants), mine[own].note.who, mine[own].severity) == ([], "", "critical")
        assert mine[own].evidence[0].HasField("p_value")
        everything = stub.GetIncident(pb.GetIncidentRequest(incident=common), **admin).incident
        assert len(everything.tenants) == everything.tenants_looked_at == len(TENANTS)
        asked = pb.AcknowledgeIncidentRequest(tenant="north", incident=own, text="at it")
        assert stub.AcknowledgeIncident(asked, **north).incident.note.action == "acknowledged"
        snooze = pb.SnoozeIncidentRequest(tenant="north", incident=own, who="Ida", length=Duration(seconds=3600))
        noted = stub.SnoozeIncident(snooze, **north).incident.note
        assert (noted.action, noted.who) == ("snoozed", "Ida")
        assert noted.until.seconds - noted.at.seconds in (3599, 3600)
        woken = stub.WakeIncident(pb.WakeIncidentRequest(tenant="north", incident=own), **north).incident
        assert not woken.HasField("note")


def test_from_the_stream_to_the_chat(tmp_path: Path) -> None:
    """A level that grows for everybody is one incident, one tenant's change of unit is another; both are told, to whom they
    concern, and answered by the command. Neither document, log nor answer has the chat's address."""
    chance = np.random.default_rng(0)
    x = chance.normal(size=20_000)
    trained: dict[str, NumericBaseline | CategoricalBaseline] = {
        "x": numeric_baseline(x),
        "ward": categorical_baseline(chance.choice(["a", "b"], size=20_000).tolist()),
    }
    fake = FakeRegistry(
        keys={tenant: f"key-of-{tenant}" for tenant in TENANTS},
        manifests={(tenant, "cost", 1): manifest(trained, numeric_baseline(x), tenant=tenant) for tenant in TENANTS},
    )
    registry, port = fake.start()
    chat = Chat()
    hooks = [
        {"name": "ward_chat", "tenant": "north", "url": chat.url("north"), "format": "slack"},
        {"name": "operators", "url": chat.url("operators"), "format": "slack"},
    ]
    (tmp_path / "webhooks.yaml").write_text(json.dumps({"webhooks": hooks}))
    with running_redis() as server, redis.Redis.from_url(server.url) as client:
        monitor = MonitorProcess(
            tmp_path / "monitor", server.url, port, TENON_MONITOR_INCIDENT_SECONDS="0.3", TENON_MONITOR_ALERT_SECONDS="0.2",
            TENON_MONITOR_WEBHOOKS_FILE=str(tmp_path / "webhooks.yaml"), TENON_MONITOR_WEBHOOK_NETWORKS="127.0.0.0/8",
        )  # fmt: skip
        monitor.start()
        try:
            with monitor.client("key-of-north") as http:
                document = {"name": "cost", "alerts": {"webhooks": ["ward_chat"]}}
                assert http.put("/v1/tenants/north/monitors/cost", json=document).json()["change"] == "created"
            for tenant in TENANTS:
                values = chance.normal(size=2_000)
                columns = {
                    "x": values * 1_000 + 5_000 if tenant == "north" else values,
                    "ward": chance.choice(["a", "b"], p=[0.8, 0.2], size=2_000).tolist(),
                }
                sent = batch_document(values, columns, at=time.time_ns() // 1_000 - 600_000_000, tenant=tenant)
                client.xadd("tenon:predictions", {"batch": json.dumps(sent)})

            def found() -> dict[bool, dict[str, Any]]:
                with monitor.client(ADMIN_KEY) as http:
                    return {one["common"]: one for one in http.get("/v1/incidents").json()["incidents"]}

            wait_for(
                lambda: len(found().get(True, {}).get("tenants", [])) == 5 and False in found(), "both", log=monitor.log
            )
            common, own = found()[True], found()[False]
            assert (common["features"], len(common["tenants"])) == (["ward"], 5)
            assert (own["tenant"], own["features"], own["severity"]) == ("north", ["x"], "critical")

            with monitor.client("key-of-south") as http:
                (mine,) = http.get("/v1/tenants/south/incidents").json()["incidents"]
                assert (mine["id"], mine["common"]) == (common["id"], True)
                assert not any(tenant in json.dumps(mine) for tenant in TENANTS if tenant != "south")
                assert http.get(f"/v1/tenants/south/incidents/{own['id']}").status_code == 404
                assert http.get("/v1/incidents").status_code in (401, 403)

            def told() -> bool:
                text = "\n".join(chat.texts)
                # Where north's rows were counted before the others', its ward was its own for a moment.
                named = "x of cost" in text or "x and 1 more of cost" in text
                return f"/north/{TOKEN}" in text and f"/operators/{TOKEN}" in text and named

            wait_for(told, "the chat was told", log=monitor.log, seconds=180)
            listed = tenon(monitor, "incidents", "list", "--everyone")
            assert {one["id"] for one in listed["incidents"]} == {common["id"], own["id"]}
            noted = tenon(
                monitor, "incidents", "ack", own["id"], "--everyone", "--by", "Eva", "--text", "calling the lab"
            )
            assert (noted["note"]["action"], noted["note"]["who"]) == ("acknowledged", "Eva")
            snoozed = tenon(monitor, "incidents", "snooze", common["id"], "--everyone", "--for", "2h")
            assert snoozed["note"]["until"] is not None
            answered_over_grpc(monitor, own["id"], common["id"])
            with monitor.client(ADMIN_KEY) as http:
                figures = http.get("/metrics").text
            assert 'tenon_monitor_incidents{kind="inputs",severity="critical",tenant="north"} 1.0' in figures
            assert 'tenon_monitor_incidents{kind="inputs",severity="warning",tenant="everyone"} 1.0' in figures
            assert TOKEN not in monitor.log.read_text() + json.dumps(listed) + figures
        finally:
            monitor.stop()
            registry.stop(0)
            chat.server.shutdown()
            chat.server.server_close()
