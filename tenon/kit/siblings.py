"""What a worker knows of the others behind its port: who is up, and everybody's metrics. See `tenon.kit.workers`.

Who is up stands in a small file, a byte for each worker: a worker sets its own when it can answer, the parent takes it
away when the process ends. Metrics are asked for on a Unix socket that each worker has.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import generate_latest

from tenon.kit.telemetry import get_logger
from tenon.kit.workers import FOLDER, STATE

log = get_logger(__name__)

_ANSWER_SECONDS = 2.0
_PATIENCE_SECONDS = 10.0
_LONGEST_PATH = 100
_PLAIN = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?= )", re.MULTILINE)
_LABELLED = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*)\{(?!worker=)", re.MULTILINE)


class Siblings:
    """The workers behind one port, seen from one of them. A `Background`: it answers the others."""

    def __init__(
        self,
        home: Path,
        index: int,
        count: int,
        own_problems: Callable[[], dict[str, str]],
        *,
        expose: Callable[[], bytes] = generate_latest,
        alive_fd: int = -1,
    ) -> None:
        self._folder = home / FOLDER
        self._own_problems = own_problems
        self._is_open = False
        self._index = index
        self._count = count
        self._expose = expose
        self._alive_fd = alive_fd
        self._is_up = False
        self._state = os.open(self._folder / STATE, os.O_RDWR)
        self._socket: socket.socket | None = None
        if len(os.fsencode(self._path(count))) > _LONGEST_PATH:
            raise ValueError(f"TENON_DATA_DIR is too long for the workers' sockets: {home}")

    def start(self) -> None:
        """Begin to answer, and to watch whether the parent lives."""
        path = self._path(self._index)
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(16)
        threading.Thread(target=self._answer, name="siblings", daemon=True).start()
        if self._alive_fd >= 0:
            threading.Thread(target=self._watch, name="parent", daemon=True).start()

    def stop(self) -> None:
        """End."""
        self._is_open = False
        self._mark(up=False)
        if self._socket is not None:
            self._socket.close()

    def wait(self, stopping: Callable[[], bool]) -> None:
        """Until this worker can answer what it must, but not for ever: it must also be able to say why it cannot."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while self._own_problems() and time.monotonic() < until and not stopping():
            time.sleep(0.01)

    def open(self) -> None:
        """The doors are open."""
        self._is_open = True
        self.problems()

    def problems(self) -> dict[str, str]:
        """Why this worker cannot answer what it must, else who of the others cannot. The others see what is found here."""
        found = self._own_problems()
        self._mark(up=self._is_open and not found)
        if found:
            return found
        up = os.pread(self._state, self._count, 0)
        down = [str(index) for index in range(self._count) if up[index : index + 1] != b"\1"]
        if not down:
            return {}
        return {"workers": f"{len(down)} of {self._count} workers cannot answer: {', '.join(down)}"}

    def _mark(self, *, up: bool) -> None:
        if up != self._is_up:
            self._is_up = up
            os.pwrite(self._state, b"\1" if up else b"\0", self._index)

    def metrics(self) -> bytes:
        """Everybody's metrics, each sample with its worker; who does not answer is told by `tenon_workers_up`."""
        texts = {self._index: self._expose()}
        for index in range(self._count):
            if index != self._index and (text := self._ask(index)) is not None:
                texts[index] = text
        return merge(texts, self._count)

    def _path(self, index: int) -> Path:
        return self._folder / f"{index}.sock"

    def _ask(self, index: int) -> bytes | None:
        chunks = []
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(_ANSWER_SECONDS)
                sock.connect(str(self._path(index)))
                while chunk := sock.recv(1 << 16):
                    chunks.append(chunk)
        except OSError:
            return None
        return b"".join(chunks)

    def _answer(self) -> None:
        while True:
            assert self._socket is not None  # noqa: S101 - started
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(_ANSWER_SECONDS)
                    connection.sendall(self._expose())
                except OSError as err:
                    log.info("a sibling did not take the metrics", error=str(err))

    def _watch(self) -> None:
        # Nobody ever writes; the end comes when the parent is gone, however it went.
        os.read(self._alive_fd, 1)
        log.error("the parent of the workers is gone; stopping")
        os.kill(os.getpid(), signal.SIGTERM)


def merge(texts: dict[int, bytes], count: int) -> bytes:
    """Expositions of several workers as one: each family once, each sample with the label `worker`."""
    heads: dict[bytes, bytes] = {}
    samples: dict[bytes, list[bytes]] = {}
    for index, text in sorted(texts.items()):
        labels = (b'\\1{worker="%d"}' % index, b'\\1{worker="%d",' % index)
        for block in re.split(rb"(?m)^(?=# HELP )", text):
            if not block.startswith(b"# HELP "):
                continue
            help_line, type_line, *rest = block.split(b"\n", 2)
            name = help_line.split(b" ", 3)[2]
            heads.setdefault(name, help_line + b"\n" + type_line + b"\n")
            body = _LABELLED.sub(labels[1], _PLAIN.sub(labels[0], rest[0] if rest else b""))
            samples.setdefault(name, []).append(body)
    lines = [heads[name] + b"".join(samples[name]) for name in heads]
    lines.append(b"# HELP tenon_workers_up Whether a worker answered for its metrics.\n# TYPE tenon_workers_up gauge\n")
    lines += [b'tenon_workers_up{worker="%d"} %d\n' % (index, index in texts) for index in range(count)]
    return b"".join(lines)
