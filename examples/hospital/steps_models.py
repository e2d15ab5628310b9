"""Steps 4 and 5: one model for each hospital, judged honestly; then it answers, and only to its own hospital."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from examples.hospital.doors import MODEL, Row, bearer
from examples.hospital.steps_data import wait_for_features
from examples.hospital.steps_outage import lose_features
from examples.hospital.story import StepFailed
from examples.hospital.world import TENANTS, World, read_rows
from tenon.api.inference.v2 import inference_pb2

_MAES = ("naive MAE", "MAE without history", "model MAE", "random-split MAE")


def train(world: World, tenants: Sequence[str], version: int) -> None:
    """Train for some hospitals side by side, wait, and show what the evidence says."""
    for tenant in tenants:
        world.story.command(f"tenon train {MODEL} --wait --tenant {tenant}")
    jobs = {tenant: ["train", MODEL, "--wait", "--tenant", tenant] for tenant in tenants}
    with world.command.together(jobs) as running, world.story.bars(tenants) as bars:
        while not all(future.done() for future in running.values()):
            for tenant in tenants:
                runs = world.doors.get("trainer", f"/v1/tenants/{tenant}/runs?limit=1", world.keys[tenant])["runs"]
                if runs:
                    bars.update(tenant, runs[0]["progress"], runs[0]["step"] or runs[0]["state"])
            time.sleep(0.3)
        runs = {tenant: future.result() for tenant, future in running.items()}
    for tenant, run in runs.items():
        world.story.check(
            run["state"] == "succeeded" and run["version"] == version,
            f"{tenant}: run {run['id']} registered version {version}",
        )
        world.evidence[tenant, version] = run["evidence"]
    world.story.table(
        ["hospital", "estimator", "trained on", "tested on", *_MAES, "R²"],
        [_evidence_row(tenant, run["evidence"]) for tenant, run in runs.items()],
        right=("trained on", "tested on", *_MAES, "R²"),
    )
    for tenant, run in runs.items():
        evidence = run["evidence"]
        model, naive = evidence["model"]["metrics"]["mae"], evidence["baseline"]["metrics"]["mae"]
        world.story.check(
            model < naive and all(gate["passed"] for gate in run["gates"]),
            f"{tenant}: off by {model:,.0f} on average, {1 - model / naive:.0%} less than the best constant; every gate passed",
        )
        alone = evidence["without_history"]["metrics"]["mae"]
        world.story.check(
            alone < naive,
            f"{tenant}: without the patient's history it is off by {alone:,.0f}: a second model, for when it cannot be had",
        )


def _evidence_row(tenant: str, evidence: dict[str, Any]) -> list[str]:
    parts = ("baseline", "without_history", "model", "random_split")
    figures = [evidence[name]["metrics"]["mae"] if evidence[name] else None for name in parts]
    naive, alone, model, random = ("—" if figure is None else f"{figure:,.0f}" for figure in figures)
    return [
        tenant, evidence["estimator"], f"{evidence['train_rows']:,}", f"{evidence['model']['rows']:,}",
        naive, alone, f"[bold]{model}[/]", f"[dim]{random}[/]", f"{evidence['model']['metrics']['r2']:.2f}",
    ]  # fmt: skip


def explain_split(world: World) -> None:
    """Say what the columns of the table mean."""
    one = world.evidence[TENANTS[0], 1]
    world.story.say(
        f"Trained on visits until {one['train_to'][:10]}, tested on those from {one['test_from'][:10]} on; the "
        f"{one['gap']} between are left out, since bills come that late."
    )
    flattered = [
        tenant for tenant in TENANTS
        if world.evidence[tenant, 1]["random_split"]["metrics"]["mae"] < world.evidence[tenant, 1]["model"]["metrics"]["mae"]
    ]  # fmt: skip
    world.story.say(
        "The random split tests on days that it also learnt from: "
        + (
            f"it would have flattered {', '.join(flattered)}."
            if flattered
            else "on these data it did not flatter anybody."
        )
    )


def release_and_predict(world: World) -> None:
    """Step 5: version 1 answers over four doors with the same number, and nobody else's key opens any of them."""
    story = world.story
    for tenant in TENANTS:
        story.command(f"tenon release set {MODEL} --stable 1 --tenant {tenant}")
        made = world.command.run("release", "set", MODEL, "--stable", "1", "--tenant", tenant)
        replicas = made["serving"]["replicas"]
        story.check(
            bool(replicas) and all(replica["settled"] for replica in replicas),
            f"{tenant}: revision {made['release']['revision']} is served (read back from {len(replicas)} replica)",
        )
    wait_for_features(world)
    world.columns = world.doors.columns(world.keys[TENANTS[0]])
    rows = [_ask_everywhere(world, tenant, visit) for tenant in TENANTS for visit in unbilled_visits(world, tenant)[:2]]
    story.table(
        ["hospital", "visit", "diagnosis", "REST (OIP)", "gRPC (OIP)", "REST by entity", "gRPC by entity"],
        rows, right=("REST (OIP)", "gRPC (OIP)", "REST by entity", "gRPC by entity"),
    )  # fmt: skip
    story.check(
        True, "each visit was asked for over four doors: the same number to the last bit, from the hospital's own model"
    )
    _try_strangers(world)
    lose_features(world)


