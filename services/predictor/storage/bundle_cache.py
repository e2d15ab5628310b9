"""Bundles on disk by digest, so that a restart needs no registry."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from pathlib import Path

_DIGEST = re.compile(r"[0-9a-f]{64}")


class BundleCache:
    """A folder of `<sha256>.bundle` files. What is read is checked against its name; what is damaged is not there."""

    def __init__(self, folder: Path, *, keep_days: float = 14.0) -> None:
        self._folder = folder
        self._keep_seconds = keep_days * 86_400
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, sha256: str) -> bytes | None:
        """The bundle's bytes, or None when it is not here or not intact."""
        path = self._path(sha256)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != sha256:
            path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return data

    def has(self, sha256: str) -> bool:
        """Whether it is here; whether it is intact, `get` finds out."""
        return self._path(sha256).exists()

    def put(self, sha256: str, data: bytes) -> None:
        """Keep a bundle: written beside and renamed, so that a crash leaves no half file under the name."""
        path = self._path(sha256)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def drop(self, sha256: str) -> None:
        """Forget a bundle."""
        self._path(sha256).unlink(missing_ok=True)

    def prune(self, needed: set[str]) -> None:
        """Remove what is not needed and was not read for a long time."""
        limit = time.time() - self._keep_seconds
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                if path.stem not in needed and path.stat().st_mtime < limit:
                    path.unlink()

    def _path(self, sha256: str) -> Path:
        # The digest comes from the network; it becomes a file name only in its one valid form.
        if not _DIGEST.fullmatch(sha256):
            return self._folder / "invalid.bundle"
        return self._folder / f"{sha256}.bundle"
