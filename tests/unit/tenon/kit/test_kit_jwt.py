"""JWTs of a trusted issuer: every check on its own, the issuer's keys over rotation and absence, and no way around."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tenon.core.errors import Invalid, NotFound, Unauthenticated, Unavailable
from tenon.core.tenancy import Scope, TenantId
from tenon.kit.auth import CachedAuthenticator, looks_like_token, platform_credentials
from tenon.kit.config import ServiceSettings, load_settings
from tenon.kit.jwt import KeySet, Rules, Tokens
from tests.support.issuer import AUDIENCE, ISSUER, Issuer, new_key, public_jwk

ALLOWED = frozenset({"RS256", "ES256", "EdDSA"})
RULES = Rules(ISSUER, AUDIENCE, ALLOWED, "tenant", "scope")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer that is up."""
    found = Issuer().start()
    yield found
    found.stop()


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def reader(issuer: Issuer, folder: Path, rules: Rules = RULES, clock: Clock | None = None) -> Tokens:
    """What reads the issuer's tokens."""
    keys = KeySet(issuer.url, folder / "jwt-keys.json", clock=clock or Clock())
    return Tokens(rules, keys)


def reason_of(tokens: Tokens, token: str) -> str:
    """Why a token is refused; no part of it may be in the text."""
    with pytest.raises(Unauthenticated) as refused:
        tokens.principal(token)
    said = json.dumps(refused.value.as_dict())
    assert all(part not in said for part in token.split(".") if part)
    assert "app-7" not in said
    return refused.value.reason


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_token_is_a_principal_of_its_tenant(tmp_path: Path, algorithm: str) -> None:
    """Tenant and scopes come from the claims, whatever the algorithm."""
    issuer = Issuer(algorithm).start()
    principal = reader(issuer, tmp_path).principal(issuer.token())
    issuer.stop()
    assert principal.tenant == TenantId("acme")
    assert principal.scopes == {Scope.PREDICT, Scope.READ}
    assert principal.name == "jwt:app-7"
    assert principal.by_token
    with pytest.raises(NotFound):
        principal.require(TenantId("globex"), Scope.READ)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"aud": "other"}, "TOKEN_AUDIENCE"),
        ({"aud": None}, "TOKEN_INVALID"),
        ({"iss": "https://login.example.com/"}, "TOKEN_ISSUER"),
        ({"iss": None}, "TOKEN_INVALID"),
        ({"exp": int(time.time()) - 31}, "TOKEN_EXPIRED"),
        ({"exp": None}, "TOKEN_INVALID"),
        ({"exp": "soon"}, "TOKEN_INVALID"),
        ({"exp": [1]}, "TOKEN_INVALID"),
        ({"exp": float("inf")}, "TOKEN_INVALID"),
        ({"nbf": {}}, "TOKEN_INVALID"),
        ({"sub": 7}, "TOKEN_INVALID"),
        ({"nbf": int(time.time()) + 86_400}, "TOKEN_NOT_YET_VALID"),
        ({"iat": int(time.time()) + 86_400}, "TOKEN_NOT_YET_VALID"),
        ({"tenant": None}, "TOKEN_TENANT"),
        ({"tenant": "Not A Tenant"}, "TOKEN_TENANT"),
        ({"tenant": ["acme"]}, "TOKEN_TENANT"),
        ({"headers": {"kid": "unknown"}}, "TOKEN_KEY_UNKNOWN"),
        ({"headers": {"crit": ["b64"], "b64": True}}, "TOKEN_INVALID"),
        ({"key": new_key("EdDSA")}, "TOKEN_SIGNATURE"),
        ({"key": new_key("ES256"), "algorithm": "ES256"}, "TOKEN_KEY_UNKNOWN"),
        ({"filler": "x" * 20_000}, "TOKEN_INVALID"),
    ],
)
def test_every_check_refuses_by_itself(issuer: Issuer, tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    """A token that is wrong in one way only is refused for that, and the refusal tells nothing that it holds."""
    assert reason_of(reader(issuer, tmp_path), issuer.token(**changes)) == reason


def test_clocks_may_be_apart_a_little(issuer: Issuer, tmp_path: Path) -> None:
    """Within the leeway an expired token and one of the near future pass."""
    tokens = reader(issuer, tmp_path)
    now = int(time.time())
    assert tokens.principal(issuer.token(exp=now - 20)).tenant
    assert tokens.principal(issuer.token(nbf=now + 20)).tenant


def part(data: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def test_nobody_chooses_the_algorithm(tmp_path: Path) -> None:
    """`none`, and the public key taken for a shared secret: the classic ways in are shut."""
    issuer = Issuer("RS256").start()
    tokens = reader(issuer, tmp_path)
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 60, "tenant": "acme", "scope": "write"}
    for name in ("none", "None", "NONE", "", None, ["RS256"], {"RS256": 1}, 7):
        assert reason_of(tokens, f"{part({'alg': name})}.{part(claims)}.") == "TOKEN_ALGORITHM"
    public = issuer.key.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = f"{part({'alg': 'HS256', 'kid': 'one'})}.{part(claims)}"
    mac = base64.urlsafe_b64encode(hmac.new(pem, head.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
    assert reason_of(tokens, f"{head}.{mac}") == "TOKEN_ALGORITHM"
    assert reason_of(tokens, issuer.token(algorithm="PS256")) == "TOKEN_ALGORITHM"
    issuer.stop()


def test_keys_in_the_token_are_not_looked_at(issuer: Issuer, tmp_path: Path) -> None:
    """A token that brings its own key, or says where to get it, is signed by a stranger."""
    own = new_key("EdDSA")
    headers = {"jwk": public_jwk(own, "one"), "jku": "https://evil.example.org/keys"}
    assert reason_of(reader(issuer, tmp_path), issuer.token(key=own, headers=headers)) == "TOKEN_SIGNATURE"


@pytest.mark.parametrize(
    "text", ["ey.ey.ey", "eyJ.." + "e", "ey" + "[" * 9000 + "..", "eyJhbGciOiJFZERTQSJ9.e30.", "ey..é"]
)
def test_rubbish_is_refused(issuer: Issuer, tmp_path: Path, text: str) -> None:
    """Whatever it is, it is a refusal and no accident."""
    with pytest.raises(Unauthenticated):
        reader(issuer, tmp_path).principal(text)
    deep = base64.urlsafe_b64encode(b'{"a":' * 2500 + b"1" + b"}" * 2500).rstrip(b"=").decode()
    with pytest.raises(Unauthenticated):
        reader(issuer, tmp_path).principal(f"{deep}.e30.e30")


def test_weak_and_foreign_keys_of_the_set_are_passed_over(tmp_path: Path) -> None:
    """Shared secrets, keys for encryption, short RSA keys and rubbish in the set verify nothing; the good one does."""
    short = rsa.generate_private_key(65537, 1024)
    issuer = Issuer("RS256", kid="good")
    issuer.extra = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
        public_jwk(short, "short"),
        public_jwk(issuer.key, "enc") | {"use": "enc"},
        public_jwk(issuer.key, "other") | {"alg": "RS512"},
        "rubbish",
        {"kty": "RSA", "n": "!", "kid": "broken"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
    ]
    issuer.start()
    tokens = reader(issuer, tmp_path)
    for kid, key in [("short", short), ("enc", issuer.key), ("other", issuer.key), ("broken", issuer.key)]:
        assert reason_of(tokens, issuer.token(headers={"kid": kid}, key=key)) == "TOKEN_KEY_UNKNOWN"
    assert tokens.principal(issuer.token()).tenant
    assert tokens.principal(issuer.token(headers={"kid": None})).tenant
    issuer.stop()


def test_a_rotated_key_works_at_once_and_the_old_one_ends(issuer: Issuer, tmp_path: Path) -> None:
    """A new kid makes it ask; what is not published any more is not taken any more."""
    clock = Clock()
    tokens = reader(issuer, tmp_path, clock=clock)
    spare = issuer.token(sub="spare")
    assert tokens.principal(issuer.token()).tenant
    issuer.rotate("two")
    clock.now = 6.0
    assert tokens.principal(issuer.token()).tenant
    assert reason_of(tokens, spare) == "TOKEN_KEY_UNKNOWN"
    assert issuer.asked == 2


def test_strangers_do_not_make_it_hammer_the_issuer(issuer: Issuer, tmp_path: Path) -> None:
    """Unknown kids share one question every few seconds, and fewer while the issuer fails."""
    clock = Clock()
    tokens = reader(issuer, tmp_path, clock=clock)
    assert tokens.principal(issuer.token()).tenant
    for number in range(50):
        assert reason_of(tokens, issuer.token(headers={"kid": f"k{number}"})) == "TOKEN_KEY_UNKNOWN"
    assert issuer.asked == 1
    issuer.status = 500
    for second in range(60):
        clock.now = float(second)
        reason_of(tokens, issuer.token(headers={"kid": f"s{second}"}))
    assert issuer.asked <= 5
    assert tokens.principal(issuer.token(sub="other")).tenant


def test_it_works_with_the_issuer_down_also_after_a_restart(issuer: Issuer, tmp_path: Path) -> None:
    """The keys are on disk; without any a caller is told that it is not the token's fault."""
    token = issuer.token()
    assert reader(issuer, tmp_path).principal(token).tenant
    issuer.stop()
    assert reader(issuer, tmp_path).principal(token).tenant
    assert (tmp_path / "jwt-keys.json").stat().st_mode & 0o077 == 0
    with pytest.raises(Unavailable) as none:
        reader(issuer, tmp_path / "fresh").principal(token)
    assert none.value.reason == "TOKEN_KEYS_UNAVAILABLE"


def test_a_broken_key_set_does_not_replace_a_good_one(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer's bad day (an empty set, an error page) leaves the known keys in force."""
    keys = KeySet(issuer.url, tmp_path / "keys.json")
    keys.refresh()
    for bad in (b"<html>", b"{}", b'{"keys": []}', b"[" * 100_000):
        monkeypatch.setattr(issuer, "key_set", partial(bytes, bad))
        with pytest.raises(Invalid):
            keys.refresh()
    assert keys.find("one", "EdDSA")


def test_keys_may_lie_in_a_file(tmp_path: Path) -> None:
    """For an issuer that cannot be reached from here; the file is read again when the set is refreshed."""
    issuer = Issuer()
    file = tmp_path / "keys.json"
    file.write_bytes(issuer.key_set())
    keys = KeySet(file.as_uri(), tmp_path / "cache.json")
    assert Tokens(RULES, keys).principal(issuer.token()).tenant


@pytest.mark.parametrize(
    ("rules", "claims", "scopes"),
    [
        (Rules(ISSUER, AUDIENCE, ALLOWED, "tenant", "roles"), {"roles": ["read", "admin"]}, {Scope.READ}),
        (Rules(ISSUER, AUDIENCE, ALLOWED, "tenant", "access.tenon"), {"access": {"tenon": "predict"}}, {Scope.PREDICT}),
        (Rules(ISSUER, AUDIENCE, ALLOWED, "https://x.org/t", "scope", "tenon:"), {"https://x.org/t": "acme", "scope": "read tenon:write"}, {Scope.WRITE}),
        (RULES, {"scope": 7}, set()),
        (RULES, {"scope": "admin"}, set()),
    ],
)  # fmt: skip
def test_claims_are_found_where_the_settings_say(
    issuer: Issuer, tmp_path: Path, rules: Rules, claims: dict[str, Any], scopes: set[Scope]
) -> None:
    """By name, by path, with a prefix; the platform's own scope is never given by a token."""
    principal = reader(issuer, tmp_path, rules).principal(issuer.token(**claims))
    assert principal.scopes == scopes
    assert not principal.is_platform


def test_tokens_and_keys_live_side_by_side(issuer: Issuer, tmp_path: Path) -> None:
    """API keys and the platform's own stay what they are; where no issuer is trusted a token is an unknown key."""
    platform = platform_credentials(["ey.admin.key"], ["service"])
    with_tokens = CachedAuthenticator(
        lambda _: (1, []), snapshot=tmp_path / "k.json", platform=platform, tokens=reader(issuer, tmp_path)
    )
    token = issuer.token()
    assert looks_like_token(token)
    assert with_tokens.authenticate(f"Bearer {token}").tenant == TenantId("acme")
    assert with_tokens.authenticate("Bearer ey.admin.key").is_platform
    without = CachedAuthenticator(lambda _: (1, []), snapshot=tmp_path / "k.json", platform=platform)
    with pytest.raises(Unauthenticated) as refused:
        without.authenticate(f"Bearer {token}")
    assert refused.value.reason == "KEY_INVALID"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"TENON_JWT_ALGORITHMS": '["HS256"]'}, "TENON_JWT_ALGORITHMS: 'HS256' cannot be allowed"),
        ({"TENON_JWT_ALGORITHMS": '["none"]'}, "TENON_JWT_ALGORITHMS: 'none' cannot be allowed"),
        ({"TENON_JWT_JWKS": "http://login.example.org/keys"}, "TENON_JWT_JWKS"),
        ({"TENON_JWT_ISSUER": ISSUER}, "TENON_JWT_ISSUER needs TENON_JWT_AUDIENCE and TENON_JWT_JWKS"),
    ],
)
def test_unsafe_settings_end_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, variables: dict[str, str], said: str
) -> None:  # fmt: skip
    """One line that names the variable."""
    base = {"TENON_HTTP_PORT": "0", "TENON_GRPC_PORT": "0", "TENON_DATA_DIR": str(tmp_path)}
    for name, value in (base | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        load_settings(ServiceSettings)
    assert said in capsys.readouterr().err
