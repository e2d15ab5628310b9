"""skops with the same bytes for the same object.

skops names parts by their memory address and stamps its zip with the time of day. Neither means anything, so addresses
become running numbers in the order in which the schema names them, and the stamps a constant.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

import skops.io

_SCHEMA = "schema.json"
_NAMED = re.compile(r"(\d+)(\.\w+)")


def dumps(estimator: Any) -> bytes:
    """The estimator in skops' safe format (no pickle); equal fitted estimators give equal bytes."""
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    numbers: dict[str, int] = {}

    def number(address: str) -> int:
        return numbers.setdefault(address, len(numbers) + 1)

    def renumber(node: Any) -> Any:
        if isinstance(node, list):
            return [renumber(item) for item in node]
        if not isinstance(node, dict):
            return node
        return {key: _value(key, value) for key, value in node.items()}

    def _value(key: str, value: Any) -> Any:
        if key == "__id__":
            return number(str(value))
        if key == "file" and isinstance(value, str) and (named := _NAMED.fullmatch(value)):
            return f"{number(named[1])}{named[2]}"
        return renumber(value)

    schema = json.dumps(renumber(json.loads(members.pop(_SCHEMA))), separators=(",", ":")).encode()
    renamed = {_SCHEMA: schema}
    for name, content in members.items():
        named = _NAMED.fullmatch(name)
        renamed[f"{number(named[1])}{named[2]}" if named else name] = content
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(renamed):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            archive.writestr(info, renamed[name])
    return buffer.getvalue()
