"""Webhooks: signed, bounded in time, never to private addresses, and their addresses are in no text."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from services.monitor.clients.webhooks import HttpWebhooks, WebhookFile, is_public
from services.monitor.domain.alerts.deliver import DeliverAlerts, Undelivered
from services.monitor.domain.alerts.routes import OperatorHook
from services.monitor.domain.incidents.ports import Delivery
from services.monitor.domain.incidents.words import Severity
from tenon.core.errors import Unavailable
from tests.support.incident_fakes import MemoryOutbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "T0-B0-very-secret"
INCIDENT = {
    "id": "i1", "title": "age of <!channel> cost: higher", "state": "open", "severity": "critical", "common": False,
    "tenant": "north", "since": "2026-01-01T00:00:00Z", "causes": ["release 7"], "advice": ["look"], "close_reason": "",
    "evidence": [{"feature": "age", "sentence": "'<script>' is 3 % of rows"}],
}  # fmt: skip
LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


def delivery(webhook: str = "chat", tenant: str = "north", attempts: int = 1) -> Delivery:
    """One message."""
    return Delivery(5, tenant, webhook, ({"event": "opened", "incident": INCIDENT},), 1_000_000, attempts)


class Receiver:
    """A chat that remembers what it got, and answers as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        self.trickle = False
        self.pause = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                while receiver.trickle:
                    try:
                        self.wfile.write(b"H")
                    except OSError:
                        return
                    receiver.pause.wait(0.02)
                receiver.got.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
                self.send_response(receiver.status)
                self.send_header("location", "http://127.0.0.1:1/")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Be quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server.server_port}/services/{TOKEN}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A chat on loopback."""
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def hooks(folder: Path, url: str, **changes: Any) -> WebhookFile:
    """A file with one webhook of a tenant and one of the operator."""
    path = folder / "webhooks.yaml"
    mine = {"name": "chat", "tenant": "north", "url": url, "format": "slack", "secret": "s3cret"} | changes
    operators = {"name": "pager", "url": url, "severity": "critical"}
    path.write_text(json.dumps({"webhooks": [mine, operators]}))
    return WebhookFile(path)


def test_message_arrives_signed(tmp_path: Path, receiver: Receiver) -> None:
    """The receiver can check who sent it and when; text from data can neither mention a channel nor make a link."""
    HttpWebhooks(hooks(tmp_path, receiver.url), LOOPBACK).send(delivery())
    ((path, headers, body),) = receiver.got
    assert path == f"/services/{TOKEN}"
    assert headers["x-tenon-delivery"] == "1000000-5"
    stamp, signature = (part.partition("=")[2] for part in headers["x-tenon-signature"].split(","))
    assert signature == hmac.new(b"s3cret", stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    text = json.loads(body)["blocks"][0]["text"]["text"]
    assert "New incident" in text
    assert "tenon incidents show i1" in text
    assert "<" not in text


def test_programs_get_the_incidents_of_the_api(tmp_path: Path, receiver: Receiver) -> None:
    """The format json has a schema's name and the incident as the API shows it."""
    HttpWebhooks(hooks(tmp_path, receiver.url, format="json"), LOOPBACK).send(delivery())
    body = json.loads(receiver.got[0][2])
    assert (body["schema"], body["tenant"]) == ("tenon.alerts.v1", "north")
    assert body["events"] == [{"event": "opened", "incident": INCIDENT}]


