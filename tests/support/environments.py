"""Other people's software in virtual environments of its own, because its pins contradict each other's and ours.

A requirements file lists everything to the last digit, so it is installed without dependency resolution (`--no-deps`). An
environment is made once and kept until its list or the Python changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
_STAMP = "installed"
_SECONDS = 600


class Unavailable(Exception):
    """An environment that could not be made, and why."""


def environment(folder: Path, wanted: Path) -> Path:
    """The Python of the environment in a folder, made from a requirements file if need be. Raises `Unavailable`."""
    stamp = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _read(folder / _STAMP) == stamp and python.exists():
            return python
        shutil.rmtree(folder, ignore_errors=True)
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        _install(python, wanted)
        (folder / _STAMP).write_text(stamp)
    return python


def _install(python: Path, wanted: Path) -> None:
    uv = shutil.which("uv")
    if uv is not None:
        command = [uv, "pip", "install", "--quiet", "--no-deps", "--python", str(python), "-r", str(wanted)]
    else:
        # Our own pip fills the other environment, so that it needs none.
        command = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "--no-input",
            "--retries",
            "2",
        ]
        command += ["--disable-pip-version-check", "--no-deps", "--no-compile", "-r", str(wanted)]
    _run(command)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"not made within {_SECONDS} s: {' '.join(command)}") from None
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()[-800:]}")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def must_run() -> bool:
    """Whether a missing environment is a failure: in CI."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")
