"""Programs that a test session starts: their output kept in files, and all of them ended again, by their ids."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def with_us(command: list[str]) -> list[str]:
    """A command that ends when we do, even when we are killed."""
    # It becomes the program that it starts, so it is no process of its own.
    return ["setpriv", "--pdeathsig", "TERM", *command] if shutil.which("setpriv") else command


class Processes:
    """What has been started, in its order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        """Start a program; it ends with us."""
        with self.log(name).open("ab") as out:
            self._running[name] = subprocess.Popen(
                with_us(command),
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
            )

    def log(self, name: str) -> Path:
        """Where a program writes to."""
        return self.folder / f"{name}.log"

    def wait(self, name: str, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until a program is ready, or fail with what it wrote last."""
        deadline = time.monotonic() + seconds
        while not ready():
            code = self._running[name].poll()
            if code is not None or time.monotonic() > deadline:
                how = f"ended with {code}" if code is not None else f"is not ready after {seconds:.0f} s"
                raise AssertionError(f"{name} {how}:\n{self.tail(name)}")
            time.sleep(0.1)

    def tail(self, name: str, characters: int = 4000) -> str:
        """The end of what a program wrote."""
        return self.log(name).read_text(errors="replace")[-characters:]

    def stop(self, *names: str) -> None:
        """End some programs, or all of them, the last one first."""
        chosen = [name for name in reversed(self._running) if not names or name in names]
        for name in chosen:
            self._running[name].terminate()
            try:
                self._running[name].wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._running[name].kill()
                self._running[name].wait(timeout=180)
            del self._running[name]
