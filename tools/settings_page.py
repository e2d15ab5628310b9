"""Prints the table of docs/reference/settings.md from the settings themselves: `python -m tools.settings_page`."""

from __future__ import annotations

import sys

from tenon.kit.config import MAY_BE_A_FILE, ServiceSettings


def rows() -> list[str]:
    """The table's lines, one for each variable that every service reads."""
    lines = ["| variable | default | what it says |", "|---|---|---|"]
    for name, field in ServiceSettings.model_fields.items():
        extra = field.json_schema_extra
        is_secret = isinstance(extra, dict) and MAY_BE_A_FILE in extra
        default = "must be set" if field.is_required() else field.default
        shown = "" if default == "" else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        shown = default if field.is_required() else shown
        lines.append(
            f"| `TENON_{name.upper()}`{' (or `…_FILE`)' if is_secret else ''} | {shown} | {field.description} |"
        )
    return lines


if __name__ == "__main__":
    sys.stdout.write("\n".join(rows()) + "\n")
