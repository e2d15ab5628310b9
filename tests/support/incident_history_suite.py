"""What keeping incidents' histories must do: run on memory and SQLite (unit) and on PostgreSQL (integration)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.monitor.domain.incidents.ports import Delivery, Outcome, RoundResult
from services.monitor.domain.incidents.words import Event, Moment, Note
from tests.support.incident_storage_suite import incident, member

if TYPE_CHECKING:
    from services.monitor.domain.incidents.ports import Incidents, Outbox, Rounds


class Kept:
    """The three ports on one storage."""

    def __init__(self, rounds: Rounds, incidents: Incidents, outbox: Outbox) -> None:
        self.rounds, self.incidents, self.outbox = rounds, incidents, outbox

    def open(self, *moments: Moment) -> None:
        """One incident of two tenants."""
        before = self.rounds.begin(0)
        found = [incident("a", member("north"), member("south"))]
        assert self.rounds.commit(before, RoundResult(before.number + 1, {}, found, history=moments))


class IncidentHistorySuite:
    """The tests; a subclass brings the fixture `kept`."""

    def test_history_is_added_to_and_never_changed(self, kept: Kept) -> None:
        """Acknowledged, snoozed, taken back, snoozed again: all of it stands there, in order, though one note holds."""
        kept.open(Moment("a", "north", 1, Event.OPENED, text="age of cost"))
        notes = [Note("a", "north", "Eva", 5, None, "looking"), Note("a", "north", "Ida", 6, 99)]
        for note in notes:
            kept.incidents.put_note(note)
        kept.incidents.drop_note(Note("a", "north", "Eva", 7, None, "not yet"))
        kept.incidents.put_note(Note("a", "north", "Ida", 8, 200))
        told = [(one.at, one.event, one.who, one.text, one.until) for one in kept.incidents.history("north", "a", 10)]
        assert told == [
            (1, "opened", "", "age of cost", None),
            (5, "acknowledged", "Eva", "looking", None),
            (6, "snoozed", "Ida", "", 99),
            (7, "woken", "Eva", "not yet", None),
            (8, "snoozed", "Ida", "", 200),
        ]
        assert [one.at for one in kept.incidents.history("north", "a", 2)] == [7, 8]
        assert kept.incidents.history("north", "b", 10) == []

    def test_each_reads_its_own(self, kept: Kept) -> None:
        """A tenant sees nothing of another's nor of the operator's; the operator sees also what tenants' people did."""
        kept.open(*(Moment("a", reader, 1, Event.OPENED) for reader in ("", "north", "south")))
        kept.incidents.put_note(Note("a", "north", "Eva", 5, None))
        kept.incidents.put_note(Note("a", "", "Otto", 6, 99))
        kept.outbox.settle(_message("south"), Outcome(True, at=7))

        def read(reader: str) -> list[tuple[str, str, str]]:
            return [(one.tenant, one.event, one.who) for one in kept.incidents.history(reader, "a", 10)]

        assert read("north") == [("north", "opened", ""), ("north", "acknowledged", "Eva")]
        assert read("south") == [("south", "opened", ""), ("south", "told", "chat")]
        assert read("") == [("", "opened", ""), ("north", "acknowledged", "Eva"), ("", "snoozed", "Otto")]

    def test_who_was_told_is_kept_when_it_is_known(self, kept: Kept) -> None:
        """A message that is tried again is no moment; one that arrived or was given up is, for each incident in it."""
        kept.open()
        kept.outbox.settle(_message("north"), Outcome(False, "answered 503", again_at=40, at=20))
        kept.outbox.settle(_message("north"), Outcome(True, at=41))
        kept.outbox.settle(_message("north"), Outcome(False, "answered 410", at=50))
        found = [(one.at, one.event, one.who, one.text) for one in kept.incidents.history("north", "a", 10)]
        assert found == [
            (41, "told", "chat", "opened, grew"),
            (50, "not_told", "chat", "opened, grew: answered 410"),
        ]

    def test_a_round_that_came_second_is_not_remembered(self, kept: Kept) -> None:
        """Of two replicas only the one whose round is kept adds to the history."""
        first, second = kept.rounds.begin(0), kept.rounds.begin(0)
        for before, text in ((first, "mine"), (second, "theirs")):
            moment = Moment("a", "north", 1, Event.OPENED, text=text)
            kept.rounds.commit(before, RoundResult(1, {}, [incident("a", member("north"))], history=[moment]))
        assert [one.text for one in kept.incidents.history("north", "a", 10)] == ["mine"]


def _message(tenant: str) -> Delivery:
    items = tuple({"event": event, "incident": {"id": "a"}} for event in ("opened", "grew"))
    return Delivery(1, tenant, "chat", items, 5, 1)
