"""The registry as a process, asked through both of its doors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tenon.api.registry.v1 import registry_pb2
from tenon.bundle.keys import generate_key_pair, load_signing_key
from tests.support.registry_bundles import make_bundle, sha256
from tests.support.registry_process import GrpcClient, RegistryProcess, next_release, refusal


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """One registry for all tests of this file; each test has tenants of its own."""
    process = RegistryProcess(tmp_path_factory.mktemp("registry")).start()
    yield process
    process.kill()


@pytest.fixture
def service(registry: RegistryProcess) -> Iterator[GrpcClient]:
    """Another service of the platform."""
    client = GrpcClient(registry)
    yield client
    client.close()


def report(service: GrpcClient, replica: str, *releases: registry_pb2.Release, leaving: bool = False) -> None:
    """Say that a replica serves these releases."""
    models = [
        registry_pb2.ServedModel(tenant=r.tenant, model=r.model, revision=r.revision, tracks=r.tracks) for r in releases
    ]
    request = registry_pb2.ReportServingRequest(replica=replica, models=models, leaving=leaving)
    service.releases.ReportServing(request, metadata=service.metadata, timeout=60)


def test_the_whole_way_of_a_version(registry: RegistryProcess, service: GrpcClient) -> None:
    """Tenant, key, registration, release, canary, promotion, rollback, download and audit, through both doors."""
    key = registry.make_tenant("way")
    for run in ("run-1", "run-2"):
        version = service.register("way", "cost", run, padding=3_000_000)
    assert (version.version, version.gates_passed) == (2, True)
    with registry.http(key) as http:
        base = "/v1/tenants/way/models/cost"
        assert http.put(f"{base}/release", json={"stable": 1}).json()["change"] == "created"
        assert http.put(f"{base}/release", json={"stable": 1}).json()["change"] == "unchanged"
        canary = http.put(f"{base}/release", json={"stable": 1, "canary": 2, "canary_weight": 12.5}).json()
        assert (canary["revision"], canary["canary"], canary["canary_weight"]) == (2, 2, 12.5)
        assert http.post(f"{base}/release:promote", json={"reason": "good"}).json()["stable"] == 2
        back = http.post(f"{base}/release:rollback").json()
        assert (back["canary"], back["from_revision"], back["action"]) == (2, 2, "rollback")
        assert http.post(f"{base}/release:rollback").json()["canary"] is None
        history = http.get(f"{base}/release/history").json()["releases"]
        assert [item["action"] for item in history] == ["rollback", "rollback", "promote", "set", "set"]
        models = http.get("/v1/tenants/way/models").json()["models"]
        assert [(item["model"], item["versions"], item["release"]["stable"]) for item in models] == [("cost", 2, 1)]
        listed = http.get(f"{base}/versions").json()["versions"]
        assert [item["version"] for item in listed] == [2, 1]
        detail = http.get(f"{base}/versions/2").json()
        assert detail["manifest"]["lineage"]["run_id"] == "run-2"
        bundle = http.get(f"{base}/versions/2/bundle")
        assert sha256(bundle.content) == version.bundle_sha256 == bundle.headers["x-bundle-sha256"]
        audit = http.get("/v1/tenants/way/audit").json()
        key_id = key.split("_")[1]
        assert {entry["actor"] for entry in audit["entries"] if entry["action"].startswith("release.")} == {key_id}
        assert http.get("/v1/tenants/way/audit:verify", params={"head": audit["head"]}).json()["intact"] is True
    request = registry_pb2.DownloadBundleRequest(tenant="way", model="cost", version=2)
    chunks = [part.chunk for part in service.versions.DownloadBundle(request, metadata=service.metadata, timeout=60)]
    assert max(map(len, chunks)) <= 1 << 20
    assert b"".join(chunks) == bundle.content
    found = service.versions.GetVersion(
        registry_pb2.GetVersionRequest(tenant="way", model="cost", version=2), metadata=service.metadata, timeout=60
    ).version
    assert found == version


def test_registration_refuses_what_cannot_be_trusted(registry: RegistryProcess, service: GrpcClient) -> None:
    """Damaged, cut, foreign, mislabelled and oversized bundles are refused with a reason, and none is kept."""
    registry.make_tenant("trust")
    good = make_bundle(registry.signing_key, "trust", "cost", "run-1")
    stranger, _ = generate_key_pair()
    stranger_file = registry.folder / "stranger.pem"
    stranger_file.write_bytes(stranger)
    forged = make_bundle(load_signing_key(stranger_file), "trust", "cost", "run-1")
    flipped = bytearray(good)
    flipped[700] ^= 1

    def send(data: bytes, run: str = "run-1", model: str = "cost", **header: Any) -> tuple[str, str]:
        return refusal(lambda: service.send("trust", model, run, data, **header))

    assert send(good[:-512], size_bytes=len(good), bundle_sha256=sha256(good))[0] == "INVALID_ARGUMENT"
    assert send(good, bundle_sha256="0" * 64)[0] == "INVALID_ARGUMENT"
    assert send(good, size_bytes=100)[0] == "INVALID_ARGUMENT"
    assert send(bytes(flipped))[0] == "INVALID_ARGUMENT"
    assert "signature" in send(forged)[1]
    assert "run_id" in send(good, run="run-9")[1]
    assert "model" in send(good, model="stay")[1]
    assert send(good, model="../../etc")[0] == "INVALID_ARGUMENT"
    assert send(good, size_bytes=10 << 30)[0] == "RESOURCE_EXHAUSTED"
    assert refusal(lambda: service.send("nobody", "cost", "run-1", good))[0] == "NOT_FOUND"
    assert refusal(lambda: service.versions.RegisterVersion(iter(()), metadata=service.metadata, timeout=60)) == (
        "INVALID_ARGUMENT",
        "the first message of a registration is the header",
    )
    with registry.http() as http:
        assert http.get("/v1/tenants/trust/models").json() == {"models": []}
    first, again = (service.send("trust", "cost", "run-1", good) for _ in range(2))
    assert first == again
    assert first.version == 1


def test_gates_hold_until_forced(registry: RegistryProcess, service: GrpcClient) -> None:
    """A version that failed a gate is refused by name of the gate, and released with force; the log says so."""
    key = registry.make_tenant("gates")
    service.register("gates", "cost", "run-1", failed_gates=("roc_auc >= 0.9",))
    with registry.http(key) as http:
        path = "/v1/tenants/gates/models/cost/release"
        refused = http.put(path, json={"stable": 1})
        assert (refused.status_code, refused.json()["reason"]) == (412, "GATES_FAILED")
        assert "--force" in refused.json()["hint"]
        assert http.put(path, json={"stable": 1, "force": True}).status_code == 200
        entry = http.get("/v1/tenants/gates/audit").json()["entries"][0]
        assert entry["details"]["forced_versions"] == [1]


def test_watchers_see_changes_at_once(registry: RegistryProcess, service: GrpcClient) -> None:
    """The first set ends with `synced`; each change arrives at once; other tenants stay unseen."""
    key = registry.make_tenant("watch")
    registry.make_tenant("unseen")
    for tenant in ("watch", "unseen"):
        for run in ("run-1", "run-2"):
            service.register(tenant, "cost", run)
        service.set_release(tenant, "cost", 1)
    own = GrpcClient(registry, key)
    stream = own.watch()
    first = next(stream)
    assert (first.synced, first.release.tenant, first.release.revision) == (True, "watch", 1)
    everything = service.watch()
    seen = []
    for message in everything:
        seen.append((message.release.tenant, message.release.model))
        if message.synced:
            break
    assert {("watch", "cost"), ("unseen", "cost")} <= set(seen)
    service.set_release("unseen", "cost", 2)
    service.set_release("watch", "cost", 2)
    news = next_release(stream)
    assert (news.tenant, news.revision) == ("watch", 2)
    assert [next_release(everything).tenant for _ in range(2)] == ["unseen", "watch"]
    for ended in (stream, everything):
        ended.cancel()
    assert refusal(lambda: next(own.watch("unseen")))[0] == "NOT_FOUND"
    own.close()


def test_many_watchers_leave_threads_for_others(registry: RegistryProcess, service: GrpcClient) -> None:
    """With a hundred open watches an ordinary call is answered as before, and closed watches give their place back."""
    registry.make_tenant("crowd")
    service.register("crowd", "cost", "run-1")
    clients = [GrpcClient(registry) for _ in range(10)]
    streams = [client.watch("crowd") for client in clients for _ in range(10)]
    for stream in streams:
        assert next(stream).synced
    release = service.set_release("crowd", "cost", 1)
    for stream in streams:
        assert next_release(stream).revision == release.revision
    for stream in streams:
        stream.cancel()
    for client in clients:
        client.close()
    deadline = time.monotonic() + 60
    while "tenon_registry_release_watchers_streams 0.0" not in registry.http(None).get("/metrics").text:
        assert time.monotonic() < deadline, "the watches did not end"
        time.sleep(0.05)


def test_settled_means_served(registry: RegistryProcess, service: GrpcClient) -> None:
    """Settled only when a replica lives and every one serves the desired revision with the right digests."""
    key = registry.make_tenant("settle")
    for run in ("run-1", "run-2"):
        service.register("settle", "cost", run)
    first = service.set_release("settle", "cost", 1)
    with registry.http(key) as http:

        def settled() -> bool:
            return bool(http.get("/v1/tenants/settle/models/cost/serving").json()["settled"])

        assert not settled()
        report(service, "r1", first)
        assert settled()
        second = service.set_release("settle", "cost", 2)
        assert not settled()
        report(service, "r1", second)
        report(service, "r2", first)
        assert not settled()
        lie = registry_pb2.Release()
        lie.CopyFrom(second)
        lie.tracks[0].bundle_sha256 = "0" * 64
        report(service, "r2", lie)
        assert not settled()
        report(service, "r2", second)
        assert settled()
        report(service, "r2", leaving=True)
        report(service, "r1", second)
        body = http.get("/v1/tenants/settle/models/cost/serving").json()
        assert (body["settled"], [item["replica"] for item in body["replicas"]]) == (True, ["r1"])
        changes = http.get("/v1/tenants/settle/models/cost/serving/history").json()["changes"]
        assert [(c["replica"], c["revision"], c["cause"]) for c in changes] == [
            ("r2", 2, "left"),
            ("r2", 2, "reported"),
            ("r2", 2, "reported"),
            ("r2", 1, "reported"),
            ("r1", 2, "reported"),
            ("r1", 1, "reported"),
        ]
    view = service.releases.GetServing(
        registry_pb2.GetServingRequest(tenant="settle"), metadata=service.metadata, timeout=60
    )
    assert view.desired[0] == second
    assert view.replicas[0].models[0].tracks == second.tracks
    report(service, "r1", leaving=True)


def test_keys_open_only_what_they_should(registry: RegistryProcess, service: GrpcClient) -> None:
    """No key, a wrong key, too few scopes, another tenant's key, a revoked key: each gets its own answer."""
    reader = registry.make_tenant("locks", "read")
    stranger = registry.make_tenant("stranger")
    with registry.http(None) as nobody, registry.http("tnk_x_y") as wrong, registry.http(stranger) as other:
        assert nobody.get("/v1/tenants").status_code == 401
        assert wrong.get("/v1/tenants").status_code == 401
        there, missing = other.get("/v1/tenants/locks"), other.get("/v1/tenants/nowhere")
        assert there.status_code == missing.status_code == 404
        strip = lambda answer, name: answer.text.replace(name, "X").split(',"request_id"')[0]  # noqa: E731
        assert strip(there, "locks") == strip(missing, "nowhere")
        assert other.put("/v1/tenants/stranger", json={"name": "stranger"}).status_code == 403
    with registry.http(reader) as http:
        assert http.get("/v1/tenants").json()["tenants"][0]["tenant"] == "locks"
        assert http.put("/v1/tenants/locks/models/cost/release", json={"stable": 1}).status_code == 403
        assert http.post("/v1/tenants/locks/keys", json={"scopes": ["write"]}).status_code == 403
        keys = http.get("/v1/tenants/locks/keys").json()["keys"]
        assert reader not in str(keys)
        with registry.http() as admin:
            revoked = admin.delete(f"/v1/tenants/locks/keys/{keys[0]['key_id']}").json()
            assert revoked["valid"] is False
        assert http.get("/v1/tenants").status_code == 401
    own = GrpcClient(registry, stranger)
    calls = [
        lambda: own.credentials.ListCredentials(registry_pb2.ListCredentialsRequest(), metadata=own.metadata),
        lambda: report(own, "fake"),
    ]
    assert [refusal(call)[0] for call in calls] == ["PERMISSION_DENIED", "PERMISSION_DENIED"]
    own.close()
    with registry.http() as admin:
        writer = admin.post("/v1/tenants/stranger/keys", json={"scopes": ["write"]}).json()["key"]
    with registry.http(writer) as http:
        more = http.post("/v1/tenants/stranger/keys", json={"scopes": ["read"]})
        assert (more.status_code, more.json()["reason"]) == (403, "SCOPE_NOT_GRANTABLE")


