"""Monitor documents in and out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from services.monitor.domain.declare import monitor_spec
from tenon.api.monitor.v1 import monitor_pb2 as pb
from tenon.core.errors import Invalid, Place
from tenon.core.tenancy import Scope
from tenon.kit.grpc import allowed_tenant

if TYPE_CHECKING:
    import grpc

    from services.monitor.storage.policies import SqlPolicies

_LONGEST = 1 << 20


class DocumentCalls:
    """Part of the servicer."""

    documents: SqlPolicies

    def PutMonitor(self, request: pb.PutMonitorRequest, context: grpc.ServicerContext) -> pb.PutMonitorResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.WRITE)
        spec = monitor_spec(_document(request.spec_json))
        change, stored = self.documents.apply(tenant, spec, dry_run=request.dry_run)
        return pb.PutMonitorResponse(change=change, monitor=_message(stored.as_dict()))

    def GetMonitor(self, request: pb.GetMonitorRequest, context: grpc.ServicerContext) -> pb.GetMonitorResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        return pb.GetMonitorResponse(monitor=_message(self.documents.get(tenant, request.name).as_dict()))

    def ListMonitors(self, request: pb.ListMonitorsRequest, context: grpc.ServicerContext) -> pb.ListMonitorsResponse:
        """See the proto."""
        tenant = allowed_tenant(request.tenant, Scope.READ)
        return pb.ListMonitorsResponse(monitors=[_message(one.as_dict()) for one in self.documents.list(tenant)])


def _document(data: bytes) -> object:
    if len(data) > _LONGEST:
        raise Invalid("SPEC_INVALID", "a Monitor document is at most 1 MiB", place=Place(field="spec_json"))
    try:
        return json.loads(data)
    except ValueError as err:
        raise Invalid("SPEC_INVALID", f"spec_json is not JSON: {err}", place=Place(field="spec_json")) from err


def _message(shown: dict[str, Any]) -> pb.Monitor:
    return pb.Monitor(
        tenant=shown["tenant"], name=shown["name"], revision=shown["revision"], digest=shown["digest"],
        spec_json=json.dumps(shown["spec"], ensure_ascii=False).encode(),
    )  # fmt: skip
