"""Monitor documents as they come in at any door."""

from __future__ import annotations

from tenon.core.errors import Invalid, Place
from tenon.core.specs import MonitorSpec, parse_spec


def monitor_spec(body: object) -> MonitorSpec:
    """Read a document. Raises `Invalid` naming the field."""
    if not isinstance(body, dict):
        raise Invalid("SPEC_INVALID", "the body is not a Monitor document")
    if body.get("kind", MonitorSpec.KIND) != MonitorSpec.KIND:
        raise Invalid("KIND_WRONG", "this is not a Monitor document", place=Place(field="kind"))
    return parse_spec(MonitorSpec, {key: value for key, value in body.items() if key not in ("kind", "tenant")})