def test_private_addresses_are_not_sent_to(tmp_path: Path, receiver: Receiver) -> None:
    """Without leave nothing inside is reached, by number or by name, and plain http reaches nothing outside."""
    for url in (
        receiver.url,
        receiver.url.replace("127.0.0.1", "localhost"),
        receiver.url.replace("127.0.0.1", "[::1]"),
    ):
        with pytest.raises(Undelivered, match="not a public one") as refusal:
            HttpWebhooks(hooks(tmp_path, url)).send(delivery())
        assert not refusal.value.again
    assert receiver.got == []
    with pytest.raises(Undelivered, match="use https"):
        HttpWebhooks(hooks(tmp_path, "http://93.184.216.34/x")).send(delivery())


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("10.0.0.1", False), ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False),
        ("224.0.0.1", False), ("::1", False), ("fd00::1", False), ("fe80::1", False), ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False), ("2606:2800:220:1:248:1893:25c8:1946", True),
    ],
)  # fmt: skip
def test_what_is_public(address: str, public: bool) -> None:
    """Also an IPv6 address that carries a private one inside is private."""
    assert is_public(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize(("status", "again"), [(302, False), (400, False), (404, False), (429, True), (503, True)])
def test_what_is_tried_again(tmp_path: Path, receiver: Receiver, status: int, again: bool) -> None:
    """A refusal is final, an overload is not, a redirect is not followed; the text has neither address nor token."""
    receiver.status = status
    with pytest.raises(Undelivered) as refusal:
        HttpWebhooks(hooks(tmp_path, receiver.url), LOOPBACK).send(delivery())
    assert (str(refusal.value), refusal.value.again) == (f"answered {status}", again)
    assert len(receiver.got) == 1


def test_who_is_gone_or_silent_is_tried_again(tmp_path: Path, receiver: Receiver) -> None:
    """A closed port, a name that does not resolve, and one that answers a byte at a time beyond the deadline."""
    for url, words in (
        ("http://127.0.0.1:1/" + TOKEN, "no answer"),
        ("https://no-such-host.invalid/" + TOKEN, "cannot be resolved"),
    ):
        with pytest.raises(Undelivered, match=words) as refusal:
            HttpWebhooks(hooks(tmp_path, url), LOOPBACK).send(delivery())
        assert refusal.value.again
        assert TOKEN not in str(refusal.value)
    receiver.trickle = True
    began = time.monotonic()
    with pytest.raises(Undelivered, match="no answer") as refusal:
        HttpWebhooks(hooks(tmp_path, receiver.url), LOOPBACK, deadline=0.2).send(delivery())
    assert refusal.value.again
    assert time.monotonic() - began < 15


def test_a_webhook_belongs_to_its_tenant(tmp_path: Path, receiver: Receiver) -> None:
    """Another tenant's document that names it reaches nothing; the operator's are known with their severity."""
    file = hooks(tmp_path, receiver.url)
    with pytest.raises(Undelivered, match="no webhook of this name"):
        HttpWebhooks(file, LOOPBACK).send(delivery(tenant="south"))
    assert list(file.operators()) == [OperatorHook("pager", Severity.CRITICAL)]
    assert TOKEN not in repr(file.find("north", "chat"))


def test_file_is_read_again_and_its_mistakes_show_no_secret(tmp_path: Path) -> None:
    """A mistake is told by its place; until it is mended nothing is sent, and afterwards it works without a restart."""
    path = tmp_path / "webhooks.yaml"
    path.write_text(f"webhooks:\n  - {{name: chat, url: 'ftp://host/{TOKEN}'}}\n")
    file = WebhookFile(path)
    with pytest.raises(Unavailable, match=r"webhooks\.0\.url") as refusal:
        file.operators()
    assert TOKEN not in str(refusal.value)
    path.write_text(f"webhooks:\n  - {{name: chat, url: 'https://host/{TOKEN}'}}\n")
    assert [one.name for one in file.operators()] == ["chat"]
    assert WebhookFile(None).operators() == []


def test_retries_are_bounded_and_further_apart_each_time() -> None:
    """After eight attempts in about an hour a message is given up; it is noted why."""

    class Broken:
        def send(self, delivery: Delivery) -> None:
            raise Undelivered("answered 503", again=True)

    outbox, now = MemoryOutbox([(0, delivery())]), [0]
    deliver = DeliverAlerts(outbox, Broken(), lambda: now[0], jitter=lambda: 1.0)
    pauses = []
    while outbox.waiting:
        pauses.append((outbox.waiting[0][0] - now[0]) // 1_000_000)
        now[0] = outbox.waiting[0][0]
        done = deliver()
    assert pauses == [0, 10, 40, 160, 640, 2560, 3600, 3600]
    assert (done.given_up, outbox.settled[-1].problem, outbox.settled[-1].again_at) == (1, "answered 503", None)
