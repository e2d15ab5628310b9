"""Tables in the terminal's width: wide texts are written in several lines, at spaces and behind the dots and dashes of names."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence

GAP = 2
_LONGEST_PIECE = 24


def terminal_width() -> int | None:
    """How many characters a line has; None where nobody looks."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def widths_for(lines: Sequence[Sequence[str]], room: int | None, fixed: Collection[int] = ()) -> list[int]:
    """How wide each column is: as its widest cell, and narrower where the whole is wider than the room.

    The widest columns give way first, none below its longest piece; `fixed` ones (numbers) not at all.

    >>> widths_for([["model", "what"], ["cost", "values are higher"]], 16)
    [5, 9]
    """
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    if room is None:
        return widths
    least = [
        max(min(len(piece.rstrip()), _LONGEST_PIECE) for line in lines for piece in _pieces(line[place]))
        if place not in fixed
        else widths[place]
        for place in range(len(widths))
    ]
    while sum(widths) + GAP * (len(widths) - 1) > room:
        give = [width if width > low else 0 for width, low in zip(widths, least, strict=True)]
        if not any(give):
            break
        widths[give.index(max(give))] -= 1
    return widths


def in_lines(row: Sequence[str], widths: Sequence[int]) -> Iterator[list[str]]:
    """A row as lines of parts; a row that fits is one.

    >>> list(in_lines(["cost", "values are higher"], [5, 9]))
    [['cost', 'values'], ['', 'are'], ['', 'higher']]
    """
    wrapped = [_wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    for place in range(max(len(one) for one in wrapped)):
        yield [one[place] if place < len(one) else "" for one in wrapped]


def _pieces(text: str) -> list[str]:
    return re.split(r"(?<=[-._/])(?=[a-zA-Z])|(?<= )", text)


def _wrapped(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    found = [""]
    for piece in _pieces(text):
        if found[-1] and len(found[-1]) + len(piece.rstrip()) > width:
            found.append("")
        found[-1] += piece
        while len(found[-1].rstrip()) > width:
            found[-1:] = [found[-1][:width], found[-1][width:]]
    return [line.rstrip() for line in found]
