"""Load for bench-predictor: `wrk` and `h2load` where they are on the PATH, else `tests.bench.load`; one fixed request."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench import frame

CONNECTIONS = 16

_LUA = """
local file = io.open("%(body)s", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
%(headers)s
local bad = 0
done = function(summary, latency, requests)
  io.write(string.format("RESULT %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), summary.errors.status + summary.errors.read + summary.errors.timeout))
end
"""


class NotAnswered(SystemExit):
    """A server did not answer every request with a success."""


def has_tools() -> bool:
    """Whether this machine has both tools."""
    return all(map(shutil.which, ("wrk", "h2load")))


def drive(task: dict[str, Any], seconds: float, core: int) -> dict[str, float]:
    """Ask for so long; answers, seconds, p50 and p99 in ms. Ends the bench when an answer is not a success."""
    with tempfile.TemporaryDirectory(prefix="tenon-bench-") as name:
        folder = Path(name)
        (folder / "body").write_bytes(task["body"])
        if task["protocol"] == "rest" and shutil.which("wrk"):
            return _wrk(task, seconds, core, folder)
        if task["protocol"] == "grpc" and shutil.which("h2load"):
            return _h2load(task, seconds, core, folder)
    return _own(task, seconds, core)


def measured(task: dict[str, Any], pid: int, seconds: float, core: int) -> dict[str, float]:
    """The same after a moment of warming up, with requests a second and the server's CPU for each (its process tree)."""
    drive(task, 1.0, core)
    tree = frame.tree_of(pid)
    before = sum(map(frame.cpu_seconds, tree))
    found = drive(task, seconds, core)
    used = sum(map(frame.cpu_seconds, tree)) - before
    return found | {"rate": found["answers"] / found["seconds"], "cpu_us": 1e6 * used / found["answers"]}


def middle(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def _wrk(task: dict[str, Any], seconds: float, core: int, folder: Path) -> dict[str, float]:
    headers = "".join(
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n"
        for name, value in {"content-type": "application/json", **task["headers"]}.items()
    )
    (folder / "task.lua").write_text(_LUA % {"body": folder / "body", "headers": headers})
    connections = str(task.get("connections", CONNECTIONS))
    command = ["taskset", "-c", str(core), "wrk", "-t1", "-c", connections, f"-d{max(1, round(seconds))}s", "-s", str(folder / "task.lua"),
               f"http://127.0.0.1:{task['port']}{task['path']}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if found is None or found[5] != "0" or found[1] == "0":
        raise NotAnswered(f"{task['path']}: not every answer was a success\n{done.stdout}{done.stderr}")
    answers, micros, p50, p99 = (int(found[place]) for place in range(1, 5))
    return {"answers": answers, "seconds": micros / 1e6, "p50_ms": p50 / 1e3, "p99_ms": p99 / 1e3}


def _h2load(task: dict[str, Any], seconds: float, core: int, folder: Path) -> dict[str, float]:
    message = task["body"]
    (folder / "body").write_bytes(b"\x00" + len(message).to_bytes(4, "big") + message)
    headers = {"content-type": "application/grpc", "te": "trailers", **task["headers"]}
    command = ["taskset", "-c", str(core), "h2load", "-t1", f"-c{task.get('connections', CONNECTIONS)}", "-m1",
               f"-D{max(1, round(seconds))}", "-d", str(folder / "body"), f"--log-file={folder / 'log'}"]  # fmt: skip
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://127.0.0.1:{task['port']}{task['path']}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    took = []
    for line in (folder / "log").read_text().splitlines():
        _, status, micros = line.split("\t")[:3]
        if status != "200":
            raise NotAnswered(f"{task['path']}: {line}\n{done.stdout}")
        took.append(int(micros))
    took.sort()
    if not took:
        raise NotAnswered(f"{task['path']}: no answer\n{done.stdout}{done.stderr}")
    p50, p99 = took[len(took) // 2] / 1e3, took[int(len(took) * 0.99)] / 1e3
    return {"answers": len(took), "seconds": float(max(1, round(seconds))), "p50_ms": p50, "p99_ms": p99}


def _own(task: dict[str, Any], seconds: float, core: int) -> dict[str, float]:
    work = task | {"body": task["body"].decode("latin-1"), "seconds": seconds, "core": core, "host": "127.0.0.1"}
    work.setdefault("connections", CONNECTIONS)
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"], input=json.dumps(work), cwd=frame.ROOT, capture_output=True,
        text=True, timeout=seconds + 60, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"the load generator failed: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found
