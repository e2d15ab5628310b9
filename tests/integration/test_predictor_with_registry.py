"""The predictor and the real registry: keys, bundles, releases and reports, process to process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.predictor_bundles import sha256, visit_bundle, visit_request
from tests.support.predictor_process import PredictorProcess, wait_until
from tests.support.registry_process import ADMIN_KEY, SERVICE_TOKEN, GrpcClient, RegistryProcess


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryProcess]:
    """A registry with the tenant acme."""
    process = RegistryProcess(tmp_path / "registry")
    process.start()
    yield process
    process.kill()


def register(registry: RegistryProcess, shift: float) -> int:
    """Register a version of acme's `stay` whose answers `shift` tells apart."""
    from tenon.api.registry.v1 import registry_pb2 as pb

    data = visit_bundle(shift=shift, key=registry.signing_key)
    header = pb.RegisterVersionHeader(
        tenant="acme", model="stay", run_id="run-1", bundle_sha256=sha256(data), size_bytes=len(data)
    )
    parts = [pb.RegisterVersionRequest(header=header), pb.RegisterVersionRequest(chunk=data)]
    client = GrpcClient(registry)
    answer: Any = client.versions.RegisterVersion(iter(parts), metadata=client.metadata, timeout=60)
    return int(answer.version.version)


def test_release_canary_promote_and_roll_back_reach_the_answers(tmp_path: Path, registry: RegistryProcess) -> None:
    """Each takes effect, the registry reads back what is served, and a fresh key works at once."""
    from tenon.api.registry.v1 import registry_pb2 as pb

    key = registry.make_tenant("acme")
    first, second = register(registry, 0.0), register(registry, 1.0)
    client = GrpcClient(registry)
    verify = registry.folder / "verify.pem"
    predictor = PredictorProcess(
        tmp_path / "predictor",
        registry=registry.grpc_port,
        extra={
            "TENON_SERVICE_TOKEN": SERVICE_TOKEN,
            "TENON_ADMIN_KEY": ADMIN_KEY,
            "TENON_VERIFY_KEY_FILE": str(verify),
        },
    )
    try:
        predictor.start()

        def role_of(number: int) -> tuple[str, str]:
            answer = predictor.infer("stay", visit_request() | {"id": f"id-{number}"}, key=key)
            assert answer.status_code == 200, answer.text
            return answer.json()["parameters"]["version"], answer.json()["parameters"]["role"]

        def release(call: Any, request: Any) -> None:
            answer = call(request, metadata=client.metadata, timeout=60)
            revision = answer.release.revision

            def read_back() -> bool:
                found = client.releases.GetServing(
                    pb.GetServingRequest(tenant="acme", model="stay"), metadata=client.metadata, timeout=60
                )
                return [model.revision for replica in found.replicas for model in replica.models] == [revision]

            wait_until(read_back, f"revision {revision} read back", 180)

        common: dict[str, Any] = {"tenant": "acme", "model": "stay", "reason": "a test"}
        release(client.releases.SetRelease, pb.SetReleaseRequest(stable_version=first, **common))
        assert role_of(0) == (str(first), "stable")
        canary = pb.SetReleaseRequest(stable_version=first, canary_version=second, canary_weight_permille=300, **common)
        release(client.releases.SetRelease, canary)
        roles = [role_of(number) for number in range(100)]
        assert set(roles) == {(str(first), "stable"), (str(second), "canary")}
        assert 12 < roles.count((str(second), "canary")) < 50
        release(client.releases.PromoteRelease, pb.PromoteReleaseRequest(**common))
        assert {role_of(number) for number in range(10)} == {(str(second), "stable")}
        release(client.releases.RollbackRelease, pb.RollbackReleaseRequest(to_revision=1, **common))
        assert {role_of(number) for number in range(10)} == {(str(first), "stable")}
        fresh = registry.make_tenant("globex")
        assert predictor.infer("stay", visit_request(), key=fresh).status_code == 404
        registry.kill()
        assert role_of(0)[0] == str(first)
        predictor.kill()
        predictor.start()
        assert role_of(0)[0] == str(first)
        assert httpx.get(f"{predictor.url}/readyz", timeout=60).status_code == 200
        assert predictor.stop() == 0
    finally:
        if predictor.process is not None and predictor.process.poll() is None:
            predictor.kill()
