"""Finds tools, and builds those that are not there.

What is built lies in `$TENON_TOOLS_CACHE` (by default ~/.cache/tenon-tools), in a folder named after everything it was
built from, so that a changed version never meets an old binary; `bin/` beside it has links to the newest, for people.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.tools.catalog import MANIFESTS, TOOLS, Group, Manifests, Tool

HERE = Path(__file__).parent
# The sizes and speed of what is shipped: without symbols, without this machine's paths, without C.
FLAGS = ("-trimpath", "-buildvcs=false")
LDFLAGS = "-s -w"


class Unavailable(Exception):
    """A tool cannot be had on this machine; the text says why."""


def cache() -> Path:
    """Where tools are built into."""
    return Path(os.environ.get("TENON_TOOLS_CACHE") or Path.home() / ".cache/tenon-tools").expanduser()


def built_path(tool: Tool) -> Path:
    """Where a tool lies once it is built."""
    assert tool.group
    return cache() / f"{tool.group.name}-{_key(tool.group)}" / tool.name


def find(name: str) -> Path | None:
    """A tool that suits, or nothing."""
    tool = TOOLS[name]
    if tool.group and built_path(tool).exists():
        return built_path(tool)
    return _on_path(name)


def build(names: list[str], say: Callable[[str], None]) -> None:
    """Build what is missing. Raises `Unavailable` where that cannot be done, and `CalledProcessError` where it should
    have been.
    """
    missing = [TOOLS[name] for name in names if find(name) is None]
    if any(tool.group for tool in missing):
        _check_go()
    for tool in missing:
        if tool.group is None:
            continue
        with _lock():
            if not built_path(tool).exists():
                began = time.monotonic()
                _build_one(tool)
                say(f"{tool.name:25} built in {time.monotonic() - began:.0f} s")
    _link([TOOLS[name] for name in names])
    for tool in missing:
        if tool.group is None:
            raise Unavailable(f"{tool.name} is not installed; Debian has it in `{tool.debian}`")


def manifest_files(name: str) -> list[Path]:
    """Custom resource definitions of a pinned module, fetched when they are first asked for and verified by their sum."""
    wanted = MANIFESTS[name]
    folder = cache() / "manifests" / f"{name}-{wanted.version}-{hashlib.sha256(repr(wanted).encode()).hexdigest()[:12]}"
    if not folder.exists():
        with _lock():
            if not folder.exists():
                _fetch(wanted, folder)
    return sorted(folder.iterdir())


def _fetch(wanted: Manifests, folder: Path) -> None:
    _check_go()
    command = ["go", "mod", "download", "-json", f"{wanted.module}@{wanted.version}"]
    answer = subprocess.run(command, cwd=tempfile.gettempdir(), capture_output=True, text=True, check=False)
    facts = json.loads(answer.stdout or "{}")
    if "Dir" not in facts:
        raise Unavailable(f"{wanted.module} cannot be fetched: {facts.get('Error') or answer.stderr}")
    if facts["Sum"] != wanted.sum:
        raise ValueError(f"{wanted.module}@{wanted.version} has the sum {facts['Sum']} instead of {wanted.sum}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        files = [path for pattern in wanted.files for path in Path(facts["Dir"]).glob(pattern)]
        assert files, f"{wanted.module} has none of {wanted.files}"
        for path in files:
            # The module cache is read-only; these are to be removed with the folder.
            shutil.copyfile(path, Path(draft) / path.name)
        shutil.copytree(draft, folder)


def _build_one(tool: Tool) -> None:
    assert tool.group
    target = built_path(tool)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".draft")
    command = ["go", "build", *FLAGS, f"-ldflags={LDFLAGS} {tool.group.ldflags}", "-o", str(draft), tool.package]
    subprocess.run(command, cwd=HERE / tool.group.name, env=_go(), check=True)
    draft.rename(target)


def _go() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}


def _check_go() -> None:
    go = shutil.which("go")
    if not go:
        raise Unavailable("there is no `go` on the PATH")
    wanted = re.search(r"^go (\d+)\.(\d+)", (HERE / "kubernetes/go.mod").read_text(), re.MULTILINE)
    answer = subprocess.run([go, "env", "GOVERSION", "GOTOOLCHAIN"], capture_output=True, text=True, check=True).stdout
    have = re.search(r"go(\d+)\.(\d+)", answer)
    assert wanted
    if (not have or tuple(map(int, have.groups())) < tuple(map(int, wanted.groups()))) and "auto" not in answer:
        raise Unavailable(f"Go {'.'.join(wanted.groups())} is needed, this is {answer.split()[0]}")


def fetch_sources(names: list[str]) -> None:
    """Fetch what some tools are built from. Raises `Unavailable`: without it (no network) nothing can be built."""
    _check_go()
    for group in {TOOLS[name].group for name in names} - {None}:
        assert group
        # Not `go mod download`, which fetches many times as much: also what only the tests of modules need.
        packages = [TOOLS[name].package for name in names if TOOLS[name].group == group]
        answer = subprocess.run(
            ["go", "list", "-deps", *packages], cwd=HERE / group.name, env=_go(), capture_output=True, text=True
        )
        if answer.returncode:
            raise Unavailable(f"the modules of {group.name} cannot be fetched: {answer.stderr[-2000:]}")


@functools.cache
def _on_path(name: str) -> Path | None:
    tool, path = TOOLS[name], shutil.which(name)
    if not path:
        return None
    try:
        answer = subprocess.run([path, *tool.ask], capture_output=True, text=True, timeout=180, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Path(path) if re.search(tool.suits, answer.stdout + answer.stderr) else None


def _key(group: Group) -> str:
    """Named after what is built from what; not after the Go that builds it, which warms no less for being newer."""
    text = [(HERE / group.name / file).read_text() for file in ("go.mod", "go.sum")]
    return hashlib.sha256("\n".join([*text, *FLAGS, LDFLAGS, group.ldflags]).encode()).hexdigest()[:12]


def _link(tools: list[Tool]) -> None:
    (cache() / "bin").mkdir(parents=True, exist_ok=True)
    for tool in tools:
        if tool.group and built_path(tool).exists():
            link = cache() / "bin" / tool.name
            link.unlink(missing_ok=True)
            link.symlink_to(built_path(tool))


@contextmanager
def _lock() -> Iterator[None]:
    """One builder at a time, over all processes of the machine."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
