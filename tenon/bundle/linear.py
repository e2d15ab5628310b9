"""A linear or logistic model, float64."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tenon.bundle.archive import canonical_json
from tenon.core.errors import Invalid

FloatArray = npt.NDArray[np.float64]
_LINKS = ("logistic", "identity")


@dataclass(frozen=True)
class Linear:
    """An intercept, one coefficient for each column of the matrix, and a link: `logistic` or `identity`."""

    coefficients: tuple[float, ...]
    intercept: float
    link: str
    _vector: FloatArray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.link not in _LINKS or not all(map(math.isfinite, (*self.coefficients, self.intercept))):
            raise ValueError("coefficients are finite numbers and the link is logistic or identity")
        object.__setattr__(self, "_vector", np.asarray(self.coefficients, np.float64))

    @property
    def features(self) -> int:
        """How many columns the matrix has."""
        return len(self.coefficients)

    def margin(self, matrix: FloatArray) -> FloatArray:
        """intercept + coefficients · row, added from left to right: the same for one row and for many, on any machine
        (a matrix product is neither)."""
        terms = np.empty((len(matrix), self.features + 1))
        terms[:, 0] = self.intercept
        np.multiply(matrix, self._vector, out=terms[:, 1:])
        total: FloatArray = np.add.accumulate(terms, axis=1)
        return np.ascontiguousarray(total[:, -1])

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Probabilities or values."""
        margin = self.margin(matrix)
        if self.link == "identity":
            return margin
        # exp of a number that is never positive: no overflow on either side. The C library's, as the compiled evaluator
        # calls it: numpy's own differs in the last bit, and from one kind of processor to the other.
        power = np.fromiter(map(math.exp, (-np.abs(margin)).tolist()), np.float64, len(margin))
        return np.where(margin >= 0, 1.0, power) / (1.0 + power)

    def to_json(self) -> bytes:
        """The model as `linear.json`."""
        body: dict[str, Any] = {"coefficients": list(self.coefficients), "intercept": self.intercept, "link": self.link}
        return canonical_json(body)

    @classmethod
    def from_json(cls, data: bytes | str) -> Linear:
        """The model of a `linear.json`. Raises `Invalid` (LINEAR_INVALID)."""
        try:
            body = json.loads(data)
            return cls(tuple(float(item) for item in body["coefficients"]), float(body["intercept"]), body["link"])
        except (ValueError, KeyError, TypeError, RecursionError) as err:
            raise Invalid("LINEAR_INVALID", f"linear.json is not valid: {err}") from None
