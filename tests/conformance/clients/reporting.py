"""What the programs in this folder share: they try one capability after another and print what came of each.

Standard library only: they run in environments that know nothing of Tenon. The facts (ports, keys, rows and the answers
that are right) come as JSON on standard input; the outcome of each capability leaves as one JSON line at the end.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

_Try = Callable[[dict[str, Any]], Any]
_TRIES: list[tuple[str, _Try]] = []


def capability(title: str) -> Callable[[_Try], _Try]:
    """Register a capability. The function fails by any exception; a text it gives back is shown in the table."""

    def register(function: _Try) -> _Try:
        _TRIES.append((title, function))
        return function

    return register


def main() -> None:
    """Try everything in order of registration, inside one event loop where a try is asynchronous."""
    facts = json.load(sys.stdin)

    async def all_of_them() -> list[dict[str, str]]:
        found = []
        for title, function in _TRIES:
            outcome = {"capability": title, "note": "", "failure": ""}
            try:
                result = function(facts)
                if inspect.isawaitable(result):
                    result = await result
                outcome["note"] = result or ""
            except Exception:
                outcome["failure"] = traceback.format_exc()
            found.append(outcome)
        return found

    # What a try prints must not be taken for the outcome.
    out, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps(asyncio.run(all_of_them())), file=out)


def same(got: Any, wanted: Any) -> None:
    """Equal, to the last bit; the failure shows both."""
    if got != wanted:
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


def contains(text: str, part: str) -> None:
    """A part that must be in a text."""
    if part not in text:
        raise AssertionError(f"{part!r} is not in {text!r}")


def refused(exceptions: Any, call: Callable[[], Any], *parts: str) -> str:
    """The text of the refusal a call must end in, which names `parts`."""
    try:
        got = call()
    except exceptions as err:
        text = f"{err}"
        for part in parts:
            contains(text, part)
        return text
    raise AssertionError(f"was not refused but answered {got!r}")
