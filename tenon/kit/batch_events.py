"""Reading many entries of a stream at once: one call, one transaction, one acknowledgement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tenon.core.errors import TenonError
from tenon.kit.events import CONSUMED, Consumer, Fields, log

Entry = tuple[str, Fields]

_TOO_MANY = 8_192


class BatchConsumer(Consumer):
    """As `Consumer`, with a handler that takes many entries or none of them.

    As many are read at once as make up about `wanted_bytes`, so that memory does not depend on how large entries are or
    how far behind the reader is. Where little comes, reading pauses for `pause_seconds`, so that there is more for the next call. When the handler
    raises, halves are tried: one entry that is poison is set aside and keeps no other from being taken.
    """

    def __init__(
        self,
        redis_url: str,
        stream: str,
        group: str,
        handler: Callable[[Sequence[Entry]], None],
        *,
        wanted_bytes: int = 16 << 20,
        pause_seconds: float = 0.2,
        claim_after_seconds: float = 60.0,
        max_tries: int = 5,
    ) -> None:
        super().__init__(
            redis_url, stream, group, lambda entry_id, fields: handler([(entry_id, fields)]),
            claim_after_seconds=claim_after_seconds, max_tries=max_tries,
        )  # fmt: skip
        self._take = handler
        self._wanted, self._pause = wanted_bytes, pause_seconds

    def _handle_entries(self, entries: list[tuple[bytes, Any]]) -> None:
        if not entries:
            return
        taken = [(entry_id.decode(), fields or {}) for entry_id, fields in entries]
        sizes = sum(len(value) for _, fields in taken for value in fields.values())
        self._adapt(len(taken), sizes)
        self._take_all(taken)
        if sizes < self._wanted // 64 and len(taken) < self._batch:
            self._ending.wait(self._pause)

    def _handle_claimed(self, entries: list[tuple[bytes, Any]]) -> None:
        self._handle_entries(entries)

    def _adapt(self, entries: int, size: int) -> None:
        # Grows slowly and shrinks at once: entries may suddenly be larger.
        wanted = max(1, self._wanted * entries // max(size, 1))
        self._batch = max(1, min(wanted, 4 * self._batch, _TOO_MANY))

    def _take_all(self, entries: Sequence[Entry]) -> None:
        """All of them, or halves until each is done with; while the world is at fault, they wait."""
        if self._ending.is_set():
            return
        if len(entries) == 1:
            self._handle_until_done(*entries[0])
            return
        plain = [
            (entry_id, {key: value for key, value in fields.items() if not key.startswith(b"_")})
            for entry_id, fields in entries
        ]
        while not self._ending.is_set():
            error = self._try_all(plain)
            if error is None:
                self._client.xack(self._stream, self._group, *(entry_id for entry_id, _ in entries))
                CONSUMED.labels(self._stream, self._group, "ok").inc(len(entries))
                return
            if not (isinstance(error, TenonError) and error.kind.value in ("unavailable", "deadline")):
                log.warning(
                    "entries are tried by halves", stream=self._stream, entries=len(entries), error=str(error)[:200]
                )
                middle = len(entries) // 2
                self._take_all(entries[:middle])
                self._take_all(entries[middle:])
                return
            log.warning("entries wait", stream=self._stream, entries=len(entries), reason=error.reason)
            self._ending.wait(1.0)

    def _try_all(self, entries: Sequence[Entry]) -> Exception | None:
        try:
            with self._tracer.start_as_current_span(
                f"process {self._stream}", attributes={"messaging.batch.message_count": len(entries)}
            ):
                self._take(entries)
        except Exception as err:  # noqa: BLE001 - what fails is tried again, by halves or later, and then logged
            return err
        return None
