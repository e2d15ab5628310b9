"""Keys that are changed while everything runs: programs with the old one and with the new one work together."""

from __future__ import annotations

from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenon.bundle.keys import public_pem
from tests.support.fakes_predictor import FakeRegistry
from tests.support.predictor_bundles import PUBLIC_PEM, visit_bundle, visit_request
from tests.support.predictor_process import PredictorProcess, wait_until
from tests.support.redis import running_redis
from tests.support.registry_process import RegistryProcess
from tests.support.service_process import running_service


def test_a_service_token_is_changed_in_three_steps(tmp_path: Path) -> None:
    """The registry takes the new token beside the old one; services that show either learn of keys; then the old one opens
    nothing any more."""
    registry = RegistryProcess(tmp_path / "registry", extra={"TENON_SERVICE_TOKEN": "old-token new-token"}).start()
    try:
        with running_redis() as redis:
            for shown in ("old-token", "new-token,old-token"):
                key = {"authorization": f"Bearer {registry.make_tenant(f'clinic-{shown[:3]}')}"}
                environment = {
                    "TENON_REGISTRY_GRPC": f"127.0.0.1:{registry.grpc_port}",
                    "TENON_REDIS_URL": redis.url,
                    "TENON_SERVICE_TOKEN": shown,
                }
                with running_service("monitor", tmp_path / shown[:3], environment) as monitor:
                    path = f"{monitor.http}/v1/tenants/clinic-{shown[:3]}/models"
                    assert httpx.get(path, headers=key, trust_env=False, timeout=60).json() == {"models": []}
        registry.stop()
        registry.extra["TENON_SERVICE_TOKEN"] = "new-token"
        registry.start()
        with registry.http("old-token") as http:
            assert http.get("/v1/tenants").status_code == 401
        with registry.http("new-token") as http:
            assert http.get("/v1/tenants").status_code == 200
    finally:
        registry.kill()


def test_a_tenants_key_is_changed_without_a_gap(tmp_path: Path) -> None:
    """Old and new keys work side by side, the old one until it is revoked, another one until its time is over."""
    registry = RegistryProcess(tmp_path / "registry").start()
    try:
        old = registry.make_tenant("clinic")
        with registry.http() as admin:
            short = admin.post("/v1/tenants/clinic/keys", json={"scopes": ["read"], "expires_in": "1s"}).json()
            new = admin.post("/v1/tenants/clinic/keys", json={"scopes": ["read"], "expires_in": "90d"}).json()
            assert [status(registry, key) for key in (old, new["key"])] == [200, 200]
            wait_until(lambda: status(registry, short["key"]) == 401, "the end of the short one", 180)
            listed = admin.get("/v1/tenants/clinic/keys").json()["keys"]
            first = next(key for key in listed if key["key_id"] not in (short["key_id"], new["key_id"]))
            assert admin.delete(f"/v1/tenants/clinic/keys/{first['key_id']}").status_code < 300
        assert [status(registry, key) for key in (old, new["key"])] == [401, 200]
    finally:
        registry.kill()


def status(registry: RegistryProcess, key: str) -> int:
    with registry.http(key) as http:
        return http.get("/v1/tenants/clinic/models").status_code


def test_the_signing_key_is_changed_and_old_versions_stay(tmp_path: Path) -> None:
    """With both public keys a predictor serves what either signed, forward and back; with the new one alone it refuses the
    old version, says why, and goes on with what it has."""
    fresh = Ed25519PrivateKey.generate()
    registry = FakeRegistry().start()
    registry.add("acme", "stay", 1, visit_bundle())
    registry.add("acme", "stay", 2, visit_bundle(shift=1.0, key=fresh))
    registry.release("acme", "stay", 1)
    predictor = PredictorProcess(tmp_path / "p", registry=registry.port)
    verify = Path(predictor.env["TENON_VERIFY_KEY_FILE"])
    try:
        verify.write_bytes(public_pem(fresh.public_key()) + PUBLIC_PEM)
        predictor.start()
        for version in (1, 2, 1, 2):
            registry.release("acme", "stay", version)
            wait_until(lambda version=version: answering(predictor) == str(version), f"version {version}")  # type: ignore[misc]
        assert predictor.stop() == 0
        verify.write_bytes(public_pem(fresh.public_key()))
        predictor.start()
        assert answering(predictor) == "2"
        registry.release("acme", "stay", 1)

        def told() -> bool:
            served = registry.served("acme", "stay")
            return served is not None and served.problem.startswith("BUNDLE_SIGNATURE_INVALID")

        wait_until(told, "the report", 180)
        assert answering(predictor) == "2"
    finally:
        predictor.stop()
        registry.stop()


def answering(predictor: PredictorProcess) -> str:
    answer = predictor.infer("stay", visit_request())
    assert answer.status_code == 200, answer.text
    return str(answer.json()["parameters"]["version"])
