"""Which platform a command talks to: a folder's, the nearest one upward, or the one named by the environment."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenon.cli.failures import BadFile, BadUsage, NoPlatform
from tenon.core.errors import Place

FOLDER = ".tenon"
FILE = "platform.json"
SERVICES = ("registry", "ingest", "features", "trainer", "predictor", "monitor")


@dataclass(frozen=True)
class Platform:
    """Where the services are, and with which key to speak to them."""

    urls: dict[str, str]
    api_key: str | None = field(repr=False)
    source: str
    """How it was found, for `tenon doctor`."""
    folder: Path | None = None
    grpc: dict[str, str] = field(default_factory=dict)
    started_at: str = ""

    @property
    def embedded(self) -> bool:
        """Whether it is one that `tenon up` runs."""
        return self.folder is not None

    def url(self, service: str) -> str:
        """The HTTP address of a service."""
        if service not in self.urls:
            raise NoPlatform(
                "SERVICE_UNKNOWN",
                f"the address of {service} is not known; {self.source} names {', '.join(self.urls) or 'no service'}",
                hint=f"export TENON_{service.upper()}_URL=http://HOST:PORT",
            )
        return self.urls[service]


def find_platform(data: str | None) -> Platform:
    """The platform of `--data` (or TENON_HOME), else the nearest upward, else the environment's.

    Raises `NoPlatform` with the way out.
    """
    if data is not None:
        return _of_folder(Path(data).expanduser().resolve(), explicit=True)
    stopped = None
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FOLDER / FILE).is_file():
            return _of_folder(folder / FOLDER, explicit=False)
        if stopped is None and (folder / FOLDER / "credentials.json").is_file():
            stopped = folder / FOLDER
    if found := _of_environment():
        return found
    if stopped is not None:
        raise _stopped(stopped)
    raise NoPlatform(
        "NO_PLATFORM",
        f"there is no platform here: no {FOLDER} folder in {here} or above, and no TENON_REGISTRY_URL",
        hint="tenon up",
    )


def data_folder(data: str | None) -> Path:
    """The folder that `tenon up` and `tenon down` mean."""
    return Path(data or FOLDER).expanduser().resolve()


def _of_folder(folder: Path, *, explicit: bool) -> Platform:
    path = folder / FILE
    if not path.is_file():
        if (folder / "credentials.json").is_file():
            raise _stopped(folder)
        if (folder / FOLDER / FILE).is_file():
            # `--data .` where the folder that holds `.tenon` is meant.
            return _of_folder(folder / FOLDER, explicit=explicit)
        if explicit and not folder.is_dir():
            raise NoPlatform("NO_PLATFORM", f"there is no folder {folder}", hint=f"tenon up --data {_short(folder)}")
        raise NoPlatform("NO_PLATFORM", f"there is no platform in {folder}", hint=f"tenon up --data {_short(folder)}")
    try:
        kept: dict[str, Any] = json.loads(path.read_text())
        credentials = json.loads((folder / "credentials.json").read_text())
        services = kept["services"]
        platform = Platform(
            urls={name: entry["http"] for name, entry in services.items() if entry.get("http")},
            api_key=os.environ.get("TENON_API_KEY") or credentials["admin_key"],
            source=str(path),
            folder=folder,
            grpc={name: entry["grpc"] for name, entry in services.items() if entry.get("grpc")},
            started_at=kept["started_at"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise BadFile(
            "PLATFORM_FILE_DAMAGED", f"the platform's file cannot be read: {err}", place=Place(file=str(path)),
            hint=f"tenon down --data {_short(folder)} && tenon up --data {_short(folder)}",
        ) from err  # fmt: skip
    if not is_running(folder):
        raise _stopped(folder)
    return platform


def is_running(folder: Path) -> bool:
    """Whether a supervisor holds the folder."""
    # fcntl is not needed by commands that talk to a platform named by the environment.
    from tenon.cli.supervisor.lock import running_supervisor

    return running_supervisor(folder) is not None


def _stopped(folder: Path) -> NoPlatform:
    return NoPlatform(
        "PLATFORM_STOPPED", f"the platform in {folder} is not running", hint=f"tenon up --data {_short(folder)}"
    )


def _of_environment() -> Platform | None:
    urls = {}
    for service in SERVICES:
        name = f"TENON_{service.upper()}_URL"
        if value := os.environ.get(name, "").strip():
            if not value.startswith(("http://", "https://")):
                raise BadUsage(f"{name} is {value!r}, which is not a URL", hint=f"export {name}=http://HOST:PORT")
            urls[service] = value.rstrip("/")
    if not urls:
        return None
    return Platform(urls=urls, api_key=os.environ.get("TENON_API_KEY"), source="the environment (TENON_*_URL)")


def _short(folder: Path) -> str:
    """A folder as the user would type it."""
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)
