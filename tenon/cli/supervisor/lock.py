"""One supervisor per data folder, and how to tell whether it is alive."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class FolderLock:
    """A lock file that holds the supervisor's pid.

    The lock is the kernel's (flock), so one left behind by a supervisor that was killed is free again at once: there
    are no stale locks, whatever pid the file names.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "up.lock"
        self._fd: int | None = None

    def acquire(self) -> bool:
        """Take the lock and write our pid; False when another supervisor has it."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd
        return True

    def release(self) -> None:
        """Give the lock up; the file stays, empty."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def running_supervisor(folder: Path) -> int | None:
    """The pid of the supervisor that holds the folder, or None when nobody does."""
    path = folder / "up.lock"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        try:
            # A shared lock is refused exactly while a supervisor has its exclusive one.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            text = os.read(fd, 32).strip()
            return int(text) if text.isdigit() else -1
        return None
    finally:
        os.close(fd)
