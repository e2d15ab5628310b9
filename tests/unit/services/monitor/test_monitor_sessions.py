"""Sessions of the pages: what the cookie holds, when it ends, and where it leads."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

import pytest

from services.monitor.api_http.pages.doors import safe_next
from services.monitor.api_http.pages.html import tag
from services.monitor.api_http.sessions import IDLE_SECONDS, LONGEST_SECONDS, Sessions
from tenon.core.errors import TenonError, Unauthenticated
from tenon.core.tenancy import Principal, Scope, TenantId
from tenon.kit.auth import Credential, bearer, key_sha256, principal_from


@dataclass
class Keys:
    """Keys in memory, and a clock."""

    clock: float = 1_000.0
    known: dict[str, Credential] = field(default_factory=dict)

    def add(self, name: str, key: str, tenant: str) -> None:
        """A key of a tenant."""
        digest = key_sha256(key)
        self.known[digest] = Credential(name, digest, TenantId(tenant), frozenset({Scope.READ}))

    def authenticate(self, authorization: str | None) -> Principal:
        """See `Authenticator`."""
        found = principal_from(bearer(authorization), self.known)
        if found is None:
            raise Unauthenticated("KEY_INVALID", "the API key is not valid")
        return found

    def named(self, name: str) -> list[Credential]:
        """Keys of this id."""
        return [one for one in self.known.values() if one.key_id == name]

    def sessions(self, *shared: str) -> Sessions:
        """Sessions with these secrets."""
        return Sessions(self, self.named, shared, lambda: self.clock)


@pytest.fixture
def keys() -> Keys:
    """One key of one tenant."""
    keys = Keys()
    keys.add("k1", "the-key", "north")
    return keys


def test_the_cookie_names_the_key_and_does_not_hold_it(keys: Keys) -> None:
    """What lies in the browser tells neither the key nor its hash, and brings its owner and name back."""
    cookie = keys.sessions("s").open(" the-key\n", "Ada  Lovelace").cookie
    body = base64.urlsafe_b64decode(cookie.partition(".")[0]).decode()
    assert "the-key" not in body
    assert key_sha256("the-key")[:12] not in body
    session = keys.sessions("s").read(cookie)
    assert (session.principal.tenant, session.person) == (TenantId("north"), "Ada Lovelace")


def test_a_session_ends_with_its_key(keys: Keys) -> None:
    """A revoked key, and one of the same name with another secret, end the session at once."""
    sessions = keys.sessions("s")
    cookie = sessions.open("the-key", "").cookie
    keys.known.clear()
    keys.add("k1", "another", "north")
    with pytest.raises(Unauthenticated, match="no longer valid"):
        sessions.read(cookie)


def test_a_session_ends_when_nobody_uses_it(keys: Keys) -> None:
    """It is renewed while it is used, ends an hour after the last use, and after half a day in any case."""
    sessions = keys.sessions("s")
    cookie = sessions.open("the-key", "").cookie
    begun = keys.clock
    while keys.clock < begun + LONGEST_SECONDS - IDLE_SECONDS:
        keys.clock += IDLE_SECONDS * 0.9
        cookie = sessions.read(cookie).cookie or cookie
    keys.clock = begun + LONGEST_SECONDS
    with pytest.raises(Unauthenticated, match="ended"):
        sessions.read(cookie)


def test_cookies_of_strangers_are_nothing(keys: Keys) -> None:
    """A forged, truncated or foreign cookie is as good as none; one that another replica's older secret signed is good."""
    cookie = keys.sessions("old").open("the-key", "").cookie
    payload, _, signature = cookie.partition(".")
    forged = base64.urlsafe_b64encode(json.dumps({"key": "k1", "end": 9e9, "last": 9e9}).encode()).decode()
    for wrong in (None, "", ".", payload, f"{forged}.{signature}", f"{payload}.é", cookie[:-1]):
        with pytest.raises(Unauthenticated):
            keys.sessions("old").read(wrong)
    with pytest.raises(Unauthenticated):
        keys.sessions("other").read(cookie)
    assert keys.sessions("new", "old").read(cookie).principal.name == "k1"


def test_the_token_of_a_form_belongs_to_one_session(keys: Keys) -> None:
    """Two sessions of the same key have different form tokens, and a session keeps its own."""
    sessions = keys.sessions("s")
    one, two = sessions.open("the-key", ""), sessions.open("the-key", "")
    assert one.csrf != two.csrf
    assert sessions.read(one.cookie).csrf == one.csrf


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("/pages/tenants/north?by=at", "/pages/tenants/north?by=at"), ("/pages", "/pages"), ("//evil.example", "/pages"),
        ("https://evil.example/pages/", "/pages"), ("/pages/\\evil", "/pages"), ("/pagesx", "/pages"), ("/pages/sign-in", "/pages"),
    ],
)  # fmt: skip
def test_the_sign_in_leads_only_to_pages(asked: str, given: str) -> None:
    """`next` cannot send anybody elsewhere."""
    assert safe_next(asked) == given


def test_names_cannot_become_tags() -> None:
    """Text and attributes are escaped, markup is not escaped twice."""
    assert str(tag("a", "<b>", tag("i", "&"), href='"><script>')) == (
        '<a href="&#34;&gt;&lt;script&gt;">&lt;b&gt;<i>&amp;</i></a>'
    )


def test_a_wrong_key_opens_nothing(keys: Keys) -> None:
    """The refusal is the authenticator's own."""
    with pytest.raises(TenonError, match="not valid"):
        keys.sessions("s").open("wrong", "")
