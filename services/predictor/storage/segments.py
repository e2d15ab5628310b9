"""Where a segment's bytes lie: in a file that is mapped, in a file that is written, or, when there is no disk, in memory.

A mapped file costs a tenth of a microsecond a record where `write` costs one, and never gives the interpreter away. But a
mapping whose page the file system cannot store ends the process (SIGBUS), so a file is only mapped where reserving its
blocks is a promise: on ext4, xfs and tmpfs, also below an overlay. Elsewhere it is written. What is in either of them is
the kernel's: it stays when this process ends.
"""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from typing import Protocol

_RESERVING = frozenset({"ext4", "ext3", "xfs", "tmpfs", "overlay"})


class Buffer(Protocol):
    """Takes bytes at a place."""

    def __setitem__(self, place: slice, data: bytes, /) -> None: ...


class Segment:
    """A place for records, up to `limit` bytes."""

    def __init__(self, buffer: Buffer, limit: int, path: Path | None = None, fd: int = -1) -> None:
        self.number = 0
        self.buffer = buffer
        self.limit = limit
        self.path = path
        self._fd = fd

    def sync(self) -> None:
        """Bring what was written to the disk."""
        if self._fd >= 0:
            os.fdatasync(self._fd)

    def close(self, used: int) -> None:
        """Nothing will be written any more: give the reserved rest back."""
        if self._fd < 0:
            return
        try:
            if isinstance(self.buffer, mmap.mmap):
                self.buffer.close()
            os.ftruncate(self._fd, used)
            os.fsync(self._fd)
        finally:
            self.release()

    def release(self) -> None:
        """Nobody needs it any more."""
        if self._fd >= 0:
            if isinstance(self.buffer, mmap.mmap):
                self.buffer.close()
            os.close(self._fd)
            self._fd = -1

    def unburden(self) -> None:
        """Give the mapped pages back: they stay the kernel's, who reads the file finds them, and writing maps them again."""
        if isinstance(self.buffer, mmap.mmap):
            self.buffer.madvise(mmap.MADV_DONTNEED)

    @property
    def takes_structs(self) -> bool:
        """Whether the buffer is memory."""
        return not isinstance(self.buffer, _Written)


class _Written:
    """A file that is written; complains when not all of it was taken."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __setitem__(self, place: slice, data: bytes) -> None:
        taken = os.pwrite(self._fd, data, place.start)
        if taken != len(data):
            # The disk is full. The piece is without effect: its checksum cannot be right, and nothing comes behind it.
            raise OSError(errno.ENOSPC, "no space left on the disk")


def in_file(path: Path, size: int, *, mapped: bool) -> Segment:
    """A fresh segment in a file, with its space reserved. Raises `OSError` and leaves nothing behind."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as err:
            if mapped or err.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
        return Segment(mmap.mmap(fd, size) if mapped else _Written(fd), size, path, fd)
    except BaseException:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise


def in_memory(size: int) -> Segment:
    """A segment that this process alone has."""
    return Segment(bytearray(size), size)


def sync_names(folder: Path) -> None:
    """Bring to the disk how the files in a folder are called. Raises `OSError`."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def reserves(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether a file in this folder keeps the blocks that were reserved for it."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        before, _, after = line.partition(" - ")
        if before.split()[2] == wanted:
            return after.split()[0] in _RESERVING
    return False
