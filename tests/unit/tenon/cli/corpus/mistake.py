"""What one newcomer's mistake is, and what the command must say to it."""

from __future__ import annotations

from dataclasses import dataclass, field

EXAMPLE = "example"
"""The folder that `tenon init` makes; a mistake can change its files."""


@dataclass(frozen=True)
class Mistake:
    """One mistake: what is typed, in which state of things, and what must be said.

    `names` are texts that the error must contain: the thing that is wrong. `place` is the file:line:column it must
    point at. `way` is a text of the hint; None where there is honestly no way out to paste.
    """

    id: str
    words: tuple[str, ...]
    names: tuple[str, ...]
    way: str | None
    code: int = 2
    place: str | None = None
    files: dict[str, str | bytes] = field(default_factory=dict)
    """Files to write first, by path."""
    change: tuple[str, str, str] | None = None
    """(file of the example, text, replacement): the usual way to break a document."""
    needs: str = "nothing"
    """nothing, platform (empty), example (applied, trained and served), two-tenants."""
    environment: dict[str, str] = field(default_factory=dict)
