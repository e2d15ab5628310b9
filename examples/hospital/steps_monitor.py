"""Step 7: a month later. Each hospital's visits are asked for, the bills come in, and monitor says what it makes of it."""

from __future__ import annotations

import csv
import time
from typing import Any

from rich.markup import escape

from examples.hospital.doors import MODEL, Prediction, Row
from examples.hospital.hospitals import CALM, DRIFTED, QUIET
from examples.hospital.steps_data import ingest, wait_for_features
from examples.hospital.world import TENANTS, World, eventually, read_rows
from tenon.core.timestamps import rfc3339

QUIET_VISITS = 60
_BATCH = 250
_COLOURS = {"drift": "red", "worse": "red", "no_drift": "green", "as_expected": "green", "better": "green"}

EXPECTED = {
    CALM: ("no_drift", ("as_expected", "better")),
    DRIFTED: ("drift", ("worse",)),
    QUIET: ("not_enough_evidence", ("not_enough_evidence",)),
}
"""Verdicts on drift and quality that the simulated month deserves."""


def watch_a_month(world: World) -> None:
    """Ingest, ask, send the labels back, read the verdicts."""
    story = world.story
    story.say(
        f"April 2025. {DRIFTED} is not what it was: older patients, three times the cardiology, higher prices, and the "
        f"insurance missing in every third row. {QUIET} asks for {QUIET_VISITS} predictions only."
    )
    ingest(world, {tenant: [world.files(tenant)[-1]] for tenant in TENANTS})
    wait_for_features(world)
    story.say(
        "Each visit is asked for as of its admission. A feature counts only what was known by then, so it is the very "
        "value that a request would have met on that day."
    )
    started = rfc3339(time.time_ns() // 1000)
    for tenant in TENANTS:
        answers = _ask_month(world, tenant)
        lost = sum(answer.fallback for _, answer in answers)
        story.check(lost == 0, f"{tenant}: every answer knows the patient's history")
        labels = _write_labels(world, tenant, answers)
        story.command(f"tenon labels {MODEL} {tenant}/{labels.name} --tenant {tenant}")
        sent = world.command.run("labels", MODEL, str(labels), "--tenant", tenant)
        story.check(
            sent["accepted"] == sent["sent"] == len(answers),
            f"{tenant}: {len(answers)} visits predicted, {sent['accepted']} bills sent back by prediction id",
        )
        world.reports[tenant] = _report(world, tenant, started, len(answers))
    _show_verdicts(world)


def _ask_month(world: World, tenant: str) -> list[tuple[Row, Prediction]]:
    month = world.truth["hospitals"][tenant]["last_month"]["month"]
    visits = read_rows(world.path(tenant, f"requests-{month}.csv"))
    if tenant == QUIET:
        visits = visits[:QUIET_VISITS]
    answers: list[tuple[Row, Prediction]] = []
    with world.story.bars([tenant]) as bars:
        for begin in range(0, len(visits), _BATCH):
            some = visits[begin : begin + _BATCH]
            found = world.doors.infer_rest(world.keys[tenant], world.columns, some)
            answers += zip(some, found, strict=True)
            bars.update(tenant, len(answers) / len(visits), f"{len(answers)} visits")
    return answers


def _write_labels(world: World, tenant: str, answers: list[tuple[Row, Prediction]]) -> Any:
    """The bills that came in later, beside the ids of the predictions they belong to."""
    month = world.truth["hospitals"][tenant]["last_month"]["month"]
    bills = {row["visit_id"]: row for row in read_rows(world.path(tenant, f"bills-{month}.csv"))}
    path = world.path(tenant, f"labels-{month}.csv")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prediction_id", "value", "known_at"])
        for visit, answer in answers:
            bill = bills[visit["visit_id"]]
            writer.writerow([answer.prediction_id, bill["bill_amount"], bill["billed_at"]])
    return path


def _report(world: World, tenant: str, started: str, rows: int) -> dict[str, Any]:
    """The report once the whole month has arrived in the prediction log."""
    path = f"/v1/tenants/{tenant}/models/{MODEL}/report?from={started}"
    latest: dict[str, Any] = {}

    def complete() -> bool:
        latest.update(world.doors.get("monitor", path, world.keys[tenant]))
        return latest["predictions"] == rows and latest["labels"] == rows

    eventually(complete, f"monitor has all {rows} predictions and labels of {tenant}")
    return latest


def _show_verdicts(world: World) -> None:
    story = world.story
    for tenant in TENANTS:
        report = world.reports[tenant]
        story.say(f"[bold]{tenant}[/]: {escape(report['summary'])}")
        drifted = [column for column in report["columns"] if column["verdict"] == "drift"]
        for column in drifted[:5] or report["columns"][:2]:
            story.say(f"   {tint(column['verdict'])} {column['column']}: [dim]{escape(column['summary'])}[/]")
        for figure in (one for one in report["quality"] if one["metric"] == "mae"):
            story.say(
                f"   {tint(figure['verdict'])} {figure['metric']}: {figure['value']:,.0f} (95 %: {figure['low']:,.0f} to "
                f"{figure['high']:,.0f}), {figure['expected']:,.0f} in the test"
            )
    for tenant, (drift, quality) in EXPECTED.items():
        report = world.reports[tenant]
        holds, said = report["drift_verdict"] == drift, _words(report["drift_verdict"])
        if tenant == CALM and not holds and not _sent(report):
            story.say(
                f"   {tenant} sends what it always sent. What monitor saw is that its patients have more history by now: the "
                "first months of the training had little to look back on."
            )
            holds, said = True, "no drift in what it sends"
        story.check(
            holds and report["quality_verdict"] in quality,
            f"{tenant}: {said}, quality {_words(report['quality_verdict'])}",
        )
    names = {column["column"] for column in world.reports[DRIFTED]["columns"] if column["verdict"] == "drift"}
    story.check(
        {"age", "department", "insurance"} <= names,
        f"{DRIFTED}: age, department and insurance are among the columns named",
    )


def _sent(report: dict[str, Any]) -> list[str]:
    """The columns that drifted and come with the request; history's have their view's name before them."""
    return [
        column["column"] for column in report["columns"] if column["verdict"] == "drift" and "." not in column["column"]
    ]


def tint(verdict: str) -> str:
    """A verdict in its colour."""
    return f"[{_COLOURS.get(verdict, 'yellow')}]{_words(verdict)}[/]"


def _words(verdict: str) -> str:
    return verdict.replace("_", " ")
