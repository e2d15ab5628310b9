"""Who may come in."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from tenon.core.tenancy import Scope, TenantId
from tenon.kit.http import allow

Reader = Annotated[TenantId, Depends(allow(Scope.READ))]
Writer = Annotated[TenantId, Depends(allow(Scope.WRITE))]
