"""Files that the user names: found, or refused with the nearest name that is there."""

from __future__ import annotations

from pathlib import Path

from tenon.cli.failures import BadFile, BadUsage
from tenon.core.errors import did_you_mean


def need_file(path: Path, *, before: str = "") -> None:
    """Refuse a file that is not there; `before` is what stands before its name on the command line."""
    if path.is_dir():
        raise BadUsage(
            f"{str(path)!r} is a folder, a file is needed",
            hint=f"name the file: {before}{path}/{'FILE' if before.startswith('-f') else '*.csv'}",
        )
    if not path.exists():
        raise BadUsage(f"there is no file {str(path)!r}", hint=_near(path, before) or f"ls {path.parent}")


def find_documents(path: Path) -> list[Path]:
    """The YAML files of a path: itself, or everything below it except hidden folders."""
    if path.is_file():
        return [path]
    if not path.exists():
        raise BadUsage(f"there is no file or folder {str(path)!r}", hint=_near(path, "-f ") or "tenon init example")
    found = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix in (".yaml", ".yml")
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if not found:
        hint = "tenon init example && tenon apply -f example"
        raise BadFile("NO_DOCUMENTS", f"there are no *.yaml files in {str(path)!r}", hint=hint)
    return found


def _near(path: Path, before: str) -> str | None:
    """A hint that names the entry of the same folder whose name is nearest."""
    try:
        near = did_you_mean(path.name, [entry.name for entry in path.parent.iterdir() if entry.exists()])
    except OSError:
        return None
    return f"did you mean `{before}{path.parent / near}`?" if near else None
