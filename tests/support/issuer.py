"""A token issuer: real keys, and a real HTTP server for the public ones."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER = "https://login.example.org/"
AUDIENCE = "tenon"


def new_key(algorithm: str) -> Any:
    """A fresh private key for an algorithm."""
    if algorithm[:2] in ("RS", "PS"):
        return rsa.generate_private_key(65537, 2048)
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def public_jwk(key: Any, kid: str | None) -> dict[str, Any]:
    """The public part as a JSON Web Key."""
    kind: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.OKPAlgorithm
    if isinstance(key, ec.EllipticCurvePrivateKey):
        kind = jwt.algorithms.ECAlgorithm
    found = dict(json.loads(kind.to_jwk(key.public_key())))
    return found | ({"kid": kid} if kid is not None else {}) | {"use": "sig"}


@dataclass
class Issuer:
    """Signs tokens, and serves its keys while it is up."""

    algorithm: str = "EdDSA"
    kid: str | None = "one"
    status: int = 200
    asked: int = 0
    extra: list[Any] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None
    port: int = 0

    def __post_init__(self) -> None:
        self.key = new_key(self.algorithm)

    def rotate(self, kid: str) -> None:
        """Sign with a new key from now on; the old one is not published any more."""
        self.key, self.kid = new_key(self.algorithm), kid

    def key_set(self) -> bytes:
        """What it publishes."""
        return json.dumps({"keys": [*self.extra, public_jwk(self.key, self.kid)]}).encode()

    def token(self, tenant: Any = "acme", scope: Any = "predict read", **changes: Any) -> str:
        """A token as it should be, but for the changes; None leaves a claim out."""
        now = int(time.time())
        headers = {"kid": self.kid, **changes.pop("headers", {})}
        key, algorithm = changes.pop("key", self.key), changes.pop("algorithm", self.algorithm)
        claims = {
            "iss": ISSUER, "aud": AUDIENCE, "sub": "app-7", "exp": now + 600, "iat": now, "tenant": tenant, "scope": scope,
        } | changes  # fmt: skip
        given = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(given, key, algorithm, headers={name: v for name, v in headers.items() if v is not None})

    @property
    def url(self) -> str:
        """Where the keys are."""
        return f"http://127.0.0.1:{self.port}/keys"

    def start(self) -> Issuer:
        """Listen (on the same port again after a stop)."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                body = issuer.key_set()
                self.send_response(issuer.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Go down."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
