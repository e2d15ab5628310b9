"""The Monitor document: what may be declared, what holds when nothing is, and how a mistake is told."""

from __future__ import annotations

from typing import Any

import pytest

from tenon.core.documents import parse_documents
from tenon.core.errors import Invalid
from tenon.core.specs import ModelSpec, MonitorSpec, check_monitor, parse_spec
from tenon.core.specs.monitor import IncidentKind, RetrainReason, Severity

MODEL: dict[str, Any] = {
    "name": "death",
    "spine": "visits",
    "label": {"column": "died"},
    "task": "binary",
    "features": {"request": ["age", "ward"]},
    "split": {"test": "90d", "gap": "21d"},
}
COLUMNS = ["age", "ward", "history.count_1y"]
WHOLE = """\
kind: Monitor
name: death
slices: [ward]
value: {unit: EUR, perTruePositive: 120, perFalsePositive: -30, threshold: 0.2}
retrain: {automatic: true, coolDown: 14d, reasons: [quality, age], maxAge: 90d}
alerts:
  webhooks: [ward_chat]
  routes: [{severity: critical, webhooks: [pager]}, {kinds: [inputs], webhooks: []}]
  quiet: {from: "20:00", to: "07:00", timezone: Europe/Vienna}
  ignore: [history.count_1y]
canary: {worseQuality: 0.03}
"""


def monitor(**sections: Any) -> MonitorSpec:
    """A document with some sections."""
    return parse_spec(MonitorSpec, {"name": "death"} | sections)


def model(**changes: Any) -> ModelSpec:
    """The model that is watched."""
    return parse_spec(ModelSpec, MODEL | changes)


def test_every_section_may_be_left_out() -> None:
    """The shortest document names the model; it asks for training but starts none, and tells nobody."""
    spec = monitor()
    assert spec.canonical() == {"name": "death"}
    assert (spec.retrain.automatic, spec.retrain.cool_down) == (False, "7d")
    assert RetrainReason.AGE not in spec.retrain.reasons
    assert spec.alerts.webhooks_for(Severity.CRITICAL, IncidentKind.QUALITY) == []
    assert spec.value is None


def test_whole_document_is_read_and_written_unchanged() -> None:
    """What was declared comes back as it was."""
    (document,) = parse_documents(WHOLE, "death.yaml")
    spec = document.spec
    assert isinstance(spec, MonitorSpec)
    assert parse_spec(MonitorSpec, spec.canonical()) == spec
    assert spec.value is not None
    assert spec.value.per_answer == (120, -30, 0, 0)
    check_monitor(spec, model(), COLUMNS)


def test_first_route_that_fits_says_where_an_alert_goes() -> None:
    """Critical goes to the pager, inputs to nobody, everything else to the chat."""
    spec = parse_documents(WHOLE, "death.yaml")[0].spec
    assert isinstance(spec, MonitorSpec)
    where = spec.alerts.webhooks_for
    assert where(Severity.CRITICAL, IncidentKind.INPUTS) == ["pager"]
    assert where(Severity.WARNING, IncidentKind.INPUTS) == []
    assert where(Severity.WARNING, IncidentKind.QUALITY) == ["ward_chat"]
    loud = monitor(alerts={"webhooks": ["ward_chat"], "severity": "critical"}).alerts
    assert loud.webhooks_for(Severity.WARNING, IncidentKind.QUALITY) == []


@pytest.mark.parametrize(
    ("sections", "place", "words"),
    [
        ({"slice": ["ward"]}, "slice", "unknown key 'slice'"),
        ({"slices": ["ward", "ward"]}, "slices", "'ward' is listed twice"),
        ({"value": {"unit": "EUR"}}, "value", "what is an answer worth?"),
        ({"value": {"unit": "EUR", "perUnitOfError": 2}}, "value.perUnitOfError", "write -2"),
        ({"value": {"unit": "EUR", "perUnitOfError": -2, "perTruePositive": 1}}, "value.perUnitOfError", "one or the"),
        ({"retrain": {"reasons": ["qualty"]}}, "retrain.reasons.0", "'qualty' is not one of"),
        ({"retrain": {"reasons": ["age"]}}, "retrain.reasons", "`age` needs `maxAge`"),
        ({"retrain": {"coolDown": "a week"}}, "retrain.coolDown", "is not a duration"),
        ({"alerts": {"webhooks": ["https://hooks.example/T0/secret"]}}, "alerts.webhooks.0", "is not a valid name"),
        ({"alerts": {"quiet": {"from": "8pm", "to": "07:00"}}}, "alerts.quiet.from", 'write "20:00"'),
        ({"alerts": {"quiet": {"from": "20:00", "to": "20:00"}}}, "alerts.quiet.to", "choose another hour"),
        (
            {"alerts": {"quiet": {"from": "20:00", "to": "07:00", "timezone": "Europe/Wien"}}},
            "alerts.quiet.timezone",
            "is not a time zone",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(sections: dict[str, Any], place: str, words: str) -> None:
    """Each mistake names the key it is in and what would be right."""
    with pytest.raises(Invalid) as refusal:
        monitor(**sections)
    assert refusal.value.place is not None
    assert refusal.value.place.field == place
    assert words in refusal.value.message


@pytest.mark.parametrize(
    ("sections", "place", "hint"),
    [
        ({"slices": ["wrad"]}, "slices.0", "did you mean `ward`?"),
        ({"alerts": {"ignore": ["x"]}}, "alerts.ignore.0", "its columns: age, ward, history.count_1y"),
        ({"value": {"unit": "EUR", "perUnitOfError": -1}}, "value", "give `perTruePositive`"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(sections: dict[str, Any], place: str, hint: str) -> None:
    """Slices are columns of the model, and the worth is of its task's answers."""
    with pytest.raises(Invalid) as refusal:
        check_monitor(monitor(**sections), model(), COLUMNS)
    assert refusal.value.place is not None
    assert refusal.value.place.field == place
    assert refusal.value.hint is not None
    assert refusal.value.hint.startswith(hint)
