"""OIDC tokens beside API keys: a JWT that a trusted issuer signed, checked here, with the issuer's keys at hand.

Nothing of a token is believed before its signature is: not its algorithm (it must be allowed, asymmetric, and of the kind
of the key), not a key or address it names. Refusals say which check failed and never what the token holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt
import urllib3
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from tenon.core.errors import Invalid, TenonError, Unauthenticated, Unavailable
from tenon.core.tenancy import ALL_TENANT_SCOPES, Principal, TenantId
from tenon.kit.process import Periodic
from tenon.kit.telemetry import get_logger

if TYPE_CHECKING:
    from tenon.kit.config import ServiceSettings

log = get_logger(__name__)

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

LONGEST = 16 << 10
_LARGEST_KEY_SET = 1 << 20
_MOST_KEYS = 100
_DEADLINE_SECONDS = 3.0
_KEPT_SECONDS = 5.0
_KEPT = 10_000
_FEWEST_RSA_BITS = 2048
_CURVES = {"ES256": SECP256R1, "ES384": SECP384R1, "ES512": SECP521R1}


@dataclass(frozen=True)
class Rules:
    """What a token must be, and where it says who it is for."""

    issuer: str
    audience: str
    algorithms: frozenset[str]
    tenant_claim: str
    scopes_claim: str
    scope_prefix: str = ""
    leeway_seconds: float = 30.0


class KeySet:
    """An issuer's public keys (JWKS), from an https address or a file; kept on disk for when the issuer is down.

    A key that is not known makes it ask once, but not more often than every `pause_seconds`, and twice as long after each
    failure: strangers cannot make it hammer the issuer, and a rotated key works at once.
    """

    def __init__(
        self,
        source: str,
        cache: Path,
        *,
        ca_file: str = "",
        refresh_seconds: float = 300.0,
        pause_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._cache, self._clock, self._pause = source, cache, clock, pause_seconds
        self._pool = urllib3.PoolManager(
            retries=False, timeout=urllib3.Timeout(total=_DEADLINE_SECONDS), ca_certs=ca_file or None
        )
        self._keys: list[tuple[str | None, str | None, PublicKey]] = []
        self._lock = threading.Lock()
        # Two wait for the answer to a question that is on its way; more would hold up who has known keys.
        self._asking = threading.BoundedSemaphore(2)
        self._failures = 0
        self._next = -1.0
        self._restore()
        self.background = Periodic("jwt-keys", self.refresh, refresh_seconds)

    def find(self, kid: str | None, algorithm: str) -> list[PublicKey]:
        """The keys that may have signed so. Raises `Unavailable` when none were ever had."""
        found = self._matching(kid, algorithm)
        if not found and self._asking.acquire(blocking=False):
            try:
                self._ask(kid, algorithm)
            finally:
                self._asking.release()
            found = self._matching(kid, algorithm)
        if not self._keys:
            raise Unavailable(
                "TOKEN_KEYS_UNAVAILABLE",
                "tokens cannot be checked: the issuer's keys could not be had yet",
                hint="ask again in a moment, or use an API key",
            )
        return found

    def refresh(self) -> None:
        """Get the keys anew; on failure those that are known stay. Raises `Unavailable` or `Invalid`."""
        with self._lock:
            try:
                text = self._read()
                self._keys = _parse(text)
            except TenonError:
                self._failures += 1
                self._next = self._clock() + min(60.0, self._pause * 2 ** min(self._failures, 8))
                raise
            self._failures = 0
            self._next = self._clock() + self._pause
            self._save(text)

    def _ask(self, kid: str | None, algorithm: str) -> None:
        if self._clock() < self._next or self._matching(kid, algorithm):
            return
        try:
            self.refresh()
        except TenonError as err:
            log.warning("the token issuer's keys could not be refreshed", reason=err.reason, error=err.message)

    def _matching(self, kid: str | None, algorithm: str) -> list[PublicKey]:
        return [
            key
            for own, only_for, key in self._keys
            if (kid is None or own == kid) and only_for in (None, algorithm) and _fits(algorithm, key)
        ]

    def _read(self) -> bytes:
        if urlsplit(self._source).scheme not in ("http", "https"):
            try:
                return Path(urlsplit(self._source).path).read_bytes()
            except OSError as err:
                raise Unavailable("TOKEN_KEYS_UNREACHABLE", f"the key file cannot be read: {err.strerror}") from None
        try:
            answer = self._pool.request("GET", self._source, redirect=False, preload_content=False)
            try:
                text: bytes = answer.read(_LARGEST_KEY_SET + 1)
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as err:
            raise Unavailable("TOKEN_KEYS_UNREACHABLE", f"the issuer's keys: {type(err).__name__}") from None
        if answer.status != 200 or len(text) > _LARGEST_KEY_SET:
            raise Unavailable("TOKEN_KEYS_UNREACHABLE", f"the issuer's keys: status {answer.status}, {len(text)} bytes")
        return text

    def _restore(self) -> None:
        try:
            self._keys = _parse(self._cache.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, Invalid) as err:
            log.warning("the saved keys of the token issuer are unreadable", error=str(err))

    def _save(self, text: bytes) -> None:
        # Several processes may share the folder.
        temporary = self._cache.with_suffix(f".{os.getpid()}.tmp")
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch(mode=0o600)
            temporary.write_bytes(text)
            temporary.replace(self._cache)
        except OSError as err:
            log.warning("the token issuer's keys could not be saved", error=err.strerror)


class Tokens:
    """From a token to a principal. Only tenants' principals come out of it, never the platform's own."""

    def __init__(self, rules: Rules, keys: KeySet) -> None:
        self._rules, self._keys = rules, keys
        self._known: dict[bytes, tuple[float, Principal]] = {}

    @property
    def background(self) -> Periodic:
        """Keeps the keys fresh."""
        return self._keys.background

    def principal(self, token: str) -> Principal:
        """Who shows this token. Raises `Unauthenticated` with the check that failed, or `Unavailable`."""
        # The digest, so that no token lies about in memory; for some seconds, because checking costs 60 to 100 µs.
        digest = hashlib.blake2b(token.encode(), digest_size=16).digest()
        now = time.monotonic()
        known = self._known.get(digest)
        if known is not None and known[0] > now:
            return known[1]
        claims = self._verified(token)
        found = self._principal(claims)
        left = float(claims["exp"]) + self._rules.leeway_seconds - time.time()
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[digest] = (now + min(_KEPT_SECONDS, left), found)
        return found

    def _verified(self, token: str) -> Mapping[str, Any]:
        rules = self._rules
        if len(token) > LONGEST:
            raise _refuse("TOKEN_INVALID", "the token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
            raise _refuse("TOKEN_INVALID", "the token is not a signed JWT") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
            raise _refuse("TOKEN_ALGORITHM", f"the token is not signed by {' or '.join(sorted(rules.algorithms))}")
        if "crit" in header or not (kid is None or isinstance(kid, str)):
            raise _refuse("TOKEN_INVALID", "the token's header asks for what is not understood here")
        keys = self._keys.find(kid, algorithm)
        if not keys:
            raise _refuse("TOKEN_KEY_UNKNOWN", "the token is not signed by a key that the issuer publishes")
        for key in keys:
            try:
                claims: Mapping[str, Any] = jwt.decode(
                    token, key, algorithms=[algorithm], audience=rules.audience, issuer=rules.issuer,
                    leeway=rules.leeway_seconds, options={"require": ["exp", "iss", "aud"]},
                )  # fmt: skip
            except jwt.InvalidSignatureError:
                continue
            except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError) as err:
                raise _said(err) from None
            return claims
        raise _refuse("TOKEN_SIGNATURE", "the token's signature does not fit")

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        rules = self._rules
        named = _claim(claims, rules.tenant_claim)
        try:
            tenant = TenantId(named if isinstance(named, str) else "")
        except Invalid:
            raise _refuse("TOKEN_TENANT", f"the token's claim {rules.tenant_claim!r} names no tenant") from None
        given = _claim(claims, rules.scopes_claim)
        words = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
        scopes = frozenset(
            scope for scope in ALL_TENANT_SCOPES if rules.scope_prefix + scope.value in words
        )  # fmt: skip
        return Principal(_name(claims.get("sub")), tenant, scopes, by_token=True)


def build_tokens(settings: ServiceSettings) -> Tokens:
    """From a service's settings, which must name an issuer."""
    rules = Rules(
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        algorithms=frozenset(settings.jwt_algorithms),
        tenant_claim=settings.jwt_tenant_claim,
        scopes_claim=settings.jwt_scopes_claim,
        scope_prefix=settings.jwt_scope_prefix,
        leeway_seconds=settings.jwt_leeway_seconds,
    )
    keys = KeySet(
        settings.jwt_jwks,
        settings.data_dir / "jwt-keys.json",
        ca_file=settings.jwt_ca_file,
        refresh_seconds=settings.jwt_refresh_seconds,
    )
    return Tokens(rules, keys)