def test_credentials_grow_with_every_change(registry: RegistryProcess, service: GrpcClient) -> None:
    """Services ask with the revision they have and get all hashes, or nothing new."""

    def ask(revision: int) -> registry_pb2.ListCredentialsResponse:
        request = registry_pb2.ListCredentialsRequest(known_revision=revision)
        return service.credentials.ListCredentials(request, metadata=service.metadata, timeout=60)

    before = ask(0)
    assert ask(before.revision).unchanged
    key = registry.make_tenant("creds", "predict")
    after = ask(before.revision)
    assert after.revision > before.revision
    found = {item.key_sha256: item for item in after.credentials}[sha256(key.encode())]
    assert (found.tenant, list(found.scopes), found.HasField("expires_at")) == ("creds", ["predict"], False)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "word"),
    [
        ("PUT", "/v1/tenants/Bad_Name", {"name": "Bad_Name"}, 400, "tenant"),
        ("PUT", "/v1/tenants/mistakes", {"name": "other"}, 400, "name"),
        ("PUT", "/v1/tenants/mistakes", {"name": "mistakes", "displayname": "x"}, 400, "displayName"),
        ("PUT", "/v1/tenants/mistakes", b"{", 400, "JSON"),
        ("GET", "/v1/tenants/nowhere", None, 404, "nowhere"),
        ("POST", "/v1/tenants/mistakes/keys", {"scopes": ["raed"]}, 400, "read"),
        ("POST", "/v1/tenants/mistakes/keys", {"scopes": []}, 400, "scope"),
        ("POST", "/v1/tenants/mistakes/keys", {"scopes": ["read"], "expires_in": "soon"}, 400, "expires_in"),
        ("DELETE", "/v1/tenants/mistakes/keys/nokey", None, 404, "nokey"),
        ("GET", "/v1/tenants/mistakes/models/nomodel/versions", None, 404, "nomodel"),
        ("GET", "/v1/tenants/mistakes/models/coast/versions", None, 404, "`cost`"),
        ("GET", "/v1/tenants/mistakes/models/cost/versions/9", None, 404, "only version 1"),
        ("GET", "/v1/tenants/mistakes/models/cost/versions/zero", None, 400, "number"),
        ("GET", "/v1/tenants/mistakes/models/cost/versions/99999999999", None, 400, "number"),
        ("GET", "/v1/tenants/mistakes/models/cost/release", None, 404, "tenon release set"),
        ("PUT", "/v1/tenants/mistakes/models/cost/release", {"stable": 9}, 404, "no version 9"),
        ("PUT", "/v1/tenants/mistakes/models/cost/release", {"stable": 0}, 400, "stable"),
        ("PUT", "/v1/tenants/mistakes/models/cost/release", {"stabel": 1}, 400, "stab"),
        ("PUT", "/v1/tenants/mistakes/models/cost/release", {"stable": 1, "canary": 1, "canary_weight": 5}, 400, "1"),
        ("PUT", "/v1/tenants/mistakes/models/cost/release", {"stable": 1, "canary": 2}, 400, "weight"),
        ("PUT", "/v1/tenants/mistakes/models/cost/release", {"stable": 1, "canary_weight": 5}, 400, "canary"),
        (
            "PUT",
            "/v1/tenants/mistakes/models/cost/release",
            {"stable": 1, "canary": 2, "canary_weight": 0.05},
            400,
            "canary_weight",
        ),
        ("PUT", "/v1/tenants/mistakes/models/cost/release", {"stable": 1, "expected_revision": 7}, 409, "revision"),
        ("PUT", "/v1/tenants/mistakes/models/Cost!/release", {"stable": 1}, 400, "model"),
        ("POST", "/v1/tenants/mistakes/models/cost/release:promote", None, 404, "release"),
        ("POST", "/v1/tenants/mistakes/models/cost/release:rollback", {"to_revision": 4}, 404, "release"),
        ("GET", "/v1/tenants/mistakes/audit?limit=0", None, 400, "limit"),
        ("GET", "/v1/tenants/mistakes/audit:verify?head=zz", None, 400, "head"),
    ],
)
def test_mistakes_are_named(
    registry: RegistryProcess, service: GrpcClient, method: str, path: str, body: Any, status: int, word: str
) -> None:
    """Each mistake of a client gets its status and a text that names the thing."""
    registry.make_tenant("mistakes")
    service.register("mistakes", "cost", "run-1")
    with registry.http() as http:
        content = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        answer = http.request(method, path, headers={"content-type": "application/json"}, **content)
    assert answer.status_code == status, answer.text
    assert word in answer.text
    assert answer.json()["reason"].isupper()


def test_promote_and_rollback_say_why_not(registry: RegistryProcess, service: GrpcClient) -> None:
    """Without a canary, or without a past, the refusal is a precondition with a way out."""
    key = registry.make_tenant("whynot")
    service.register("whynot", "cost", "run-1")
    service.set_release("whynot", "cost", 1)
    with registry.http(key) as http:
        base = "/v1/tenants/whynot/models/cost/release"
        for action, reason in (("promote", "NO_CANARY"), ("rollback", "NO_EARLIER_RELEASE")):
            answer = http.post(f"{base}:{action}")
            assert (answer.status_code, answer.json()["reason"]) == (412, reason)
            assert answer.json()["hint"]
