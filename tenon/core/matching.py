"""When two values mean the same key: one said by a caller, one that stands in the log or in a lake table.

The log writes integers of an entity as text and those of a request as float64; a CSV file has only texts; a lake table has
decimals. All of them are compared as texts: whole numbers without a point, other numbers with as few digits as they need,
true and false as 1 and 0, dates as ISO, everything else as it is.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from decimal import Decimal

_DECIMAL = re.compile(r"-?\d+\.\d+", re.ASCII)
_TRUTH = {"true": "1", "false": "0"}
_EXACT = 2.0**53


def key_text(value: object) -> str | None:
    """The text by which a value is compared; None is missing.

    >>> [key_text(value) for value in (7, 7.0, "7", "7.0", True, "true", "A-07", None)]
    ['7', '7', '7', '7', '1', '1', 'A-07', None]
    """
    if value is None:
        return None
    if isinstance(value, str):
        if _DECIMAL.fullmatch(value):
            return value.rstrip("0").rstrip(".")
        return _TRUTH.get(value.lower(), value)
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)
    if isinstance(value, Decimal):
        return key_text(f"{value:f}")
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
