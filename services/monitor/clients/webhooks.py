"""Messages to chats and other programs over HTTPS, to public addresses only.

The addresses are secrets (whoever knows one can write into the chat), so they stand in a file that only monitor reads:

    webhooks:
      - name: controlling          # as Monitor documents name it
        tenant: st-mary            # whose; left out: the operator's, told of everybody's incidents
        url: https://hooks.slack.com/services/T000/B000/XXXX
        format: slack              # or json
        secret: a-long-random-text # signs the body
        severity: warning          # operator's: critical = only those

Neither an address nor a secret is ever logged, shown or part of an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from services.monitor.domain.alerts.deliver import Undelivered
from services.monitor.domain.alerts.routes import OPERATOR, OperatorHook
from services.monitor.domain.alerts.text import json_body, slack_body
from services.monitor.domain.incidents.words import Severity
from tenon.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.monitor.domain.incidents.ports import Delivery

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

DEADLINE_SECONDS = 5.0
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_CARRIERS = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2002::/16"))
"""IPv6 addresses that carry an IPv4 one: NAT64 and 6to4."""


class Webhook(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    tenant: str = OPERATOR
    url: SecretStr
    format: Literal["slack", "json"] = "json"
    secret: SecretStr | None = None
    severity: Severity = Severity.WARNING

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.password:
            raise ValueError("a webhook's address is https://host/path, without a user name")
        return value


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    webhooks: list[Webhook] = Field(default_factory=list)


class WebhookFile:
    """The operator's file, read again when it changes. Without one there are no webhooks."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._hooks: dict[tuple[str, str], Webhook] = {}
        self._lock = threading.Lock()

    def find(self, tenant: str, name: str) -> Webhook | None:
        """A tenant's webhook, or with an empty name the operator's."""
        return self._current().get((tenant, name))

    def operators(self) -> Sequence[OperatorHook]:
        """The operator's own."""
        return [
            OperatorHook(one.name, one.severity) for (tenant, _), one in self._current().items() if tenant == OPERATOR
        ]

    def _current(self) -> dict[tuple[str, str], Webhook]:
        if self._path is None:
            return {}
        with self._lock:
            try:
                found = self._path.stat()
                stamp = (found.st_mtime_ns, found.st_size)
                if stamp != self._stamp:
                    self._hooks = _read(self._path)
                    self._stamp = stamp
            except OSError as err:
                raise Unavailable(
                    "WEBHOOKS_UNREADABLE", f"the file of webhooks cannot be read: {err.strerror}"
                ) from None
            return self._hooks


def _read(path: Path) -> dict[tuple[str, str], Webhook]:
    """The entries by tenant and name. An error says where, never what stands there."""
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
        entries = _File.model_validate(data or {}).webhooks
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise Unavailable("WEBHOOKS_UNREADABLE", f"the file of webhooks is not YAML{where}") from None
    except ValidationError as err:
        first = err.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Unavailable("WEBHOOKS_UNREADABLE", f"the file of webhooks: {where}: {first['msg']}") from None
    return {(one.tenant, one.name): one for one in entries}


@dataclass(slots=True)
class HttpWebhooks:
    """See `domain.alerts_deliver.Webhooks`."""

    file: WebhookFile
    allowed: Sequence[Network] = ()
    """Private networks that may be sent to nevertheless, as the operator allowed; plain http is for them only."""
    deadline: float = DEADLINE_SECONDS
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def send(self, delivery: Delivery) -> None:
        """Bring one message. Raises `Undelivered`; its text names the webhook's name at most."""
        try:
            hook = self.file.find(delivery.tenant, delivery.webhook)
        except Unavailable as err:
            raise Undelivered(err.message, again=True) from None
        if hook is None:
            raise Undelivered("no webhook of this name is set up; ask the operator", again=False)
        body = json.dumps(slack_body(delivery) if hook.format == "slack" else json_body(delivery)).encode()
        status = self._post(hook, body, _headers(hook, delivery, body))
        if not 200 <= status < 300:
            raise Undelivered(f"answered {status}", again=status in _TRY_AGAIN)

    def _post(self, hook: Webhook, body: bytes, headers: dict[str, str]) -> int:
        parts = urlsplit(hook.url.get_secret_value())
        host, plain = parts.hostname or "", parts.scheme == "http"
        port = parts.port or (80 if plain else 443)
        ends = time.monotonic() + self.deadline
        address, private = self._resolve(host, port)
        if plain and not private:
            raise Undelivered("plain http is not sent to; use https", again=False)
        connection = _Pinned(host, port, address, None if plain else self.tls, ends)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.connect()
            # Who answers a byte at a time is cut off at the deadline as well.
            cut = threading.Timer(max(0.01, ends - time.monotonic()), connection.cut)
            cut.daemon = True
            cut.start()
            try:
                connection.request("POST", target, body, headers)
                # Redirects are not followed: they could lead where the address itself may not.
                return connection.getresponse().status
            finally:
                cut.cancel()
        except ssl.SSLCertVerificationError as err:
            raise Undelivered(f"its certificate is not trusted: {err.verify_message}", again=False) from None
        except (TimeoutError, OSError, http.client.HTTPException) as err:
            raise Undelivered(f"no answer ({type(err).__name__})", again=True) from None
        finally:
            connection.close()

    def _resolve(self, host: str, port: int) -> tuple[str, bool]:
        """An address that may be sent to, and whether it is of an allowed private network. All addresses of the name must
        be fit, and the one found here is the one connected to: a name cannot answer differently the second time."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise Undelivered("its name cannot be resolved", again=True) from None
        addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
        private = [any(one in network for network in self.allowed) for one in addresses]
        if not addresses or not all(fit or is_public(one) for one, fit in zip(addresses, private, strict=True)):
            raise Undelivered("its address is not a public one", again=False)
        return str(addresses[0]), private[0]


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet, also when it carries another one inside."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and any(address in network for network in _CARRIERS):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def _headers(hook: Webhook, delivery: Delivery, body: bytes) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "user-agent": "tenon-monitor",
        "x-tenon-delivery": f"{delivery.created_at}-{delivery.id}",
    }
    if hook.secret is not None:
        stamp = str(int(time.time()))
        signed = hmac.new(hook.secret.get_secret_value().encode(), f"{stamp}.".encode() + body, hashlib.sha256)
        headers["x-tenon-signature"] = f"t={stamp},v1={signed.hexdigest()}"
    return headers


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was looked at, in the name of a host. Every step has what is left of the time."""

    def __init__(self, host: str, port: int, address: str, tls: ssl.SSLContext | None, ends: float) -> None:
        super().__init__(host, port)
        self._address, self._tls, self._ends = address, tls, ends
        self.default_port = 80 if tls is None else 443

    def connect(self) -> None:
        """Connect, with TLS in the name of the host."""
        left = max(0.01, self._ends - time.monotonic())
        self.sock = socket.create_connection((self._address, self.port), timeout=left)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)

    def cut(self) -> None:
        """End whatever is waited for."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
