"""Where the story happens: on a platform that `tenon up` starts for it, or on one that runs already, in containers say."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from examples.hospital.doors import Command, Doors
from examples.hospital.story import StepFailed, Story

SERVICES = ("registry", "ingest", "features", "trainer", "predictor", "monitor")


class Platform(Protocol):
    """What the story needs of a platform."""

    @property
    def back_again(self) -> str:
        """How a killed service comes back, as the story tells it."""
        ...

    def start(self, story: Story) -> tuple[Doors, str]:
        """Have it ready; gives its doors and the operator's key."""
        ...

    def kill(self, service: str) -> None:
        """Kill a service without a word."""
        ...

    def bring_back(self, service: str) -> None:
        """Have it start again, if it does not by itself."""
        ...


@dataclass(frozen=True)
class Embedded:
    """`tenon up` in a folder of the story's own."""

    command: Command
    back_again: str = "it came back by itself"

    def start(self, story: Story) -> tuple[Doors, str]:
        """See `Platform`."""
        command = self.command
        story.say(f"Six services, a training worker and a Redis server, each a process of its own, in {command.folder}")
        story.command("tenon up --detach")
        services = command.run("up", "--detach")["services"]
        for name in SERVICES:
            story.say(
                f"  {name:<10} pid {services[name]['pid']:<8} {services[name]['http']}  gRPC {services[name]['grpc']}"
            )
        story.say(f"  {'worker':<10} pid {services['worker']['pid']:<8} Celery")
        story.say(f"  {'redis':<10} pid {services['redis']['pid']:<8} port {services['redis']['port']}")
        pids = [services[name]["pid"] for name in (*SERVICES, "worker", "redis")]
        story.check(len(set(pids)) == len(pids), f"{len(pids)} separate processes are ready")
        doors = Doors(
            urls={name: services[name]["http"] for name in SERVICES},
            targets={name: services[name]["grpc"] for name in SERVICES},
        )
        admin_key: str = json.loads((command.folder / "credentials.json").read_text())["admin_key"]
        return doors, admin_key

    def kill(self, service: str) -> None:
        """See `Platform`."""
        services = json.loads((self.command.folder / "platform.json").read_text())["services"]
        os.kill(services[service]["pid"], signal.SIGKILL)

    def bring_back(self, service: str) -> None:
        """See `Platform`; the supervisor does it."""


@dataclass(frozen=True)
class Running:
    """One that runs already, and has not heard the story yet."""

    environment: Mapping[str, str] = field(repr=False)
    """TENON_<SERVICE>_URL of each service, TENON_PREDICTOR_GRPC and TENON_API_KEY, the operator's."""
    kill_command: str = ""
    start_command: str = ""
    back_again: str = "it was started again"

    def start(self, story: Story) -> tuple[Doors, str]:
        """See `Platform`."""
        urls = {name: self.environment[f"TENON_{name.upper()}_URL"] for name in SERVICES}
        for name, url in urls.items():
            story.say(f"  {name:<10} {url}")
        doors = Doors(urls=urls, targets={"predictor": self.environment["TENON_PREDICTOR_GRPC"]})
        for name in SERVICES:
            status, said = doors.ask(name, "GET", "/readyz", key=None)
            if status != 200:
                raise StepFailed(f"{name} is not ready: {json.dumps(said)}")
        story.check(True, f"{len(SERVICES)} services are ready")
        return doors, self.environment["TENON_API_KEY"]

    def kill(self, service: str) -> None:
        """See `Platform`."""
        _run(self.kill_command, service)

    def bring_back(self, service: str) -> None:
        """See `Platform`."""
        _run(self.start_command, service)


def read_target(path: Path) -> dict[str, str]:
    """The NAME=value lines of a file that says where a platform is. Raises `ValueError` naming what is missing."""
    lines = (line.strip() for line in path.read_text().splitlines())
    values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    needed = [*(f"TENON_{name.upper()}_URL" for name in SERVICES), "TENON_PREDICTOR_GRPC", "TENON_API_KEY"]
    if missing := [name for name in needed if not values.get(name)]:
        raise ValueError(f"{path} does not say {', '.join(missing)}")
    return {name: values[name] for name in needed}


def _run(command: str, service: str) -> None:
    done = subprocess.run(
        [*shlex.split(command), service], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StepFailed(f"`{command} {service}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
