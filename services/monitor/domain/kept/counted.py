"""Windows as they are served: counts and a sketch of one version in one role."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.monitor.domain.drift.sketch import Sketch
    from tenon.core.roles import Role


@dataclass(frozen=True, slots=True)
class Counted:
    """What one version answered in one role between `start` and `end`.

    `levels` are the rows by what they rest on, where history had to be looked up. The sketch holds what the version's own model
    answered; None while the version's training baseline cannot be read.
    """

    start: int
    end: int
    version: int
    role: Role
    rows: int
    levels: dict[str, int]
    sketch: Sketch | None
