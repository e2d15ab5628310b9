"""Many rows of plain values as one bound parameter: a statement that stays the same, however many rows it is asked about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAME = "given"


def given(dialect: str, **columns: sa.types.TypeEngine[Any]) -> sa.FromClause:
    """A table that comes with the call (see `rows`), to be joined with others."""
    parameter = sa.bindparam(_NAME, type_=sa.String)
    if dialect == "postgresql":
        named = [sa.column(name, kind) for name, kind in columns.items()]
        whole = sa.func.jsonb_to_recordset(sa.cast(parameter, JSONB)).table_valued(*named)
        return whole.render_derived(name=_NAME, with_types=True)
    each = sa.func.json_each(parameter).table_valued("value")
    taken = [sa.func.json_extract(each.c.value, f"$.{name}", type_=kind).label(name) for name, kind in columns.items()]
    return sa.select(*taken).subquery(_NAME)


def rows(asked: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """The parameter of a statement with a `given` table."""
    return {_NAME: json.dumps(asked, separators=(",", ":"))}
