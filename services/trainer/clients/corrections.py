"""Labels by experts, from monitor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.trainer.domain.corrections import Correction
from tenon.api.monitor.v1 import monitor_pb2, monitor_pb2_grpc
from tenon.core.errors import DeadlineExceeded, Unavailable
from tenon.core.tenancy import TenantId
from tenon.kit.grpc_client import retrying

DEADLINE_SECONDS = 20.0
PAGE = 5_000


class MonitorCorrections:
    """See `Corrections`."""

    def __init__(self, monitor: grpc.Channel) -> None:
        self._stub = monitor_pb2_grpc.MonitorServiceStub(monitor)

    def known(self, tenant: TenantId, model: str, before: int) -> Sequence[Correction]:
        """See `Corrections`. A training that left experts' labels out without a word would be worse than a late one: so it
        waits for monitor, and fails when monitor stays away."""
        found: list[Correction] = []
        moment = Timestamp()
        moment.FromMicroseconds(min(before, 253_402_300_799_000_000))
        while True:
            request = monitor_pb2.ListCorrectionsRequest(
                tenant=tenant.value, model=model, known_before=moment, after=found[-1].prediction_id if found else ""
            )
            try:
                answer = retrying(partial(self._stub.ListCorrections, request, timeout=DEADLINE_SECONDS))
            except (Unavailable, DeadlineExceeded) as err:
                raise Unavailable(
                    "CORRECTIONS_UNAVAILABLE",
                    f"monitor cannot be asked for experts' labels of {model!r} ({tenant}), which the training must not miss",
                    hint="start monitor, or leave TENON_MONITOR_GRPC of the trainer's worker empty where there is none",
                ) from err
            found += [
                Correction(
                    one.prediction_id, one.value, one.known_at.ToMicroseconds(), one.event_time.ToMicroseconds(),
                    json.loads(one.key_json),
                )
                for one in answer.corrections
            ]  # fmt: skip
            if len(answer.corrections) < PAGE:
                return found
