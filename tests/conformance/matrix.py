"""The table client × capability: filled by the tests, printed at the end, and kept in docs/reference/conformance.md."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

BEGIN, END = "<!-- matrix -->", "<!-- /matrix -->"


@dataclass
class Matrix:
    """What each client reported, by capability: a note, "" for plain success; a failed one is not in it."""

    clients: dict[str, dict[str, str]] = field(default_factory=dict)

    def capabilities(self) -> list[str]:
        """Every capability once, in the order in which the clients name them."""
        found: dict[str, None] = {}
        for outcomes in self.clients.values():
            found.update(dict.fromkeys(outcomes))
        return list(found)


MATRIX = pytest.StashKey[Matrix]()


def rows(matrix: Matrix) -> list[list[str]]:
    """The table: a head, then a line for each capability. `–`: the client has no such call, or none of its own."""
    lines = [["", *matrix.clients]]
    for capability in matrix.capabilities():
        cells = (outcomes.get(capability) for outcomes in matrix.clients.values())
        lines.append([capability, *("–" if note is None else note or "✓" for note in cells)])
    return lines


def as_text(matrix: Matrix) -> str:
    """For a terminal."""
    lines = rows(matrix)
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def as_markdown(matrix: Matrix) -> str:
    """For the document."""
    lines = rows(matrix)
    head, rest = lines[0], lines[1:]
    ruled = [head, ["---", *[":-:"] * (len(head) - 1)], *rest]
    return "\n".join(f"| {' | '.join(line)} |" for line in ruled)
