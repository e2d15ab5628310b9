"""Installs Tenon as a stranger does, from the ranges that pyproject.toml declares and without constraints.txt.

Each extra gets a virtual environment of its own from the built wheel, because an editable install would hide a file that
the wheel lacks. A service must be importable with its own extra alone; the predictor must stay slim; and with `all`, the
command's every --help and the loop from `tenon up` to a prediction must work.

    python -m tools.try_install [EXTRA ...] [--keep DIR]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("registry", "ingest", "features", "trainer", "predictor", "monitor")
EXTRAS = (*SERVICES, "export", "all")
HEAVY = ("celery", "sqlalchemy", "pandas", "sklearn", "xgboost", "boto3", "polars", "duckdb", "onnx", "onnxruntime")
"""What the predictor's image must not contain."""

# Runs inside the new environment: every --help, subcommands included.
_EVERY_HELP = """
import sys
import click
from click.testing import CliRunner
from tenon.cli.main import cli
def walk(command, words):
    result = CliRunner().invoke(cli, [*words, "--help"])
    assert result.exit_code == 0 and "Usage:" in result.output, (words, result.output)
    count = 1
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        count += sum(walk(command.get_command(ctx, name), [*words, name]) for name in command.list_commands(ctx))
    return count
print(f"{walk(cli, [])} help pages")
"""

LOOP: tuple[tuple[str, ...], ...] = (
    ("up", "--detach"),
    ("init", "--apply"),
    ("ingest", "orders", "example/orders.csv"),
    ("train", "returned", "--release"),
    ("predict", "returned", "-f", "example/request.json"),
)
AFTER: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("doctor",),
    ("report", "returned", "--json"),
    ("export", "returned", "-o", "edge"),
)


class Failed(Exception):
    """A step that did not do what is promised."""


def main() -> int:
    """Try every extra that is asked for, and count."""
    parser = argparse.ArgumentParser(description="Install Tenon from its declared ranges and try it.")
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help=f"which of {', '.join(EXTRAS)} (default: each)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="make the environments in DIR and leave them there")
    asked = parser.parse_args()
    if unknown := set(asked.extras) - set(EXTRAS):
        parser.error(f"there is no extra {', '.join(sorted(unknown))}; there are: {', '.join(EXTRAS)}")
    failed = []
    with tempfile.TemporaryDirectory(prefix="tenon-install-") as temporary:
        folder = (asked.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        wheel = _build(folder)
        for extra in asked.extras or EXTRAS:
            started = time.monotonic()
            try:
                said = _try(extra, wheel, folder)
                print(f"ok      {extra:<10} {time.monotonic() - started:5.0f} s  {said}", flush=True)
            except Failed as failure:
                failed.append(extra)
                print(f"FAILED  {extra:<10} {time.monotonic() - started:5.0f} s  {failure}", flush=True)
    print(f"{len(asked.extras or EXTRAS) - len(failed)} of {len(asked.extras or EXTRAS)} installations work")
    return 1 if failed else 0


def _build(folder: Path) -> Path:
    out = folder / "wheel"
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(ROOT)], folder)
    return next(out.glob("tenon-*.whl"))


def _try(extra: str, wheel: Path, folder: Path) -> str:
    place = folder / extra
    python = place / "bin" / "python"
    _run([sys.executable, "-m", "venv", str(place)], folder)
    _run([str(python), "-m", "pip", "install", "--quiet", f"tenon[{extra}] @ {wheel.as_uri()}"], folder)
    if extra == "all":
        return _try_everything(place, folder)
    module = "tenon.cli.commands.export, tenon.bundle.edge" if extra == "export" else f"services.{extra}.main"
    _run([str(python), "-P", "-c", f"import {module}"], folder)
    count = len(_run([str(python), "-m", "pip", "list", "--format=freeze"], folder).splitlines())
    if extra == "predictor":
        find = f"import importlib.util as u; print(*[n for n in {HEAVY} if u.find_spec(n)])"
        if heavy := _run([str(python), "-P", "-c", find], folder).strip():
            raise Failed(f"it installs {heavy}")
    return f"imports alone, {count} packages"


def _try_everything(place: Path, folder: Path) -> str:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    tenon = str(place / "bin" / "tenon")
    pages = _run([str(place / "bin" / "python"), "-P", "-c", _EVERY_HELP], work).strip()
    started = time.monotonic()
    try:
        for words in LOOP:
            _run([tenon, *words], work)
        seconds = time.monotonic() - started
        for words in AFTER:
            _run([tenon, *words], work)
        seen = _visit_pages(tenon, work)
    finally:
        _run([tenon, "down"], work)
    return f"{pages}, the loop in {seconds:.0f} s, {seen} web pages"


def _visit_pages(tenon: str, work: Path) -> int:
    # The addresses are read the way a script reads them.
    import json

    services = json.loads(_run([tenon, "status", "--json"], work))["services"]
    urls = [service["url"] for service in services.values()]
    if len(urls) != len(SERVICES):
        raise Failed(f"tenon status --json names {len(urls)} addresses instead of {len(SERVICES)}")
    for url in urls:
        for page in ("/docs", "/openapi.json", "/readyz", "/metrics"):
            with urllib.request.urlopen(url + page, timeout=10) as answer:  # noqa: S310 - our own address
                if answer.status != 200 or not answer.read():
                    raise Failed(f"{url}{page} is empty")
    return 4 * len(urls)


def _run(command: list[str], folder: Path) -> str:
    # The stranger's environment: nothing that names a platform, and no path into this working tree.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TENON_", "PYTHON"))}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        words = " ".join(Path(command[0]).name if i == 0 else word for i, word in enumerate(command))
        raise Failed(f"`{words}` ended with {done.returncode}:\n{(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
