"""What a service's program can be asked for on the command line; imports nothing, for it runs before everything."""

from __future__ import annotations

import sys
from collections.abc import Callable


def run_program(service: str, serve: Callable[[], object], **commands: Callable[[], int | None]) -> None:
    """Serve when no command is given, else do the command and end with its exit code; an unknown one ends with 2.

    `migrate` is known to all: charts and compose files need not tell who owns tables.
    """
    known = {"migrate": lambda: _no_tables(service), **commands}
    arguments = sys.argv[1:]
    if not arguments:
        serve()
    elif len(arguments) == 1 and arguments[0] in known:
        sys.exit(known[arguments[0]]())
    else:
        usage = f"usage: python -m services.{service} [{' | '.join(sorted(known))}]\n"
        asked = arguments == ["--help"]
        (sys.stdout if asked else sys.stderr).write(usage + "Without a command the service is run.\n")
        sys.exit(0 if asked else 2)


def _no_tables(service: str) -> int:
    sys.stdout.write(f"{service} has no tables; nothing to migrate\n")
    return 0
