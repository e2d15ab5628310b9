"""Ports for what tests start, such that no two of them are ever given the same one."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path

# Below what the kernel gives to outgoing connections: while a service is down between two starts nobody takes its port.
_RANGE = range(20_000, 32_000)
_given: set[int] = set()


def free_port() -> int:
    """A port of loopback that is this process's own, also after it was used, until the process ends."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    for _ in range(1000):
        first = random.randrange(_RANGE.start, _RANGE.stop - count)
        block = range(first, first + count)
        if _given.isdisjoint(block) and _reserve(first, count):
            if all(_is_free(port) for port in block):
                _given.update(block)
                return first
            _release(first, count)
    raise RuntimeError(f"there are no {count} free ports in a row from {_RANGE.start} to {_RANGE.stop}")


@cache
def _book() -> int:
    """A file whose byte N is locked by the process that port N belongs to. Two processes which only asked the kernel for a
    free port are given the same one now and then, as neither listens yet."""
    path = Path(tempfile.gettempdir()) / f"tenon-test-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _reserve(first: int, count: int) -> bool:
    try:
        fcntl.lockf(_book(), fcntl.LOCK_EX | fcntl.LOCK_NB, count, first)
    except OSError:
        return False
    return True


def _release(first: int, count: int) -> None:
    fcntl.lockf(_book(), fcntl.LOCK_UN, count, first)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As a server does: connections that ended a moment ago are no reason against it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
