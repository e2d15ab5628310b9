"""The Tenant document."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from tenon.core.errors import Invalid
from tenon.core.specs.base import Spec, register
from tenon.core.tenancy import TenantId


@register
class TenantSpec(Spec):
    """One organisation with its own data, models, endpoint and releases."""

    KIND: ClassVar[str] = "Tenant"

    name: str = Field(description="1-40 characters of a-z, 0-9 and inner hyphens.")
    display_name: str = Field(default="", max_length=200, description="For people.")

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        try:
            return TenantId(value).value
        except Invalid as err:
            raise ValueError(err.message) from None
