"""A real PostgreSQL server in a temporary folder, started and stopped by the tests that need one.

Use the fixtures by naming them in a conftest or importing them: `postgres_server` (one a session) and `postgres_url`
(an empty database of its own for each test).
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.ports import free_port

START_SECONDS = 180.0
_BECOME = (
    "import os, sys; os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1])); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
_USERS = ("postgres", "nobody")  # PostgreSQL refuses to run as root.


def find_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`: the newest Debian package's, else what the PATH has."""
    places = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: _number(place.parent.name), reverse=True
    )
    on_path = shutil.which("postgres")
    if on_path:
        places.append(Path(on_path).resolve().parent)
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


class PostgresServer:
    """One running server on a free port of loopback, with trust authentication and no durability."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._user = _unprivileged_user()
        # Not pytest's folder: only root may look into that one.
        self._folder = Path(tempfile.mkdtemp(prefix="tenon-postgres-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the cluster and wait until it answers."""
        if self._user:
            shutil.chown(self._folder, self._user)
        data = self._folder / "data"
        self._run("initdb", "-D", str(data), "-U", "tenon", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
        self.resume()

    def resume(self) -> None:
        """Run the server, unless it runs, and wait until it answers."""
        if self._process is not None:
            return
        data = self._folder / "data"
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
            "max_connections": "100",
        }
        command = [str(self._binaries / "postgres"), "-D", str(data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._as_user(command), stdout=log, stderr=log, cwd=self._folder)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self._dsn("postgres"), connect_timeout=10).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self._folder / "log").read_text(errors="replace")) from None
                time.sleep(0.05)

    def pause(self) -> None:
        """End the server at once, its clients with it; the data stays for `resume`."""
        if self._process is not None:
            # SIGINT is PostgreSQL's fast shutdown: open transactions are rolled back.
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def new_database(self) -> str:
        """A SQLAlchemy URL of a fresh, empty database."""
        name = f"t{uuid.uuid4().hex}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://tenon@127.0.0.1:{self.port}/{name}"

    def drop_database(self, url: str) -> None:
        """Drop a database that `new_database` made, and whoever is still connected to it."""
        name = url.rsplit("/", 1)[1]
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def stop(self) -> None:
        """End the server and remove its folder."""
        self.pause()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _dsn(self, name: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=tenon dbname={name}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            self._as_user([str(self._binaries / program), *arguments]), capture_output=True, cwd=self._folder
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode(errors='replace')}")

    def _as_user(self, command: list[str]) -> list[str]:
        """The command, run by the unprivileged user through a small program that becomes it.

        Not `Popen(user=…)`: that forks, and the C core of gRPC, which the tests have running, can abort in the child.
        """
        if self._user is None:
            return command
        entry = pwd.getpwnam(self._user)
        return [sys.executable, "-I", "-S", "-c", _BECOME, str(entry.pw_uid), str(entry.pw_gid), *command]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server; the test is skipped where PostgreSQL is not installed."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    if os.geteuid() == 0 and _unprivileged_user() is None:
        pytest.skip("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")
    server = PostgresServer(binaries)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database, dropped after the test."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)


def _unprivileged_user() -> str | None:
    """Who the server runs as when the tests run as root; None when they do not (or nobody is there)."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((user for user in _USERS if user in known), None)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
