"""The last known releases as a JSON file, replaced atomically."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

from services.predictor.domain.model import ModelKey, Release, Role, Track
from services.predictor.domain.ports import Known
from tenon.core.errors import Invalid
from tenon.core.tenancy import TenantId
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)


class ReleasesFile:
    """See `ReleaseStore`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Known | None:
        """What was saved; None when nothing was, or when it is not readable."""
        try:
            data = orjson.loads(self._path.read_bytes())
            return Known(
                [_release(item) for item in data["releases"]],
                [_release(item) for item in data.get("served", ())],
                [ModelKey(TenantId(tenant), model) for tenant, model in data.get("recent", ())],
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, Invalid) as err:
            log.warning("last known releases are unreadable, starting without them", error=str(err))
            return None

    def save(self, known: Known) -> None:
        """Keep all of this and nothing else. A disk that refuses is logged: serving goes on."""
        items = {
            "releases": [_item(release) for release in known.desired],
            "served": [_item(release) for release in known.served],
            "recent": [[key.tenant.value, key.model] for key in known.recent],
        }
        temporary = self._path.with_suffix(".tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(orjson.dumps(items, option=orjson.OPT_INDENT_2))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as err:
            log.warning("last known releases could not be saved", error=str(err))


def _item(release: Release) -> dict[str, Any]:
    return {
        "tenant": release.tenant.value,
        "model": release.model,
        "revision": release.revision,
        "tracks": [
            [track.role.value, track.version, track.bundle_sha256, track.weight_permille] for track in release.tracks
        ],
    }


def _release(item: dict[str, Any]) -> Release:
    tracks = tuple(Track(Role(role), int(version), sha, int(weight)) for role, version, sha, weight in item["tracks"])
    return Release(TenantId(item["tenant"]), item["model"], int(item["revision"]), tracks)
