"""`tenon doctor`: versions, paths, configuration used, connections, one verdict."""

from __future__ import annotations

import os
import platform as machine
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from tenon.cli import exits
from tenon.cli.context import data_option, json_option
from tenon.cli.failures import Stop
from tenon.cli.output import Output
from tenon.core.errors import TenonError

_LIBRARIES = ("click", "pydantic", "urllib3", "fastapi", "grpcio", "sqlalchemy", "redis", "celery", "polars", "duckdb", "deltalake",
              "scikit-learn", "xgboost-cpu", "numpy")  # fmt: skip
_SECRET = ("KEY", "TOKEN", "PASSWORD", "SECRET")


@click.command()
@data_option()
@json_option
@click.pass_obj
def doctor(output: Output, data: str | None) -> None:
    """Check what the command is, what it uses and whom it reaches; the last line is the verdict.

    The output holds no secrets and can be sent along with a report.
    """
    checks: list[tuple[str, str, str, str]] = []  # group, name, state (ok, note, problem), text
    checks.append(("version", "tenon", "ok", f"{_version('tenon')} from {Path(__file__).resolve().parents[2]}"))
    python_ok = sys.version_info >= (3, 11)
    checks.append(
        ("version", "python", "ok" if python_ok else "problem", f"{machine.python_version()} at {sys.executable}")
    )
    checks.append(
        (
            "version",
            "system",
            "ok",
            f"{machine.system()} {machine.release()} {machine.machine()}, {os.cpu_count()} CPUs",
        )
    )
    missing = [name for name in _LIBRARIES if _version(name) is None]
    found = ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES if name not in missing)
    checks.append(("version", "libraries", "ok", found))
    if missing:
        checks.append(
            ("version", "missing", "note", f"{', '.join(missing)}: needed by `tenon up`, not by other commands")
        )
    for name in sorted(name for name in os.environ if name.startswith("TENON_")):
        value = "(set, not shown)" if any(word in name for word in _SECRET) else os.environ[name]
        checks.append(("environment", name, "ok", value))
    checks += _embedded_checks()
    checks += _connection_checks(output, data)
    problems = [check for check in checks if check[2] == "problem"]
    if output.json:
        body: dict[str, Any] = {
            "checks": [dict(zip(("group", "name", "state", "text"), c, strict=True)) for c in checks],
            "problems": len(problems),
        }
        output.result("doctor", body)
    output.table(
        ["", "check", "", "found"],
        [[group, name, "ok" if state == "ok" else state.upper(), text] for group, name, state, text in checks],
    )
    output.line(
        f"{len(checks) - len(problems)} of {len(checks)} checks are fine"
        + (f"; first problem: {problems[0][1]}: {problems[0][3]}" if problems else "")
    )
    if problems:
        raise Stop(exits.FINDINGS)


def _embedded_checks() -> list[tuple[str, str, str, str]]:
    from tenon.cli.supervisor.ports import DEFAULT_BASE, find_holder, is_free
    from tenon.cli.supervisor.programs import PORT_NAMES, find_redis

    checks = []
    try:
        checks.append(("embedded", "redis", "ok", str(find_redis())))
    except TenonError as error:
        checks.append(("embedded", "redis", "note", f"{error.message}; {error.hint}"))
    taken = [port for port in range(DEFAULT_BASE, DEFAULT_BASE + len(PORT_NAMES)) if not is_free(port)]
    holder = find_holder(taken[0]) if taken else None
    text = (
        f"{DEFAULT_BASE}-{DEFAULT_BASE + len(PORT_NAMES) - 1} are free"
        if not taken
        else f"in use: {', '.join(map(str, taken))}" + (f" (the first by {holder})" if holder else "")
    )
    checks.append(("embedded", "ports", "ok", text))
    free = shutil.disk_usage(Path.cwd()).free
    checks.append(
        ("embedded", "disk", "ok" if free > 1 << 30 else "problem", f"{free / (1 << 30):.1f} GiB free in {Path.cwd()}")
    )
    return checks


def _connection_checks(output: Output, data: str | None) -> list[tuple[str, str, str, str]]:
    from tenon.cli.client import Client
    from tenon.cli.locate import find_platform

    try:
        platform = find_platform(data)
    except TenonError as error:
        return [("platform", "found", "problem", f"{error.message}; {error.hint}")]
    checks = [("platform", "found", "ok", platform.source)]
    client = Client(platform, output.say, deadline=2.0)
    for name, url in platform.urls.items():
        try:
            client.get(name, "/readyz", patient=False)
            checks.append(("platform", name, "ok", f"ready at {url}"))
        except TenonError as error:
            checks.append(("platform", name, "problem", error.message))
    try:
        tenants = client.get("registry", "/v1/tenants", patient=False)["tenants"]
        checks.append(("platform", "key", "ok", f"the operator's key is accepted; {len(tenants)} tenants"))
    except TenonError as error:
        fine = error.reason in ("FORBIDDEN", "SCOPE_MISSING", "ADMIN_ONLY")
        checks.append(("platform", "key", "note" if fine else "problem", error.message))
    return checks


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
