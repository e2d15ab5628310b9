"""Prints what some extras of pyproject.toml need, one requirement a line: `python requirements.py predictor onnx`.

Only the standard library. The Dockerfile installs these before it has Tenon's code, so that a layer with other people's
packages stays as it is until the packages change.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

# tenon[service,sql] among the requirements of an extra means the requirements of these.
_OWN = re.compile(r"^tenon\[([\w,\s-]+)\]$")


def requirements(project: dict[str, dict[str, list[str]]], extras: Iterable[str]) -> list[str]:
    """The requirements of the project itself and of some extras, each once. Raises `KeyError` for an unknown extra."""
    known = project["optional-dependencies"]
    found = dict.fromkeys(project["dependencies"])
    waiting = list(extras)
    while waiting:
        for line in known[waiting.pop(0)]:
            own = _OWN.match(line)
            if own:
                waiting += [name.strip() for name in own[1].split(",")]
            else:
                found[line] = None
    return list(found)


def main() -> None:
    """Read the file beside the working directory and print."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = [name for word in sys.argv[1:] for name in word.split(",") if name]
    try:
        sys.stdout.write("\n".join(requirements(project, extras)) + "\n")
    except KeyError as err:
        sys.exit(f"error: pyproject.toml has no extra {err}; it has {', '.join(project['optional-dependencies'])}")


if __name__ == "__main__":
    main()