def _parse(text: bytes) -> list[tuple[str | None, str | None, PublicKey]]:
    """(id, the only algorithm, key) of each key that can verify; others are passed over. Raises `Invalid` without any."""
    try:
        listed = json.loads(text)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise Invalid("TOKEN_KEYS_INVALID", "the issuer's keys are not a JSON Web Key Set")
    found: list[tuple[str | None, str | None, PublicKey]] = []
    for item in listed[:_MOST_KEYS]:
        key = _public_key(item)
        if key is not None:
            kid, algorithm = item.get("kid"), item.get("alg")
            found.append(
                (kid if isinstance(kid, str) else None, algorithm if isinstance(algorithm, str) else None, key)
            )
    if not found:
        raise Invalid("TOKEN_KEYS_INVALID", "the issuer publishes no key that tokens could be checked with")
    return found


def _public_key(item: Any) -> PublicKey | None:
    """The key of one JWK if it is public, asymmetric, strong, and for signatures."""
    if not isinstance(item, dict) or item.get("kty") not in ("RSA", "EC", "OKP") or item.get("use", "sig") != "sig":
        return None
    # What is secret has no place in a published set, and is none of our business.
    public = {name: value for name, value in item.items() if name in ("kty", "n", "e", "crv", "x", "y")}
    curves = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
    algorithm = "RS256" if item["kty"] == "RSA" else curves.get(str(item.get("crv")))
    if algorithm is None:
        return None
    try:
        key = jwt.PyJWK(public, algorithm).key
    except (jwt.PyJWKError, jwt.InvalidKeyError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAPublicKey):
        return key if key.key_size >= _FEWEST_RSA_BITS else None
    return key if isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey) else None


