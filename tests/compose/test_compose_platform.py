"""What docker-compose.yml makes of one host: containers that may do little, networks that lead nowhere, secrets of its own."""

from __future__ import annotations

import json
import stat
import subprocess
import sys

import pytest

from tests.support.compose import Composed, read_env
from tests.support.docker import SERVICES, DockerError, docker, inspect, shell
from tests.support.service_process import ROOT

pytestmark = pytest.mark.timeout(1800)

OWN_DATABASE = ("registry", "ingest", "features", "trainer", "monitor")
STORES = ("postgres", "redis", "objects")
REACH = "import socket; socket.create_connection(({!r}, {}), timeout=3)"


def address(composed: Composed, service: str) -> str:
    """The database of a service, as psql takes it."""
    return read_env(composed.secrets / f"{service}.env")["TENON_DATABASE_URL"].replace("+psycopg", "")


@pytest.mark.parametrize("service", [*SERVICES, "worker", *STORES])
def test_a_container_may_do_little(composed: Composed, service: str) -> None:
    """Read-only root, no new privileges, no capability beside those PostgreSQL's start needs, limits, a restart policy."""
    found = inspect(composed.container(service))
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert [name.removeprefix("CAP_") for name in host["CapAdd"] or []] == (
        ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"] if service == "postgres" else []
    )
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0
    assert host["PidsLimit"] == 512
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert found["Config"]["Healthcheck"]["Test"]
    if service != "postgres":
        assert found["Config"]["User"] == "10001:10001"


def test_only_doors_are_published_and_only_here(composed: Composed) -> None:
    """Every published port is on loopback; the stores, the worker and gRPC but the predictor's have none."""
    published = {}
    for service in (*SERVICES, "worker", *STORES):
        ports = inspect(composed.container(service))["NetworkSettings"]["Ports"] or {}
        published[service] = sorted(port for port, places in ports.items() if places)
        assert {place["HostIp"] for places in ports.values() for place in places or []} <= {"127.0.0.1"}
    doors = {name: ["8080/tcp"] for name in SERVICES} | {"predictor": ["8080/tcp", "8081/tcp"]}
    assert published == doors | {name: [] for name in ("worker", *STORES)}


def test_every_service_of_every_profile_is_limited(composed: Composed) -> None:
    """Memory, processes and log files have a limit, the root is read-only, and what ends is started again; Grafana's too."""
    shown = composed.compose("config", "--format", "json", profiles=("core", "observability"))
    services = json.loads(shown)["services"]
    assert len(services) == 16
    for name in services.keys() - {"volumes"}:
        service = services[name]
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["pids_limit"] == 512, name
        assert service["logging"]["options"] == {"max-size": "20m", "max-file": "5"}, name
        assert int(service["mem_limit"]) > 0, name
        assert service["restart"] == ("on-failure" if name == "bucket" else "unless-stopped"), name


@pytest.mark.parametrize(
    ("service", "host", "port", "reached"),
    [
        ("registry", "postgres", 5432, True), ("ingest", "objects", 7070, True), ("predictor", "registry", 8081, True),
        ("predictor", "redis", 6379, True), ("predictor", "postgres", 5432, False), ("predictor", "objects", 7070, False),
    ],
)  # fmt: skip
def test_who_reaches_whom(composed: Composed, service: str, host: str, port: int, reached: bool) -> None:
    """The predictor asks the other services, and cannot even name the stores of tables and objects."""
    # A name that nobody has is given up sooner than after the usual 10 s.
    resolver = ("--env", "RES_OPTIONS=timeout:1 attempts:1")
    words = ("exec", *resolver, composed.container(service), "python", "-c", REACH.format(host, port))
    if reached:
        docker(*words)
    else:
        with pytest.raises(DockerError, match="gaierror"):
            docker(*words)


def test_the_inner_networks_lead_nowhere(composed: Composed) -> None:
    """The worker is on inner networks alone, which have no way out."""
    with pytest.raises(DockerError, match="unreachable"):
        docker("exec", composed.container("worker"), "python", "-c", REACH.format("192.0.2.1", 80))


@pytest.mark.parametrize("service", OWN_DATABASE)
def test_a_service_s_role_sees_its_own_database_alone(composed: Composed, service: str) -> None:
    """With a service's own password no other service's database can be opened."""

    def ask(database: str) -> str:
        target = address(composed, service).rpartition("/")[0] + "/" + database
        return docker("exec", composed.container("postgres"), "psql", target, "--tuples-only", "-c", "select 1")

    assert ask(service).strip() == "1"
    with pytest.raises(DockerError, match="permission denied for database"):
        ask(OWN_DATABASE[OWN_DATABASE.index(service) - 1])


def test_secrets_are_for_nobody_else_and_made_once(composed: Composed) -> None:
    """The folder is its owner's; a second run changes no file; no value appears in a command line or an image."""
    folder = composed.secrets
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in before:
        readable = name.endswith(".pem") or name == "redis.conf"
        assert stat.S_IMODE((folder / name).stat().st_mode) == (0o644 if readable else 0o600), name
    subprocess.run(
        [sys.executable, str(ROOT / "deploy/docker/make_secrets.py"), str(folder)], check=True, cwd=composed.folder,
        env={**composed.settings, "PATH": "/usr/bin:/bin"}, capture_output=True,
    )  # fmt: skip
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    values = [value for name in before if name.endswith(".env") for value in read_env(folder / name).values()]
    long = [value for value in values if len(value) > 30 and not value.startswith("http")]
    for service in (*SERVICES, "worker", *STORES):
        shown = docker("top", composed.container(service), "-eo", "pid,args")
        assert not [value for value in long if value in shown]


def test_the_kept_is_in_postgresql_redis_and_s3(composed: Composed) -> None:
    """Nothing embedded is left: each service that keeps tables has them in PostgreSQL, Redis writes its file, the blobs'
    bucket is there."""
    for service in OWN_DATABASE:
        count = docker(
            "exec", composed.container("postgres"), "psql", address(composed, service), "--tuples-only",
            "-c", "select count(*) from pg_tables where schemaname = 'public'",
        )  # fmt: skip
        assert int(count) > 1, service
        assert shell(composed.container(service), "find /var/lib/tenon -name '*.db'") == ""
    assert "appendonly" in shell(composed.container("redis"), "ls /data")
    assert shell(composed.container("objects"), "test -d /objects/tenon && echo there") == "there"
