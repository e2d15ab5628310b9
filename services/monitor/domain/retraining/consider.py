"""Ask for trainings where there is reason to, start those that may start by themselves, and say what came of them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from services.monitor.domain.model import Window
from services.monitor.domain.retraining.judge import (
    Request,
    State,
    backtest,
    cooling,
    reasons_to_retrain,
    tested_from_to,
)
from tenon.core.errors import Conflict, NotFound, Place, Precondition, Unavailable
from tenon.core.timestamps import parse_duration, parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.monitor.domain.ports import Fleet, Labels, Policies, Verdicts, Versions
    from services.monitor.domain.quality.measure import QualityPolicy
    from services.monitor.domain.retraining.judge import Requests, Sign, Trainings
    from tenon.core.specs.monitor import Retrain
    from tenon.core.tenancy import TenantId

_DAY = 86_400_000_000
_RECORDS = 200
BY_POLICY = "policy"


class Retraining:
    """Requests for trainings: made by a round over all active models, started or dismissed, followed to their end.

    `trainings` is None where no trainer is known: then requests are listed and cannot be started from here.
    """

    def __init__(
        self, requests: Requests, trainings: Trainings | None, fleet: Fleet, verdicts: Verdicts, versions: Versions,
        labels: Labels, policies: Policies, quality: QualityPolicy, *, window: int, now: Callable[[], int],
        more_signs: Callable[[TenantId, str, int], Sequence[Sign]] | None = None,
        show: Callable[[TenantId, str, State | None], None] = lambda _tenant, _model, _state: None,
    ) -> None:  # fmt: skip
        self._show = show
        self._requests, self._trainings, self._fleet, self._verdicts = requests, trainings, fleet, verdicts
        self._versions, self._labels, self._policies, self._quality = versions, labels, policies, quality
        self._window, self._now = window, now
        self._more_signs = more_signs or (lambda _tenant, _model, _version: ())

    def __call__(self) -> int:
        """One round; gives how many requests were made. One model that fails does not keep the others from their turn."""
        made, failures = 0, []
        active = self._fleet.active(self._now() - self._window)
        for tenant, model, _ in active:
            try:
                made += self._consider(tenant, model)
            except Exception as err:  # noqa: BLE001 - part of a background loop; the caller logs and counts
                failures.append(err)
        for request in self._requests.started():
            try:
                self._follow(request)
            except Exception as err:  # noqa: BLE001 - as above
                failures.append(err)
        for tenant, model, _ in active:
            newest = self._requests.known(tenant, model, 1)
            self._show(tenant, model, newest[0].state if newest else None)
        if failures:
            raise ExceptionGroup(f"{len(failures)} retraining requests could not be looked at", failures)
        return made

    def known(self, tenant: TenantId, model: str = "", limit: int = 100) -> list[Request]:
        """Newest first."""
        return self._requests.known(tenant, model, limit)

    def cools_until(self, tenant: TenantId, model: str) -> int | None:
        """Until when no other training is asked for; None when one could be now, or is still open."""
        known = self._requests.known(tenant, model, 1)
        if not known or known[0].state.is_open:
            return None
        until = known[0].asked_at + parse_duration(self._policies.of(tenant, model).retrain.cool_down)
        return until if until > self._now() else None

    def start(self, tenant: TenantId, request_id: str, by: str) -> Request:
        """Start the training of a request that waits. Raises `NotFound`, `Conflict`, `Precondition`, `Unavailable`."""
        request = self._waiting(tenant, request_id)
        if self._trainings is None:
            raise Precondition(
                "TRAINER_NOT_KNOWN", "this monitor knows no trainer, so it cannot start a training",
                hint=f"set TENON_TRAINER_GRPC, or start it there: tenon train {request.model}",
            )  # fmt: skip
        same = self._trainings.learns_nothing_new(tenant, request.model)
        if same:
            raise Precondition("RETRAINING_LEARNS_NOTHING", same, hint="change the Model document first")
        return self._start(self._trainings, request, by)

    def dismiss(self, tenant: TenantId, request_id: str, by: str, why: str = "") -> Request:
        """Say no to a request that waits; the cool-down goes on. Raises `NotFound`, `Conflict`."""
        return self._change(self._waiting(tenant, request_id), State.DISMISSED, by, note=why)

    def _consider(self, tenant: TenantId, model: str) -> bool:
        policy = self._policies.of(tenant, model).retrain
        if not policy.reasons:
            return False
        now = self._now()
        known = self._requests.known(tenant, model, 1)
        records = self._verdicts.history(tenant, model, _RECORDS)
        if known and known[0].state is State.ASKED and not known[0].changed_by:
            self._start_by_policy(policy, known[0])  # The trainer could not be reached before.
        if not records or not records[0].version or cooling(policy, known[0] if known else None, now):
            return False
        version = records[0].version
        try:
            trained_to = parse_rfc3339(self._versions.manifest(tenant, model, version).evidence.train_to, "train_to")
        except (NotFound, Unavailable):
            return False  # Without its manifest nothing can be compared later either.
        signs = reasons_to_retrain(
            policy, records, trained_to, now=now, window=self._window, more=self._more_signs(tenant, model, version)
        )
        if not signs:
            return False
        request = Request(_request_id(tenant, model, version, now), tenant, model, version, now, signs, changed_at=now)
        if not self._requests.add(tenant, request):
            return False
        self._start_by_policy(policy, request)
        return True

    def _start_by_policy(self, policy: Retrain, request: Request) -> None:
        if not policy.automatic or self._trainings is None:
            return
        same = self._trainings.learns_nothing_new(request.tenant, request.model)
        if same:
            self._change(request, State.ASKED, BY_POLICY, note=same)
        else:
            self._start(self._trainings, request, BY_POLICY)

    def _start(self, trainings: Trainings, request: Request, by: str) -> Request:
        # The request's id is the key: a start that is asked for twice, or by two replicas, is one run.
        run_id = trainings.start(request.tenant, request.model, request.id)
        return self._change(request, State.STARTED, by, run_id=run_id)

    def _follow(self, request: Request) -> None:
        if self._trainings is None:
            return
        run = self._trainings.run(request.tenant, request.run_id)
        if not run.finished:
            return
        if run.evidence is None:
            self._change(request, State.FAILED, BY_POLICY, note=run.problem)
            return
        live = self._versions.manifest(request.tenant, request.model, request.version)
        start, end = tested_from_to(run.evidence)
        labelled = self._labels.labelled(request.tenant, request.model, Window(start, end, by="event_time"), None)
        state, note = backtest(live, request.version, labelled, run.evidence, self._quality)
        self._change(request, state, BY_POLICY, note=note, new_version=run.version)

    def _waiting(self, tenant: TenantId, request_id: str) -> Request:
        request = self._requests.get(tenant, request_id)
        if request is None:
            raise NotFound(
                "RETRAINING_NOT_FOUND", f"there is no retraining request {request_id[:80]!r} of tenant {tenant}",
                place=Place(field="request"), hint="`tenon retraining list` shows them with their ids",
            )  # fmt: skip
        if request.state is not State.ASKED:
            raise _moved_on(request)
        return request

    def _change(
        self, request: Request, state: State, by: str, *, note: str = "", run_id: str = "", new_version: int = 0
    ) -> Request:
        changed = replace(
            request, state=state, changed_at=self._now(), changed_by=by, note=note or request.note,
            run_id=run_id or request.run_id, new_version=new_version,
        )  # fmt: skip
        if not self._requests.change(request.tenant, changed, was=request.state):
            raise _moved_on(request)
        return changed


def _moved_on(request: Request) -> Conflict:
    return Conflict(
        "RETRAINING_NOT_WAITING",
        f"retraining request {request.id} does not wait any more",
        place=Place(field="request"),
    )


def _request_id(tenant: TenantId, model: str, version: int, now: int) -> str:
    """The same for all replicas that see the same reason on the same day."""
    text = f"{tenant.value}\n{model}\n{version}\n{now // _DAY}"
    return f"retrain-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
