"""Fails when a hand-written Python file has more than 600 lines.

We aim under 250 and ask in review above 400. Split by use case, never into `utils`.

    python -m tools.file_length [FOLDER ...]
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 600
FOLDERS = ("tenon", "services", "tests", "tools", "examples")
GENERATED = (Path("tenon/api"),)


def too_long(folders: list[str]) -> list[tuple[int, Path]]:
    """The files above the limit, longest first."""
    found = []
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            relative = path.relative_to(ROOT)
            if any(relative.is_relative_to(place) for place in GENERATED):
                continue
            with path.open("rb") as file:
                lines = sum(1 for _ in file)
            if lines > LIMIT:
                found.append((lines, relative))
    return sorted(found, reverse=True)


def main() -> int:
    """Print every file above the limit; 1 when there is one."""
    found = too_long(sys.argv[1:] or list(FOLDERS))
    for lines, path in found:
        print(f"{path}: {lines} lines, more than {LIMIT}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