def unbilled_visits(world: World, tenant: str) -> list[Row]:
    """Visits at the end of 2024 whose bill nobody knew when the file was written; complete in every column."""
    rows = read_rows(world.path(tenant, world.files(tenant)[-3]["name"]))
    return [row for row in reversed(rows) if row["bill_amount"] == "" and row["insurance"]]


def _ask_everywhere(world: World, tenant: str, visit: Row) -> list[str]:
    doors, key, columns = world.doors, world.keys[tenant], world.columns
    answers = [
        doors.infer_rest(key, columns, [visit])[0],
        doors.infer_grpc(key, columns, visit),
        doors.predict_rest(key, columns, visit),
        doors.predict_grpc(key, columns, visit),
    ]
    if {(a.tenant, a.version, a.role, a.fallback) for a in answers} != {(tenant, 1, "stable", False)}:
        raise StepFailed(
            f"{tenant}: not every door answered with the hospital's own version 1 and its history: {answers}"
        )
    if len({answer.value for answer in answers}) != 1:
        raise StepFailed(f"{tenant}: the doors differ for visit {visit['visit_id']}: {[a.value for a in answers]}")
    return [tenant, visit["visit_id"], visit["diagnosis_group"], *(f"{answer.value:,.2f}" for answer in answers)]


def _try_strangers(world: World) -> None:
    """Another hospital's key, no key and a wrong key, on HTTP and gRPC."""
    owner, stranger = TENANTS[0], TENANTS[1]
    key, wrong = world.keys[stranger], "tnk_" + "a" * 12 + "_" + "0" * 64
    infer, release = f"/v2/models/{MODEL}/infer", f"/models/{MODEL}/release"

    def rest(tenant: str, given: str | None) -> tuple[int, str]:
        status, body = world.doors.ask("predictor", "POST", infer, key=given, body={"inputs": []}, tenant=tenant)
        return status, str(body.get("reason"))

    def look(tenant: str, given: str | None) -> tuple[int, str]:
        status, body = world.doors.ask("registry", "GET", f"/v1/tenants/{tenant}{release}", key=given)
        return status, str(body.get("reason"))

    def call(tenant: str, given: str | None) -> tuple[str, str]:
        request = inference_pb2.ModelInferRequest(model_name=MODEL)
        metadata = [*bearer(given), ("x-tenon-tenant", tenant)]
        try:
            world.doors.inference.ModelInfer(request, metadata=metadata, timeout=60)
        except grpc.RpcError as error:
            return error.code().name, ""
        return "OK", ""

    expected: list[tuple[str, Callable[[str, str | None], tuple[Any, str]], Any, Any]] = [
        ("predictions over REST", rest, 404, 401),
        ("releases over REST", look, 404, 401),
        ("predictions over gRPC", call, "NOT_FOUND", "UNAUTHENTICATED"),
    ]
    for what, door, missing, unknown in expected:
        foreign, nowhere = door(owner, key), door("no-such-hospital", key)
        world.story.check(
            foreign[0] == missing and foreign == nowhere,
            f"{what}: {stranger}'s key asking for {owner} gets {foreign[0]}, exactly as for a hospital that does not exist",
        )
        nobody, false = door(owner, None), door(owner, wrong)
        world.story.check(
            nobody[0] == unknown and false[0] == unknown, f"{what}: no key and a wrong key get {nobody[0]}"
        )
