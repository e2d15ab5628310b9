"""A predictor that is told its versions instead of following releases: what it is told, as releases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.predictor.domain.model import ModelKey, Release, Role, Track
from tenon.core.errors import Invalid


@dataclass(frozen=True, slots=True)
class Pin:
    """One version of a tenant's model, and what it does; `sha256` and `bundle` (a file) may be empty."""

    key: ModelKey
    version: int
    role: Role = Role.STABLE
    weight_permille: int = 0
    sha256: str = ""
    bundle: str = ""


def check_pins(pins: Sequence[Pin]) -> None:
    """Raises `Invalid` for what cannot be served together: the rules of releases, on this replica alone."""
    for key in dict.fromkeys(pin.key for pin in pins):
        own = [pin for pin in pins if pin.key == key]
        name, roles = f"{key.tenant}/{key.model}", [pin.role for pin in own]
        problem = ""
        if roles.count(Role.STABLE) != 1:
            problem = "needs exactly one stable version"
        elif len(set(roles)) != len(roles):
            problem = "has two versions in one role"
        elif any((pin.weight_permille > 0) != (pin.role not in (Role.STABLE, Role.SHADOW)) for pin in own):
            problem = "gives a weight to stable or shadow, or none to a canary or arm"
        elif sum(pin.weight_permille for pin in own) > 999:
            problem = "leaves nothing for the stable version"
        if problem:
            raise Invalid("PINS_INVALID", f"{name} {problem}")


def releases_of(pins: Sequence[Pin], digest_of: Callable[[Pin], str]) -> list[Release]:
    """One release for each model, in the order stable, canary, arms, shadow. They have no number: 0."""
    order = {Role.STABLE: 0, Role.CANARY: 1, Role.SHADOW: 3}
    found = []
    for key in dict.fromkeys(pin.key for pin in pins):
        own = sorted((pin for pin in pins if pin.key == key), key=lambda pin: order.get(pin.role, 2))
        tracks = tuple(Track(pin.role, pin.version, digest_of(pin), pin.weight_permille) for pin in own)
        found.append(Release(key.tenant, key.model, 0, tracks))
    return found
