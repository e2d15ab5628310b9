"""Which paths are predictions, and of what: read once for each spelling, then looked up."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_INFER = re.compile(r"(?:/tenants/([^/]+))?/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
_PREDICT = re.compile(r"(?:/tenants/([^/]+))?/v1/models/([^/:]+):predict")
_KEPT = 4096
_LONGEST = 512


class Path(NamedTuple):
    """A prediction's path. `tenant` None: the path does not say whose model it is."""

    kind: Literal["infer", "predict"]
    tenant: str | None
    model: str
    version: str | None


_known: dict[str, Path | None] = {}


def parse_path(path: str) -> Path | None:
    """What is asked at a (decoded) path; None when it is no prediction."""
    try:
        return _known[path]
    except KeyError:
        found = _parse(path)
    # Callers choose paths, so neither their number nor their length may grow without end.
    if len(path) <= _LONGEST:
        if len(_known) >= _KEPT:
            _known.clear()
        _known[path] = found
    return found


def _parse(path: str) -> Path | None:
    if match := _INFER.fullmatch(path):
        return Path("infer", match[1], match[2], match[3])
    if match := _PREDICT.fullmatch(path):
        return Path("predict", match[1], match[2], None)
    return None
