"""Incidents out, acknowledgements and snoozes in; a tenant's, or with no tenant the operator's over all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.monitor.api_grpc.times import length_of, micros_of, timestamp
from services.monitor.domain.incidents.handle import MOST
from tenon.api.monitor.v1 import monitor_pb2 as pb
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import Scope
from tenon.core.timestamps import parse_rfc3339
from tenon.kit.grpc import allowed_tenant, current_principal

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc
    from google.protobuf.timestamp_pb2 import Timestamp

    from services.monitor.domain.incidents.handle import HandleIncidents
    from tenon.core.tenancy import TenantId

_USUAL = 100


class IncidentCalls:
    """Part of the servicer."""

    incidents: HandleIncidents
    now: Callable[[], int]

    def ListIncidents(
        self, request: pb.ListIncidentsRequest, context: grpc.ServicerContext
    ) -> pb.ListIncidentsResponse:
        """See the proto."""
        if not 0 <= request.limit <= MOST:
            raise Invalid("REQUEST_INVALID", f"limit must lie between 1 and {MOST}", place=Place(field="limit"))
        found = self.incidents.list(
            _whose(request.tenant, Scope.READ), state=request.state or "open", model=request.model,
            limit=request.limit or _USUAL,
        )  # fmt: skip
        return pb.ListIncidentsResponse(incidents=[incident_message(one) for one in found])

    def GetIncident(self, request: pb.GetIncidentRequest, context: grpc.ServicerContext) -> pb.GetIncidentResponse:
        """See the proto."""
        found = self.incidents.show(_whose(request.tenant, Scope.READ), request.incident)
        return pb.GetIncidentResponse(incident=incident_message(found))

    def AcknowledgeIncident(
        self, request: pb.AcknowledgeIncidentRequest, context: grpc.ServicerContext
    ) -> pb.AcknowledgeIncidentResponse:  # fmt: skip
        """See the proto."""
        tenant = _whose(request.tenant, Scope.WRITE)
        who = request.who or current_principal().name
        found = self.incidents.acknowledge(tenant, request.incident, who, request.text)
        return pb.AcknowledgeIncidentResponse(incident=incident_message(found))

    def SnoozeIncident(
        self, request: pb.SnoozeIncidentRequest, context: grpc.ServicerContext
    ) -> pb.SnoozeIncidentResponse:  # fmt: skip
        """See the proto."""
        tenant = _whose(request.tenant, Scope.WRITE)
        until = _end(request, self.now())
        found = self.incidents.snooze(
            tenant, request.incident, request.who or current_principal().name, until, request.text
        )  # fmt: skip
        return pb.SnoozeIncidentResponse(incident=incident_message(found))

    def WakeIncident(self, request: pb.WakeIncidentRequest, context: grpc.ServicerContext) -> pb.WakeIncidentResponse:
        """See the proto."""
        tenant = _whose(request.tenant, Scope.WRITE)
        who = request.who or current_principal().name
        found = self.incidents.wake(tenant, request.incident, who, request.text)
        return pb.WakeIncidentResponse(incident=incident_message(found))


def _whose(name: str, scope: Scope) -> TenantId | None:
    if name:
        return allowed_tenant(name, scope)
    current_principal().require_admin()
    return None


def _end(request: pb.SnoozeIncidentRequest, now: int) -> int:
    match request.WhichOneof("end"):
        case "length":
            return now + length_of(request.length)
        case "until":
            return micros_of(request.until)
    raise Invalid("SNOOZE_INVALID", "give either `length` or `until`", place=Place(field="until"))


def incident_message(shown: dict[str, Any]) -> pb.Incident:
    """What every door shows of an incident, as a message."""
    plain = ("id", "title", "state", "severity", "kind", "common", "models", "features", "close_reason", "merged_into")
    note = shown["note"]
    return pb.Incident(
        **{name: shown[name] for name in plain},
        tenant=shown["tenant"] or "",
        since=_timestamp(shown["since"]),
        opened_at=_timestamp(shown["opened_at"]),
        updated_at=_timestamp(shown["updated_at"]),
        closed_at=_timestamp(shown["closed_at"]),
        reopened=shown["reopened"],
        causes=shown["causes"],
        advice=shown["advice"],
        evidence=[_evidence(one) for one in shown["evidence"]],
        evidence_left_out=shown["evidence_left_out"],
        note=None if note is None else pb.IncidentNote(
            action=note["action"], who=note["who"], at=_timestamp(note["at"]), until=_timestamp(note["until"]),
            text=note["text"],
        ),
        docs=shown["docs"],
        tenants=shown.get("tenants", []),
        tenants_looked_at=shown.get("tenants_looked_at", 0),
        history=[_moment(one) for one in shown.get("history", [])],
    )  # fmt: skip


def _moment(one: dict[str, Any]) -> pb.IncidentMoment:
    return pb.IncidentMoment(
        at=_timestamp(one["at"]), event=one["event"], who=one["who"], text=one["text"], until=_timestamp(one["until"]),
        tenant=one.get("tenant") or "",
    )  # fmt: skip


def _evidence(one: dict[str, Any]) -> pb.IncidentEvidence:
    plain = ("tenant", "model", "version", "feature", "change", "rows", "p_value", "effect", "sentence", "hint", "over")
    return pb.IncidentEvidence(
        **{name: one[name] for name in plain}, since=_timestamp(one["since"]), seen_until=_timestamp(one["seen_until"])
    )


def _timestamp(text: str | None) -> Timestamp | None:
    return None if text is None else timestamp(parse_rfc3339(text))
