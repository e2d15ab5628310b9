"""The Tenant document."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from tenon.core.errors import Invalid
from tenon.core.specs.base import Spec, Strict, register
from tenon.core.tenancy import TenantId


class QuotasSpec(Strict):
    """What a tenant may ask of one predictor; what is left out is as the platform sets it for everybody."""

    requests_per_second: float | None = Field(default=None, gt=0, le=1e6, description="Prediction requests a second.")
    burst: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Requests that may come at once; left out: those of one second."
    )
    rows_per_second: float | None = Field(default=None, gt=0, le=1e9, description="Rows predicted a second.")
    concurrency: int | None = Field(
        default=None, ge=1, le=100_000, description="Prediction requests that run at the same time."
    )


@register
class TenantSpec(Spec):
    """One organisation with its own data, models, endpoint and releases."""

    KIND: ClassVar[str] = "Tenant"

    name: str = Field(description="1-40 characters of a-z, 0-9 and inner hyphens.")
    display_name: str = Field(default="", max_length=200, description="For people.")
    quotas: QuotasSpec | None = Field(default=None, description="What the tenant may ask of one predictor.")

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        try:
            return TenantId(value).value
        except Invalid as err:
            raise ValueError(err.message) from None
