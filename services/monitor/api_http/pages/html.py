"""HTML as values: whatever is not markup already is escaped, so that no name of a tenant can become a tag."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

Child = str | int | Iterable["Child"] | None
"""What may stand in an element: text is escaped, `Markup` is not, None is nothing."""

_VOID = frozenset({"br", "input", "link", "meta"})


def tag(kind: str, /, *children: Child, **attributes: object) -> Markup:
    """One element. `class_` and `for_` lose their underscore, others become hyphens; None and False leave an attribute out.

    >>> tag("a", "R&D", href="/x?a=1&b=2", aria_label="go", hidden=False)
    Markup('<a href="/x?a=1&amp;b=2" aria-label="go">R&amp;D</a>')
    """
    parts = [f"<{kind}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        plain = key.rstrip("_").replace("_", "-")
        parts.append(f" {plain}" if value is True else f' {plain}="{escape(str(value))}"')
    parts.append(">")
    if kind in _VOID:
        return Markup("".join(parts))  # noqa: S704 - every part above is escaped
    parts.append(join(*children))
    parts.append(f"</{kind}>")
    return Markup("".join(parts))  # noqa: S704 - as above


def join(*children: Child) -> Markup:
    """Children one after another."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, str | int):
            parts.append(escape(child))
        else:
            parts.extend(join(item) for item in child)
    return Markup("".join(parts))  # noqa: S704 - each part was escaped
