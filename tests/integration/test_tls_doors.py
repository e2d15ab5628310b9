"""TLS on both doors of real processes: who asks them, whom they trust, and certificates that are renewed."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.test_services_start import assert_clear, settings, start
from tests.support.certificates import Authority
from tests.support.predictor_process import wait_until
from tests.support.redis import running_redis
from tests.support.service_process import ROOT

ADMIN = {"authorization": "Bearer admin"}


@contextmanager
def running(service: str, environment: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the service; what it writes is in the folder."""
    with (folder / f"{service}.log").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{service}"], cwd=ROOT, env=environment, stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(180) == 0


def peer(port: str, authority: Authority) -> int:
    """The serial number of the certificate that a port shows to somebody who trusts the authority."""
    context = ssl.create_default_context(cafile=str(authority.file))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", int(port)), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        shown = encrypted.getpeercert()
        assert shown is not None
        return int(str(shown["serialNumber"]), 16)


def test_services_ask_each_other_and_are_asked_over_tls(tmp_path: Path) -> None:
    """A key made at the registry opens monitor, which learns of it over TLS; plaintext and strangers' authorities get nothing;
    the image's health check and the command know the way."""
    authority = Authority(tmp_path / "tls")
    cert_file, key_file = authority.issue("doors")
    tls = {
        "TENON_TLS_CERT_FILE": str(cert_file),
        "TENON_TLS_KEY_FILE": str(key_file),
        "TENON_TLS_CA_FILE": str(authority.file),
    }
    folders = {name: tmp_path / name for name in ("registry", "monitor")}
    for folder in folders.values():
        folder.mkdir()
    with running_redis() as redis:
        registry = settings(folders["registry"], **tls)
        monitor = settings(
            folders["monitor"],
            **tls,
            TENON_REDIS_URL=redis.url,
            TENON_REGISTRY_GRPC=f"localhost:{registry['TENON_GRPC_PORT']}",
        )
        urls = [f"https://localhost:{environment['TENON_HTTP_PORT']}" for environment in (registry, monitor)]
        with (
            running("registry", registry, folders["registry"]),
            running("monitor", monitor, folders["monitor"]),
            httpx.Client(
                verify=ssl.create_default_context(cafile=str(authority.file)), trust_env=False, timeout=60
            ) as client,
        ):
            for url in urls:
                wait_until(lambda url=url: ready(client, url), f"{url}/readyz", 40)  # type: ignore[misc]
            assert client.put(f"{urls[0]}/v1/tenants/clinic", json={"name": "clinic"}, headers=ADMIN).status_code < 300
            made = client.post(f"{urls[0]}/v1/tenants/clinic/keys", json={"scopes": ["read"]}, headers=ADMIN).json()
            key = {"authorization": f"Bearer {made['key']}"}
            assert client.get(f"{urls[1]}/v1/tenants/clinic/models", headers=key).json() == {"models": []}

            plain = urls[1].replace("https", "http")
            with pytest.raises(httpx.HTTPError):
                httpx.get(f"{plain}/readyz", trust_env=False, timeout=60)
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                httpx.get(f"{urls[1]}/readyz", trust_env=False, timeout=60)
            assert check(monitor, grpc.ssl_channel_credentials(authority.file.read_bytes())) == 1
            with pytest.raises(grpc.RpcError):
                check(monitor, grpc.ssl_channel_credentials(Authority(tmp_path / "other").file.read_bytes()))

            probe = subprocess.run(
                [sys.executable, "-m", "tenon.kit.probe"], cwd=ROOT, env=monitor, timeout=60, check=False
            )
            assert probe.returncode == 0
            told = subprocess.run(
                [sys.executable, "-m", "tenon.cli.main", "keys", "list", "--tenant", "clinic"],
                cwd=ROOT,
                env={
                    **os.environ,
                    "TENON_REGISTRY_URL": urls[0],
                    "TENON_API_KEY": "admin",
                    "SSL_CERT_FILE": str(authority.file),
                },
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
            assert "1 key" in told.stdout, told.stderr


def ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def check(environment: dict[str, str], credentials: grpc.ChannelCredentials) -> int:
    """The gRPC door's health."""
    with grpc.secure_channel(f"localhost:{environment['TENON_GRPC_PORT']}", credentials) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        return int(answer.status)


def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    """Both doors show the new one to the next connection; while its files do not fit together they show the old one."""
    authority = Authority(tmp_path / "tls")
    cert_file, key_file = authority.issue("doors")
    environment = settings(tmp_path, TENON_TLS_CERT_FILE=str(cert_file), TENON_TLS_KEY_FILE=str(key_file))
    ports = environment["TENON_HTTP_PORT"], environment["TENON_GRPC_PORT"]
    with (
        running("monitor", environment, tmp_path),
        httpx.Client(
            verify=ssl.create_default_context(cafile=str(authority.file)), trust_env=False, timeout=60
        ) as kept,
    ):
        url = f"https://localhost:{ports[0]}/healthz"
        wait_until(lambda: answers(kept, url), url, 180)
        first = peer(ports[0], authority)
        assert peer(ports[1], authority) == first
        other, _ = authority.issue("other")
        shutil.copy(other, cert_file)
        log = tmp_path / "monitor.log"
        wait_until(lambda: "cannot be used yet" in log.read_text(), "the warning", 180)
        assert [peer(port, authority) for port in ports] == [first, first]
        authority.issue("doors")
        wait_until(lambda: peer(ports[0], authority) != first, "the renewed certificate", 180)
        assert peer(ports[1], authority) == peer(ports[0], authority)
        assert kept.get(url).status_code == 200


def answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def test_wrong_files_are_named(tmp_path: Path) -> None:
    """A certificate without its key, files that are none, and an authority that is missing: one clear line each."""
    authority = Authority(tmp_path / "tls")
    cert_file, key_file = map(str, authority.issue("doors"))
    _, foreign = map(str, authority.issue("other"))
    assert_clear(start("monitor", settings(tmp_path, TENON_TLS_CERT_FILE=cert_file)), "TENON_TLS_KEY_FILE")
    for cert, key in ((cert_file, foreign), (key_file, key_file), (cert_file, str(tmp_path / "none"))):
        done = start("monitor", settings(tmp_path, TENON_TLS_CERT_FILE=cert, TENON_TLS_KEY_FILE=key))
        assert_clear(done, "TENON_TLS_")
    assert_clear(start("monitor", settings(tmp_path, TENON_TLS_CA_FILE=str(tmp_path / "none"))), "TENON_TLS_CA_FILE")
