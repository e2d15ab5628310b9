"""What a version does in a release: stable, canary, shadow, or one arm of an A/B test, under a name of its own."""

from __future__ import annotations

import re
from typing import ClassVar

ARM = re.compile(r"[a-z][a-z0-9_-]{0,9}")
"""An arm's name: it becomes a role in answers, metrics and the prediction log, whose tables have ten characters for it."""


class Role(str):
    """`stable` answers all traffic that is nobody else's, `canary` and the arms their share of it; a `shadow` is asked
    too and never answers. Raises `ValueError` for what cannot be a role.

    A text, so that it is stored and sent as it is; compare roles with `==`.
    """

    __slots__ = ("value",)

    STABLE: ClassVar[Role]
    CANARY: ClassVar[Role]
    SHADOW: ClassVar[Role]

    value: str

    def __new__(cls, name: object) -> Role:
        """The role of a name; the three that are always there are one object each."""
        known = _KNOWN.get(name) if isinstance(name, str) else None
        if known is not None:
            return known
        if not isinstance(name, str) or not ARM.fullmatch(name):
            raise ValueError(f"{name!r} is not a role")
        role = super().__new__(cls, name)
        role.value = str(name)
        return role

    @property
    def answers(self) -> bool:
        """Whether a version in this role may answer."""
        return self != "shadow"

    @property
    def is_arm(self) -> bool:
        """Whether it is an arm of an A/B test, by its own name."""
        return self not in _KNOWN


_KNOWN: dict[str, Role] = {}


def _known(name: str) -> Role:
    role = Role(name)
    _KNOWN[name] = role
    return role


Role.STABLE, Role.CANARY, Role.SHADOW = _known("stable"), _known("canary"), _known("shadow")
ROLES = (Role.STABLE, Role.CANARY, Role.SHADOW)
"""The roles that have no name of their own."""
