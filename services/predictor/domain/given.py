"""What a caller gave, against what a version takes: said by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from services.predictor.domain.model import Column, Kind, Served, Values
from tenon.core.errors import Invalid, Place, did_you_mean


def split_matrix(served: Served, matrix: npt.NDArray[Any]) -> dict[str, Values]:
    """A matrix stands for the request columns, or for request and history columns, in the signature's order."""
    width = matrix.shape[1]
    request = [column for column in served.inputs if column.source == "request"]
    for names in (request, list(served.inputs)):
        if len(names) == width and names:
            for column in names:
                if column.kind is Kind.TEXT:
                    raise Invalid(
                        "MATRIX_NEEDS_NUMBERS",
                        f"column {column.name!r} is text, so the inputs cannot be one matrix; send one tensor per column",
                        place=Place(field=column.name),
                    )
            return {column.name: matrix[:, index] for index, column in enumerate(names)}
    raise Invalid(
        "MATRIX_SHAPE",
        f"the matrix has {width} columns; model {served.model!r} takes {len(request)}: "
        f"{', '.join(column.name for column in request)[:300]}",
        hint="send one tensor per column, named as in the model's metadata",
    )


def refuse_unknown(served: Served, given: Mapping[str, Values]) -> None:
    if given.keys() <= served.by_name.keys():
        return
    for name in given:
        if name not in served.by_name:
            near = did_you_mean(name, served.by_name)
            hint = f"did you mean {near!r}?" if near else f"inputs: {', '.join(served.by_name)}"[:500]
            raise Invalid(
                "INPUT_UNKNOWN",
                f"model {served.model!r} has no input {name[:80]!r}",
                place=Place(field=name[:80]),
                hint=hint,
            )


def input_missing(served: Served, column: Column) -> Invalid:
    return Invalid(
        "INPUT_MISSING",
        f"input {column.name!r} ({column.type}) of model {served.model!r} is missing",
        place=Place(field=column.name),
    )
