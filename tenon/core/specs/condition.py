"""What a value must be: the same words in a fallback's rules and in a feature's filter."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from tenon.core.specs.base import Strict


class Condition(Strict):
    """What a column's value must be; everything given must hold. A missing value fulfils nothing."""

    above: float | None = Field(default=None, description="Greater than this.", allow_inf_nan=False)
    below: float | None = Field(default=None, description="Less than this.", allow_inf_nan=False)
    one_of: list[bool | float | str] | None = Field(
        default=None, alias="in", min_length=1, description="One of these values."
    )

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if self.above is None and self.below is None and self.one_of is None:
            raise ValueError("a condition needs `above`, `below` or `in`")
        return self
