"""Which ports the platform uses, who holds one that is taken, and which is free instead."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tenon.cli.failures import NotReady

LOOPBACK = "127.0.0.1"
DEFAULT_BASE = 7701
SPARE = 30
"""Where the search for a replacement starts, above the base: beyond every preferred port."""


@dataclass(frozen=True)
class Holder:
    """The process that listens on a port."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})"


@dataclass(frozen=True)
class Taken:
    """A preferred port that somebody else holds, and the one used instead."""

    name: str
    port: int
    holder: Holder | None
    instead: int


def is_free(port: int) -> bool:
    """Whether this process could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def next_free(start: int, taken: set[int]) -> int:
    """The first free port from `start` on that is not promised to another service."""
    for port in range(start, 65536):
        if port not in taken and is_free(port):
            return port
    raise NotReady("PORT_TAKEN", f"there is no free port from {start} up", hint="tenon up --port-base 20000")


def choose_ports(names: Sequence[str], base: int | None, *, spare: int = SPARE) -> tuple[dict[str, int], list[Taken]]:
    """A port for each name: base, base + 1, … in order.

    Without an explicit base a port that is taken is replaced by the next free one (and reported); with one it is
    refused, because somebody relies on it. `spare` says how far above the base replacements are looked for.
    """
    start = base or DEFAULT_BASE
    ports: dict[str, int] = {}
    moved: list[Taken] = []
    preferred = {name: start + index for index, name in enumerate(names)}
    promised = set(preferred.values())
    for name, port in preferred.items():
        if is_free(port):
            ports[name] = port
            continue
        holder = find_holder(port)
        if base is not None:
            free = _free_block(len(names), start + len(names))
            raise NotReady(
                "PORT_TAKEN",
                f"port {port} (for {name}) is taken{f' by {holder}' if holder else ''}",
                hint=f"tenon up --port-base {free}",
                data={"port": port, "pid": holder.pid if holder else None},
            )
        ports[name] = next_free(start + spare, promised)
        promised.add(ports[name])
        moved.append(Taken(name, port, holder, ports[name]))
    return ports, moved


def _free_block(length: int, start: int) -> int:
    port = start
    while port + length < 65536:
        busy = [p for p in range(port, port + length) if not is_free(p)]
        if not busy:
            return port
        port = busy[-1] + 1
    return 20000


def find_holder(port: int) -> Holder | None:
    """The process that listens on a port of this machine, if the system lets us know."""
    if Path("/proc/net/tcp").exists():
        return _holder_from_proc(port)
    if shutil.which("lsof"):
        found = subprocess.run(
            ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
        fields = {line[0]: line[1:] for line in found.stdout.splitlines() if line}
        if fields.get("p", "").isdecimal():
            return Holder(int(fields["p"]), fields.get("c", "a process"))
    return None


def _holder_from_proc(port: int) -> Holder | None:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        path = Path(table)
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            for fd in (process / "fd").iterdir():
                if str(fd.readlink()) in inodes:
                    words = (process / "cmdline").read_bytes().split(b"\0")
                    return Holder(int(process.name), _short([word.decode(errors="replace") for word in words if word]))
        except OSError:
            # The process has gone, or belongs to somebody else.
            continue
    return None


def _short(words: list[str]) -> str:
    """A command line as a person would name it: no interpreter's path, at most 60 characters."""
    if not words:
        return "a process"
    if "tenon.cli.supervisor.launch" in words:
        return f"another `tenon up` ({words[-1].rpartition('.')[2]})"
    text = " ".join([os.path.basename(words[0]), *words[1:]])  # noqa: PTH119 - a word of a command line, not a path of ours
    return text if len(text) <= 60 else text[:57] + "…"
