"""Expert review: a queue in a fixed order, one decision an answer, undo. Page, API and terminal see the same queue."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from services.monitor.domain.labels.match import is_history
from services.monitor.domain.model import Label, Window
from services.monitor.domain.review.rank import Judge, Ranking, items_of
from services.monitor.domain.review_words import Correction, ReviewItem, ReviewRound, State
from tenon.core.errors import Conflict, Invalid, NotFound, Place, Precondition

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.monitor.domain.labels.record import RecordLabels
    from services.monitor.domain.ports import Answered, KnownLabels, Policies, PredictionLog, Reviews, Versions
    from tenon.core.tenancy import TenantId

DAY = 86_400_000_000
SIZE = 50
LARGEST = 500
DAYS = 30
LONGEST_NAME = 200


class Review:
    """The use case behind all doors of the review queue."""

    def __init__(
        self, log: PredictionLog, answered: Answered, known: KnownLabels, reviews: Reviews, versions: Versions,
        policies: Policies, record: RecordLabels, now: Callable[[], int],
    ) -> None:  # fmt: skip
        self._log, self._answered, self._known, self._reviews = log, answered, known, reviews
        self._versions, self._policies, self._record, self._now = versions, policies, record, now

    def judge(self, tenant: TenantId, model: str) -> Judge:
        """What is known of the model: its newest version that answered, and what its answers are worth. Raises `NotFound`."""
        seen = self._log.seen_model(tenant, model)
        if seen is None or not seen.series:
            raise NotFound(
                "MODEL_NOT_SEEN", f"no predictions of a model {model!r} have arrived for tenant {tenant}",
                place=Place(field="model"),
            )  # fmt: skip
        manifest = self._versions.manifest(tenant, model, max(one.version for one in seen.series))
        value = self._policies.of(tenant, model).value
        return Judge(manifest, value if value is not None and value.task == manifest.task else None)

    def queue(self, tenant: TenantId, model: str) -> ReviewRound:
        """The round that is being worked on; the first look puts one together."""
        return self._reviews.current(tenant, model) or self.start(tenant, model)

    def start(self, tenant: TenantId, model: str, *, size: int = SIZE, days: int = DAYS) -> ReviewRound:
        """A new round from the answers of the last days; what was open in the one before may come again."""
        if not 1 <= size <= LARGEST or not 1 <= days <= 3650:
            raise Invalid("REVIEW_SIZE", f"a round has 1 to {LARGEST} answers of the last 1 to 3,650 days")
        judge, now = self.judge(tenant, model), self._now()
        window = Window(now - days * DAY, now + 1)
        labels: dict[str, float] = {}
        for batch in self._answered.answered(tenant, model, window):
            labels |= {one: value for one, (_, value) in self._known.known(tenant, model, batch.prediction_ids).items()}
        ranking = Ranking(judge, labels, self._reviews.reviewed(tenant, model), size)
        if judge.entity and labels:
            for batch in self._answered.answered(tenant, model, window):
                ranking.learn(batch)
        for batch in self._answered.answered(tenant, model, window):
            ranking.weigh(batch)
        chosen = ranking.chosen()
        items = (
            items_of(chosen, self._answered.answered(tenant, model, window, ids=set(chosen)), labels) if chosen else []
        )
        return self._reviews.start(
            tenant, model, ReviewRound(0, now, window.start, now, ranking.looked_at, tuple(items))
        )

    def label(self, tenant: TenantId, model: str, prediction_id: str, value: float, expert: str) -> ReviewItem:
        """An expert's decision: a label known from now on, under the expert's name, that the next training sees."""
        item, moment = self._open(tenant, model, prediction_id, expert), self._now()
        self._record(tenant, model, [Label(prediction_id, value, moment)])
        correction = Correction(prediction_id, value, moment, expert, item.event_time, item.columns)
        decided = self._reviews.decide(tenant, model, prediction_id, State.LABELLED, moment, expert, correction)
        if decided is None:
            # Somebody else was faster by a moment.
            self._known.withdraw(tenant, model, prediction_id, moment)
            raise _decided(item)
        return decided

    def skip(self, tenant: TenantId, model: str, prediction_id: str, expert: str) -> ReviewItem:
        """Leave an answer for a later round."""
        item = self._open(tenant, model, prediction_id, expert)
        decided = self._reviews.decide(tenant, model, prediction_id, State.SKIPPED, self._now(), expert, None)
        if decided is None:
            raise _decided(item)
        return decided

    def undo(self, tenant: TenantId, model: str, expert: str) -> ReviewItem:
        """Take back this expert's last decision of the round; the answer is open again and the label is as it was."""
        undone = self._reviews.undo(tenant, model, expert, self._now())
        if undone is None:
            raise Precondition(
                "REVIEW_NOTHING_TO_UNDO", f"{expert} has decided nothing in this round that could be undone"
            )
        if undone.state is State.LABELLED and undone.decided_at is not None:
            self._known.withdraw(tenant, model, undone.prediction_id, undone.decided_at)
        return undone

    def corrections(
        self, tenant: TenantId, model: str, known_before: int, *, after: str = "", limit: int = 5_000
    ) -> list[Correction]:  # fmt: skip
        """What experts had said at a time, by prediction id, behind `after`; history features are left out, for the row of
        the spine is not found by them."""
        found = [one for one in self._reviews.corrections(tenant, model, known_before) if one.prediction_id > after]
        return [
            replace(one, key={name: value for name, value in one.key.items() if not is_history(name)})
            for one in found[:limit]
        ]

    def _open(self, tenant: TenantId, model: str, prediction_id: str, expert: str) -> ReviewItem:
        if not expert.strip() or len(expert) > LONGEST_NAME:
            raise Invalid(
                "REVIEW_NO_NAME", f"an expert's name has 1 to {LONGEST_NAME} characters", place=Place(field="by")
            )
        current = self._reviews.current(tenant, model)
        found = next((item for item in current.items if item.prediction_id == prediction_id), None) if current else None
        if found is None:
            raise NotFound("REVIEW_ITEM_NOT_FOUND", f"prediction {prediction_id[:128]!r} is not in the review queue")
        if found.state is not State.OPEN:
            raise _decided(found)
        return found


def _decided(item: ReviewItem) -> Conflict:
    by = f" by {item.decided_by}" if item.decided_by else ""
    return Conflict("REVIEW_DECIDED", f"prediction {item.prediction_id} was decided{by} already; go on to the next")
