"""Registering versions: what is sent must be what was announced, and the same thing twice is one thing."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from services.registry.domain.keys import KeyRing
from services.registry.domain.tenants import TenantBook
from services.registry.domain.versions import Candidate, VersionShelf
from tenon.core.errors import Forbidden, Invalid, NotFound, TenonError
from tenon.core.tenancy import Principal, Scope, TenantId
from tests.support.registry_bundles import manifest_data
from tests.support.registry_fakes import FakeBundles, FakeTransact, ManualClock, open_fake_bundle

CLINIC = TenantId("clinic")


def fake_bundle(run_id: str = "run-1", failed_gates: tuple[str, ...] = (), **changes: object) -> bytes:
    """What `open_fake_bundle` opens."""
    return json.dumps(manifest_data("clinic", "cost", run_id, failed_gates) | {"files": {}} | changes).encode()


class World:
    """A tenant and a shelf."""

    def __init__(self) -> None:
        self.transact = FakeTransact()
        clock = ManualClock()
        self.bundles = FakeBundles()
        self.shelf = VersionShelf(self.transact, clock, self.bundles, open_fake_bundle)
        self.keys = KeyRing(self.transact, clock)
        TenantBook(self.transact, clock).apply(CLINIC, {"name": "clinic"}, "admin")

    def register(self, data: bytes, run_id: str = "run-1", **lies: Any) -> object:
        """Register bytes under a header that may lie."""
        truth: dict[str, Any] = {
            "run_id": run_id,
            "bundle_sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": len(data),
        }
        return self.shelf.register(CLINIC, "cost", Candidate(**(truth | lies)), data, "service")


@pytest.fixture
def world() -> World:
    """See `World`."""
    return World()


def test_the_same_run_and_digest_is_the_same_version(world: World) -> None:
    """A retry changes nothing; another run, or other bytes of the same run, is the next version."""
    first = world.register(fake_bundle())
    assert world.register(fake_bundle()) == first
    world.register(fake_bundle("run-2"), "run-2")
    world.register(fake_bundle(created_at="later"))
    assert [version.number for version in world.shelf.of_model(CLINIC, "cost")] == [3, 2, 1]
    assert len(world.transact.state.audit.lines) == 1 + 3


def test_evidence_and_gates_are_kept(world: World) -> None:
    """The manifest stands word for word, and the failed gates are named."""
    data = fake_bundle(failed_gates=("roc_auc >= 0.9", "beats baseline"))
    world.register(data)
    version = world.shelf.get(CLINIC, "cost", 1)
    assert version.manifest_json == data
    assert version.failed_gates == ("roc_auc >= 0.9: 0.1 is too low", "beats baseline: 0.1 is too low")
    assert not version.gates_passed
    _, source = world.shelf.download(CLINIC, "cost", 1)
    with source as chunks:
        assert b"".join(chunks) == data


@pytest.mark.parametrize(
    ("data", "lies", "reason"),
    [
        (fake_bundle(), {"bundle_sha256": "0" * 64}, "BUNDLE_CORRUPT"),
        (fake_bundle(), {"size_bytes": 1}, "BUNDLE_CORRUPT"),
        (fake_bundle(), {"run_id": "run-2"}, "BUNDLE_MISMATCH"),
        (fake_bundle(), {"run_id": ""}, "RUN_ID_INVALID"),
        (fake_bundle(tenant="airline"), {}, "BUNDLE_MISMATCH"),
        (fake_bundle(model="stay"), {}, "BUNDLE_MISMATCH"),
    ],
)
def test_what_does_not_belong_is_not_kept(world: World, data: bytes, lies: dict[str, Any], reason: str) -> None:
    """Damaged bytes and another tenant's, model's or run's bundle leave no version and no blob."""
    with pytest.raises(Invalid) as caught:
        world.register(data, **lies)
    assert caught.value.reason == reason
    assert world.bundles.saved == {}
    with pytest.raises(NotFound):
        world.shelf.of_model(CLINIC, "cost")


def test_missing_things_are_named(world: World) -> None:
    """The message says which versions there are, or which model was meant."""
    world.register(fake_bundle())
    with pytest.raises(NotFound, match="only version 1"):
        world.shelf.get(CLINIC, "cost", 2)
    world.register(fake_bundle("run-2"), "run-2")
    with pytest.raises(NotFound, match="1 to 2"):
        world.shelf.get(CLINIC, "cost", 3)
    with pytest.raises(NotFound) as caught:
        world.shelf.of_model(CLINIC, "coast")
    assert caught.value.hint == "did you mean `cost`?"
    with pytest.raises(NotFound, match="nobody"):
        world.shelf.models(TenantId("nobody"))


def test_keys_are_shown_once_and_never_kept(world: World) -> None:
    """The key has 256 random bits; storage, lists, audit and texts of the objects hold only its hash."""
    maker = Principal("admin", None, frozenset(Scope))
    made = world.keys.create(CLINIC, ["predict"], maker, name="gateway")
    prefix, key_id, secret = made.text.split("_")
    assert (prefix, key_id, len(secret)) == ("tnk", made.key.key_id, 64)
    everything = repr((made, world.keys.of_tenant(CLINIC), world.transact.state.audit.lines))
    assert secret not in everything
    assert world.keys.create(CLINIC, ["predict"], maker).text != made.text


@pytest.mark.parametrize(
    ("scopes", "maker", "error"),
    [
        (["admin"], frozenset(Scope), Invalid),
        (["Read"], frozenset(Scope), Invalid),
        ([], frozenset(Scope), Invalid),
        (["predict"], frozenset({Scope.WRITE}), Forbidden),
    ],
)
def test_no_key_is_stronger_than_its_maker(
    world: World, scopes: list[str], maker: frozenset[Scope], error: type[TenonError]
) -> None:
    """A tenant's key cannot administrate, and gives only what it has."""
    tenant = None if Scope.ADMIN in maker else CLINIC
    with pytest.raises(error):
        world.keys.create(CLINIC, scopes, Principal("k", tenant, maker))
    assert world.keys.of_tenant(CLINIC) == []


def test_a_services_token_makes_no_keys(world: World) -> None:
    """A leaked service token ends when it is exchanged; a key made with it would stay."""
    service = Principal("service", None, frozenset({Scope.READ, Scope.WRITE, Scope.PREDICT}))
    with pytest.raises(Forbidden):
        world.keys.create(CLINIC, ["read"], service)
    assert world.keys.of_tenant(CLINIC) == []
