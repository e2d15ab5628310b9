"""Resource names: what data sets, feature views, models, columns and files may be called."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import StringConstraints

from tenon.core.errors import Invalid, Place

IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
Identifier = Annotated[str, StringConstraints(pattern=IDENTIFIER)]
"""A column: letters, digits and underscores, as in the header of the file."""

RESOURCE = r"^[a-z][a-z0-9_]{0,62}$"
ResourceName = Annotated[str, StringConstraints(pattern=RESOURCE)]
"""A data set, feature view or model: lower-case letters, digits and underscores."""


def check_resource_name(value: str, field: str) -> str:
    """Give `value` back if it is a valid resource name; raises `Invalid` naming the field."""
    if not re.match(RESOURCE, value):
        raise Invalid(
            "NAME_INVALID",
            f"{field} {value[:80]!r} is not a valid name: use lower-case letters, digits and underscores (at most 63)",
            place=Place(field=field),
        )
    return value
