"""Incidents out; acknowledgements and snoozes in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from services.monitor.api_http.doors import Reader, Writer
from services.monitor.domain.incidents.handle import MOST
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import Principal
from tenon.core.timestamps import parse_duration, parse_rfc3339
from tenon.kit.http import admin_only, principal_of

if TYPE_CHECKING:
    from services.monitor.api_http.use_cases import UseCases

Operator = Annotated[Principal, Depends(admin_only)]
Limit = Annotated[int, Query(ge=1, le=MOST)]
State = Annotated[str, Query(description="open, closed or all")]


class Acknowledgement(BaseModel):
    """Somebody is at it."""

    model_config = ConfigDict(extra="forbid")

    who: str = Field(default="", max_length=200, description="Left out: the name of the API key.")
    text: str = Field(default="", max_length=2000)


class Snooze(Acknowledgement):
    """Nothing of it until a time: `for` a duration, or `until` one."""

    until: str | None = Field(default=None, description="RFC 3339")
    length: str | None = Field(default=None, alias="for", description="Such as 2h or 3d")

    def ends(self, now: int) -> int:
        """When."""
        if (self.until is None) == (self.length is None):
            raise Invalid(
                "SNOOZE_INVALID", "give either `for` or `until`", place=Place(field="until"), hint='send {"for": "2h"}'
            )
        return parse_rfc3339(self.until, "until") if self.until else now + parse_duration(self.length or "", "for")


def add_incident_routes(app: FastAPI, use: UseCases) -> None:
    """Put the routes of incidents on the app: a tenant's, and the operator's over all tenants."""
    base = "/v1/tenants/{tenant}/incidents"

    @app.get(base, summary="A tenant's incidents: the critical ones first, then the newest")
    def list_incidents(tenant: Reader, state: State = "open", model: str = "", limit: Limit = 100) -> dict[str, Any]:
        return {"incidents": use.incidents.list(tenant, state=state, model=model, limit=limit)}

    @app.get(base + "/{incident}", summary="One incident of a tenant")
    def get_incident(tenant: Reader, incident: str) -> dict[str, Any]:
        return use.incidents.show(tenant, incident)

    @app.post(base + "/{incident}:acknowledge", summary="Somebody is at it: no reminders")
    def acknowledge(tenant: Writer, incident: str, body: Acknowledgement, request: Request) -> dict[str, Any]:
        return use.incidents.acknowledge(tenant, incident, body.who or principal_of(request).name, body.text)

    @app.post(base + "/{incident}:snooze", summary="No alert of it until a time")
    def snooze(tenant: Writer, incident: str, body: Snooze, request: Request) -> dict[str, Any]:
        who = body.who or principal_of(request).name
        return use.incidents.snooze(tenant, incident, who, body.ends(use.now()), body.text)

    @app.post(base + "/{incident}:wake", summary="Take an acknowledgement or a snooze back")
    def wake(tenant: Writer, incident: str, request: Request, body: Acknowledgement | None = None) -> dict[str, Any]:
        said = body or Acknowledgement()
        return use.incidents.wake(tenant, incident, said.who or principal_of(request).name, said.text)

    @app.get("/v1/incidents", summary="All tenants' incidents, for the operator")
    def list_all(_: Operator, state: State = "open", limit: Limit = 100) -> dict[str, Any]:
        return {"incidents": use.incidents.list(None, state=state, limit=limit)}

    @app.get("/v1/incidents/{incident}", summary="One incident with all its tenants, for the operator")
    def get_any(_: Operator, incident: str) -> dict[str, Any]:
        return use.incidents.show(None, incident)

    @app.post("/v1/incidents/{incident}:acknowledge", summary="The operator is at it")
    def acknowledge_any(who: Operator, incident: str, body: Acknowledgement) -> dict[str, Any]:
        return use.incidents.acknowledge(None, incident, body.who or who.name, body.text)

    @app.post("/v1/incidents/{incident}:snooze", summary="No alert of it for the operator until a time")
    def snooze_any(who: Operator, incident: str, body: Snooze) -> dict[str, Any]:
        return use.incidents.snooze(None, incident, body.who or who.name, body.ends(use.now()), body.text)

    @app.post("/v1/incidents/{incident}:wake", summary="Take the operator's acknowledgement or snooze back")
    def wake_any(who: Operator, incident: str, body: Acknowledgement | None = None) -> dict[str, Any]:
        said = body or Acknowledgement()
        return use.incidents.wake(None, incident, said.who or who.name, said.text)
