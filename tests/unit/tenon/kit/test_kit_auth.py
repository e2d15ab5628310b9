"""Credentials: refreshed, remembered over the registry's absence, and never stored in the clear."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tenon.core.errors import Unauthenticated, Unavailable
from tenon.core.tenancy import ALL_TENANT_SCOPES, Scope, TenantId
from tenon.kit.auth import CachedAuthenticator, Credential, key_sha256, platform_credentials


class Registry:
    """A registry's list of credentials that can go away."""

    def __init__(self) -> None:
        self.revision = 1
        self.credentials: list[Credential] = []
        self.down = False
        self.calls = 0

    def add(self, key: str, tenant: str, expires_at: float | None = None) -> None:
        digest = key_sha256(key)
        self.credentials.append(
            Credential(f"id-{len(self.credentials)}", digest, TenantId(tenant), ALL_TENANT_SCOPES, expires_at)
        )
        self.revision += 1

    def fetch(self, known: int) -> tuple[int, list[Credential]] | None:
        self.calls += 1
        if self.down:
            raise Unavailable("DOWN", "the registry is down")
        return None if known == self.revision else (self.revision, list(self.credentials))


def authenticator(registry: Registry, folder: Path) -> CachedAuthenticator:
    platform = platform_credentials(["admin-key"], ["service-token"])
    return CachedAuthenticator(registry.fetch, snapshot=folder / "keys.json", platform=platform)


def test_a_fresh_key_works_at_once(tmp_path: Path) -> None:
    """A key that was made after the last refresh is found by asking again."""
    registry = Registry()
    registry.add("k", "acme")
    principal = authenticator(registry, tmp_path).authenticate("Bearer k")
    assert principal.tenant == TenantId("acme")


def test_a_storm_of_wrong_keys_asks_the_registry_a_few_times(tmp_path: Path) -> None:
    """Unknown keys cannot be used to flood the registry: those that come together share one question."""
    registry = Registry()
    auth = authenticator(registry, tmp_path)
    together = threading.Barrier(40)

    def ask(number: int) -> None:
        together.wait(60)
        with pytest.raises(Unauthenticated):
            auth.authenticate(f"Bearer wrong-{number}")

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(ask, range(40)))
    assert registry.calls < 10


def test_fresh_keys_made_one_after_the_other_all_work(tmp_path: Path) -> None:
    """A key made right after another stranger was refused is not refused with it."""
    registry = Registry()
    auth = authenticator(registry, tmp_path)
    for number in range(5):
        with pytest.raises(Unauthenticated):
            auth.authenticate(f"Bearer wrong-{number}")
        registry.add(f"k{number}", "acme")
        assert auth.authenticate(f"Bearer k{number}").tenant == TenantId("acme")


def test_many_first_requests_with_a_fresh_key_share_one_refresh(tmp_path: Path) -> None:
    """Who comes while the refresh is under way waits for it instead of being refused."""
    registry = Registry()
    registry.add("k", "acme")
    asked, answer = threading.Event(), threading.Event()

    def slowly(known: int) -> tuple[int, list[Credential]] | None:
        asked.set()
        answer.wait(60)
        return registry.fetch(known)

    auth = CachedAuthenticator(slowly, snapshot=tmp_path / "keys.json", platform={})
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(auth.authenticate, "Bearer k") for _ in range(8)]
        assert asked.wait(60)
        answer.set()
        assert {future.result(60).tenant for future in found} == {TenantId("acme")}
    assert registry.calls == 1


def test_known_keys_work_with_the_registry_down_also_after_a_restart(tmp_path: Path) -> None:
    """The snapshot on disk answers for the registry, and holds no key."""
    registry = Registry()
    registry.add("the-secret-key", "acme")
    authenticator(registry, tmp_path).refresh()
    registry.down = True
    again = authenticator(registry, tmp_path)
    assert again.authenticate("Bearer the-secret-key").tenant == TenantId("acme")
    assert "the-secret-key" not in (tmp_path / "keys.json").read_text()
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0


def test_a_revoked_key_stops_working_at_the_next_refresh(tmp_path: Path) -> None:
    """What the registry no longer lists is not accepted."""
    registry = Registry()
    registry.add("k", "acme")
    auth = authenticator(registry, tmp_path)
    auth.refresh()
    registry.credentials.clear()
    registry.revision += 1
    auth.refresh()
    with pytest.raises(Unauthenticated):
        auth.authenticate("Bearer k")


def test_an_expired_key_is_refused(tmp_path: Path) -> None:
    """Expiry is checked at every use."""
    registry = Registry()
    registry.add("k", "acme", expires_at=time.time() - 1)
    with pytest.raises(Unauthenticated):
        authenticator(registry, tmp_path).authenticate("Bearer k")


def test_platform_keys_need_no_registry(tmp_path: Path) -> None:
    """The operator and the services are known from the settings; only the operator may administrate."""
    registry = Registry()
    registry.down = True
    auth = authenticator(registry, tmp_path)
    assert Scope.ADMIN in auth.authenticate("Bearer admin-key").scopes
    service = auth.authenticate("bearer service-token")
    assert service.is_platform
    assert Scope.ADMIN not in service.scopes


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic abc", "admin-key"])
def test_a_header_without_a_bearer_key_is_refused(tmp_path: Path, header: str | None) -> None:
    """Nothing but `Bearer KEY` is a credential."""
    with pytest.raises(Unauthenticated):
        authenticator(Registry(), tmp_path).authenticate(header)
