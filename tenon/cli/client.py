"""The one place of the command that speaks HTTP: deadlines, waiting aloud, and errors rebuilt from the wire."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any
from urllib.parse import urlencode

import urllib3

from tenon.cli.failures import BadUsage, ServiceFailed, Unreachable
from tenon.cli.locate import Platform, is_running
from tenon.core.errors import Kind, Place, TenonError, error_class

FIRST_WORD_SECONDS = 1.5
_CONNECT_SECONDS = 3.0
_PAUSE_SECONDS = 0.2
_KINDS = {
    400: Kind.INVALID, 401: Kind.UNAUTHENTICATED, 403: Kind.FORBIDDEN, 404: Kind.NOT_FOUND, 405: Kind.INVALID,
    409: Kind.CONFLICT, 412: Kind.PRECONDITION, 413: Kind.TOO_LARGE, 415: Kind.UNSUPPORTED_MEDIA, 422: Kind.INVALID,
    429: Kind.RATE_LIMITED, 503: Kind.UNAVAILABLE, 504: Kind.DEADLINE,
}  # fmt: skip
"""HTTP status to kind, as the doors send them. The doors' own table would bring a web server along."""


class Client:
    """Asks the services of one platform."""

    def __init__(self, platform: Platform, say: Callable[[str], None], *, deadline: float = 10.0) -> None:
        self.platform = platform
        self._say = say
        self._deadline = deadline
        self._pool = urllib3.PoolManager(num_pools=8, maxsize=4, retries=False)

    def get(self, service: str, path: str, **options: Any) -> Any:
        """GET a path; the answer's JSON."""
        return self.call(service, "GET", path, **options)

    def put(self, service: str, path: str, body: Any, **options: Any) -> Any:
        """PUT JSON to a path; the answer's JSON."""
        return self.call(service, "PUT", path, body=body, **options)

    def post(self, service: str, path: str, body: Any = None, **options: Any) -> Any:
        """POST JSON to a path; the answer's JSON."""
        return self.call(service, "POST", path, body=body, **options)

    def call(
        self,
        service: str,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
        stream: IO[bytes] | None = None,
        patient: bool = True,
    ) -> Any:
        """Ask a service; raises the error it answers with, or `Unreachable`.

        A connection that is refused is tried again until the deadline, because a service may be restarting; nothing
        was sent then. `patient=False` takes the first no for an answer. `stream` is a file to send as the body.
        """
        base = self.platform.url(service)
        seconds = deadline or self._deadline
        url = base + path + _query(params)
        sent = {"accept": "application/json", **(headers or {})}
        if self.platform.api_key:
            sent["authorization"] = f"Bearer {self.platform.api_key}"
        payload: bytes | IO[bytes] | None = stream
        if body is not None:
            payload = _json(body)
            sent["content-type"] = "application/json"
        with self._first_word(f"waiting for {service} at {base} …"):
            answer = self._send(service, base, method, url, payload, sent, seconds, patient=patient)
        return self._read(service, base, answer)

    def download(
        self, service: str, path: str, *, params: Mapping[str, Any] | None = None, deadline: float
    ) -> bytes:  # fmt: skip
        """GET a file's bytes; raises as `call`."""
        base = self.platform.url(service)
        sent = {"authorization": f"Bearer {self.platform.api_key}"} if self.platform.api_key else {}
        with self._first_word(f"waiting for {service} at {base} …"):
            answer = self._send(service, base, "GET", base + path + _query(params), None, sent, deadline, patient=True)
        if answer.status < 300:
            return bytes(answer.data)
        self._read(service, base, answer)
        raise ServiceFailed("NOT_TENON", f"{service} at {base} answered {answer.status} to a download")

    def _send(
        self,
        service: str,
        base: str,
        method: str,
        url: str,
        payload: Any,
        headers: Mapping[str, str],
        seconds: float,
        *,
        patient: bool,
    ) -> urllib3.BaseHTTPResponse:
        until = time.monotonic() + seconds
        while True:
            left = max(0.05, until - time.monotonic())
            timeout = urllib3.Timeout(connect=min(_CONNECT_SECONDS, left), read=left)
            try:
                return self._pool.request(
                    method, url, body=payload, headers=dict(headers), timeout=timeout, redirect=False
                )
            except urllib3.exceptions.NameResolutionError as err:
                raise self._unreachable(service, base, "the host name is not known") from err
            except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as err:
                gone = self.platform.folder is not None and not is_running(self.platform.folder)
                if not patient or gone or time.monotonic() + _PAUSE_SECONDS >= until:
                    refused = isinstance(err, urllib3.exceptions.NewConnectionError)
                    raise self._unreachable(
                        service, base, "the connection is refused" if refused else "no connection in time"
                    ) from err
                time.sleep(_PAUSE_SECONDS)
            except urllib3.exceptions.ReadTimeoutError as err:
                raise self._unreachable(service, base, f"no answer within {seconds:.0f} s") from err
            except urllib3.exceptions.SSLError as err:
                raise self._unreachable(service, base, f"TLS: {err}") from err
            except urllib3.exceptions.ProtocolError as err:
                # The service went away while it answered, which happens when it crashes. Only reading may be repeated.
                if method != "GET" or not patient or time.monotonic() + _PAUSE_SECONDS >= until:
                    raise self._unreachable(service, base, "the connection was cut while it answered") from err
                time.sleep(_PAUSE_SECONDS)
            except urllib3.exceptions.HTTPError as err:
                raise self._unreachable(service, base, str(err)) from err

    def _read(self, service: str, base: str, answer: urllib3.BaseHTTPResponse) -> Any:
        try:
            body = json.loads(answer.data) if answer.data else {}
        except ValueError:
            body = None
        if answer.status < 300 and isinstance(body, dict):
            return _Answer(body, service, base)
        request_id = answer.headers.get("x-request-id", "")
        if not isinstance(body, dict) or "reason" not in body:
            raise ServiceFailed(
                "NOT_TENON",
                f"what answers at {base} is not Tenon's {service}: HTTP {answer.status} {str(answer.data[:80], 'utf-8', 'replace')!r}",
                hint=f"check TENON_{service.upper()}_URL; `tenon doctor` shows what is used",
            )
        if answer.status in _KINDS:
            raise self._rebuild(service, answer.status, body)
        where = f"; look for it in {self.platform.folder / 'logs' / (service + '.log')}" if self.platform.folder else ""
        raise ServiceFailed(
            str(body["reason"]),
            f"{service} failed: {body.get('error', 'internal error')}{where}",
            hint=f"grep {request_id} {self.platform.folder / 'logs' / (service + '.log')}"
            if self.platform.folder
            else "tenon doctor",
        )

    def _rebuild(self, service: str, status: int, body: dict[str, Any]) -> TenonError:
        place = body.get("place")
        known = (
            {key: place[key] for key in ("file", "line", "column", "field") if key in place}
            if isinstance(place, dict)
            else None
        )
        hint = body.get("hint")
        if status == 401:
            hint = (
                f"remove TENON_API_KEY from the environment; the platform in {self.platform.folder} has its own key"
                if self.platform.folder
                else "export TENON_API_KEY=…  (an operator makes one with `tenon keys create --tenant NAME`)"
            )
        return error_class(_KINDS[status])(
            str(body["reason"]),
            str(body.get("error") or f"{service} answered {status}"),
            place=Place(**known) if known else None,
            hint=hint,
            data=body.get("data") if isinstance(body.get("data"), dict) else None,
        )

    def _unreachable(self, service: str, base: str, why: str) -> Unreachable:
        if self.platform.folder is None:
            hint = f"start it, or correct TENON_{service.upper()}_URL; `tenon doctor` shows what is used"
        elif is_running(self.platform.folder):
            hint = f"tail -n 30 {self.platform.folder / 'logs' / (service + '.log')}"
        else:
            hint = f"tenon up --data {self.platform.folder}"
        return Unreachable(
            "SERVICE_UNREACHABLE", f"{service} does not answer at {base}: {why}", hint=hint, data={"url": base}
        )

    @contextmanager
    def _first_word(self, text: str) -> Iterator[None]:
        timer = threading.Timer(FIRST_WORD_SECONDS, self._say, [text])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


class _Answer(dict[str, Any]):
    """The body of an answer; a key it lacks is the service's fault and said as such."""

    def __init__(self, body: dict[str, Any], service: str, base: str) -> None:
        super().__init__(body)
        self._service, self._base = service, base

    def __missing__(self, key: str) -> Any:
        raise ServiceFailed(
            "NOT_TENON",
            f"{self._service} at {self._base} answered without {key!r}; is it of another version than this command?",
            hint=f"check TENON_{self._service.upper()}_URL; `tenon doctor` shows what is used",
        )


def _json(body: Any) -> bytes:
    """The body as it is sent. Python reads texts such as 1e999, NaN and a lone `\\ud800` that JSON has no bytes for."""
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise BadUsage("a text to be sent holds half of a surrogate pair, which is no character") from None
    except ValueError:
        raise BadUsage(
            "a number to be sent is not finite or too large to be one", hint="use null for a missing number"
        ) from None


def _query(params: Mapping[str, Any] | None) -> str:
    """What follows the path; what is None is left out."""
    given = {key: _text(value) for key, value in (params or {}).items() if value is not None}
    return "?" + urlencode(given) if given else ""


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
