"""Labels from every door, and the review queue that asks for them."""

from __future__ import annotations

from dataclasses import dataclass

from services.monitor.clients.spines import GrpcSpines
from services.monitor.domain.labels.from_datasets import LabelsFromDatasets
from services.monitor.domain.labels.record import RecordLabels
from services.monitor.domain.labels.record_keyed import JoinLatePredictions, RecordKeyedLabels
from services.monitor.domain.review.decide import Review
from services.monitor.main.parts import Parts, now_micros
from services.monitor.storage.labels.keyed import SqlKeyedLabels
from services.monitor.storage.labels.spine import DeltaSpineRows, SqlDatasetLabels
from services.monitor.storage.review.queue import SqlKnownLabels, SqlReviews
from services.monitor.worker import GROUP, dataset_handler
from tenon.kit.events import DATASET_COMMITTED, Consumer
from tenon.kit.process import Background, Periodic


@dataclass(frozen=True, slots=True)
class LabelUses:
    """The use cases of labels."""

    record: RecordLabels
    record_keyed: RecordKeyedLabels
    keyed: SqlKeyedLabels
    known: SqlKnownLabels
    review: Review
    reviews: SqlReviews
    background: list[Background]


def build_labels(parts: Parts) -> LabelUses:
    """Put the use cases of labels together."""
    database, ids, log, answered = parts.database, parts.ids, parts.log, parts.answered
    record = RecordLabels(parts.labels, log, parts.versions, now_micros)
    keyed, known, reviews = SqlKeyedLabels(database, ids), SqlKnownLabels(database, ids), SqlReviews(database, ids)
    join_late = JoinLatePredictions(answered, keyed, parts.bookmarks, record)
    background: list[Background] = [Periodic("label joiner", join_late, parts.settings.monitor_join_seconds)]
    # Without those who own models, data sets and the lake, labels come by API and upload only.
    if parts.trainer is not None and parts.ingest is not None and parts.blobs is not None:
        from_datasets = LabelsFromDatasets(
            GrpcSpines(parts.trainer, parts.ingest, parts.features), DeltaSpineRows(parts.blobs), log, log, answered,
            parts.bookmarks, SqlDatasetLabels(database, ids), record, now_micros,
        )  # fmt: skip
        background += [
            Consumer(parts.settings.redis_url, DATASET_COMMITTED, GROUP, dataset_handler(from_datasets.committed)),
            Periodic("labels of late predictions", from_datasets.late, parts.settings.monitor_join_seconds),
            Periodic("labels from data sets", from_datasets.heal, 30 * parts.settings.monitor_join_seconds),
        ]
    return LabelUses(
        record,
        RecordKeyedLabels(log, answered, keyed, parts.versions, record),
        keyed,
        known,
        Review(log, answered, known, reviews, parts.versions, parts.policies, record, now_micros),
        reviews,
        background,
    )