def _fits(algorithm: str, key: PublicKey) -> bool:
    """Whether a key is of the kind that an algorithm signs with."""
    if algorithm[:2] in ("RS", "PS"):
        return isinstance(key, RSAPublicKey)
    if algorithm in _CURVES:
        return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, _CURVES[algorithm])
    return algorithm == "EdDSA" and isinstance(key, Ed25519PublicKey)


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by a path of names joined with dots."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _name(subject: Any) -> str:
    """How the audit trail calls the holder: short printable subjects as they are, others by their hash."""
    if isinstance(subject, str) and 0 < len(subject) <= 100 and subject.isascii() and subject.isprintable():
        return f"jwt:{subject}"
    return f"jwt:{hashlib.sha256(str(subject).encode()).hexdigest()[:16]}"


def _said(err: Exception) -> Unauthenticated:
    table: Sequence[tuple[type[Exception], str, str]] = (
        (jwt.ExpiredSignatureError, "TOKEN_EXPIRED", "the token has expired"),
        (jwt.ImmatureSignatureError, "TOKEN_NOT_YET_VALID", "the token is not valid yet; do the clocks agree?"),
        (jwt.InvalidIssuerError, "TOKEN_ISSUER", "the token is of another issuer"),
        (jwt.InvalidAudienceError, "TOKEN_AUDIENCE", "the token is meant for another audience"),
    )
    for kind, reason, message in table:
        if isinstance(err, kind):
            return _refuse(reason, message)
    if isinstance(err, jwt.MissingRequiredClaimError):
        return _refuse("TOKEN_INVALID", f"the token lacks the claim {err.claim!r}")
    return _refuse("TOKEN_INVALID", "a claim of the token does not have the form it should have")


def _refuse(reason: str, message: str) -> Unauthenticated:
    return Unauthenticated(reason, message)
