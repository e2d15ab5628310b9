"""Between rows and values: the JSON inside columns is written and read here only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from services.registry.domain.model import Automatic, Role, ServedModel, Track
from tenon.core.tenancy import TenantId


def tracks_to_json(tracks: Iterable[Track]) -> str:
    """Tracks as text."""
    return json.dumps([_track_to_list(track) for track in tracks])


def tracks_from_json(text: str) -> tuple[Track, ...]:
    """Tracks from their text."""
    return tuple(_track_from_list(item) for item in json.loads(text))


def automatic_to_json(plan: Automatic | None) -> str:
    """How a release goes on by itself, as text."""
    return "" if plan is None else json.dumps(asdict(plan))


def automatic_from_json(text: str) -> Automatic | None:
    """The same from its text."""
    if not text:
        return None
    fields = json.loads(text)
    return Automatic(**{**fields, "steps": tuple(fields["steps"]), "needs": tuple(fields["needs"])})


def served_to_json(models: Iterable[ServedModel]) -> str:
    """A replica's models as text."""
    return json.dumps(
        [
            {
                "tenant": served.tenant.value,
                "model": served.model,
                "revision": served.revision,
                "tracks": [_track_to_list(track) for track in served.tracks],
                "problem": served.problem,
            }
            for served in models
        ]
    )


def served_from_json(text: str) -> tuple[ServedModel, ...]:
    """A replica's models from their text."""
    return tuple(
        ServedModel(
            TenantId(item["tenant"]),
            item["model"],
            item["revision"],
            tuple(_track_from_list(track) for track in item["tracks"]),
            item["problem"],
        )
        for item in json.loads(text)
    )


def _track_to_list(track: Track) -> list[Any]:
    return [track.role.value, track.version, track.bundle_sha256, track.weight_permille]


def _track_from_list(item: list[Any]) -> Track:
    return Track(Role(item[0]), item[1], item[2], item[3])
