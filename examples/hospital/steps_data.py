"""Steps 1 to 3: the platform starts, learns what the hospitals declare, and takes in their files."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.markup import escape

from examples.hospital.dirt import KINDS
from examples.hospital.doors import DATASET, Command
from examples.hospital.generate import generate
from examples.hospital.platforms import Platform
from examples.hospital.story import Story
from examples.hospital.world import SPECS, TENANTS, World, eventually

_LEAKY = "length_of_stay_days"


def start_platform(story: Story, command: Command, platform: Platform, source: Path, *, scale: float) -> World:
    """Step 1, and the simulated data besides."""
    doors, admin_key = platform.start(story)
    truth = generate(source, scale=scale)
    story.say(
        f"[yellow]All data are simulated[/] (seed {truth['seed']}): no real hospital, patient or bill. Written to {source}"
    )
    return World(story, command, platform, source, truth, doors, admin_key)


def declare(world: World) -> None:
    """Step 2: documents in YAML become tenants, contracts, features and models; a leak is refused."""
    story = world.story
    story.command("tenon apply -f examples/hospital/specs")
    applied = world.command.run("apply", "-f", str(SPECS))
    kinds: dict[str, int] = {}
    for document in applied["documents"]:
        kinds[document["kind"]] = kinds.get(document["kind"], 0) + 1
    expected = {"Tenant": 3, "Dataset": 3, "FeatureView": 6, "Model": 3, "Monitor": 3}
    story.check(kinds == expected, ", ".join(f"{number} {kind}s" for kind, number in kinds.items()) + " created")
    again = world.command.run("apply", "-f", str(SPECS))
    story.check(again["unchanged"] == len(again["documents"]), "the same folder again changes nothing")
    _try_a_leak(world)
    for tenant in TENANTS:
        made = world.command.run("keys", "create", "--tenant", tenant, "--name", "hospital demo")
        world.keys[tenant] = made["key"]
    story.check(len(set(world.keys.values())) == len(TENANTS), "each hospital has an API key of its own")


def _try_a_leak(world: World) -> None:
    """A model that asks for something nobody knows at the door is refused before anything is written."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(SPECS, folder, dirs_exist_ok=True)
        document = Path(folder) / "visit_cost.yaml"
        document.write_text(document.read_text().replace("request: [department,", f"request: [{_LEAKY}, department,"))
        code, _, said = world.command.finish("apply", "-f", folder)
    lines = [line for line in said.splitlines() if line.strip()]
    for line in lines[:6]:
        world.story.say(f"  [dim]{escape(line.replace(folder, '…'))}[/]")
    world.story.check(
        code == 1 and _LEAKY in said and "leaks" in said and "visit_cost.yaml:" in said,
        f"a model that wants {_LEAKY} (known at discharge) as an input is refused, with file, line and column",
    )


def ingest_history(world: World) -> None:
    """Step 3: every quarter up to the end of 2024, for all hospitals at once."""
    loaded = {tenant: world.files(tenant)[:-2] for tenant in TENANTS}
    ingest(world, loaded)
    _show_quarantine(world, loaded)
    # The spoilt rows can be looked at, line by line, by the hospital itself.
    tenant = TENANTS[0]
    batches = world.doors.get("ingest", f"/v1/tenants/{tenant}/datasets/{DATASET}/batches", world.keys[tenant])[
        "batches"
    ]
    path = f"/v1/tenants/{tenant}/datasets/{DATASET}/batches/{batches[0]['id']}/quarantine"
    rows = world.doors.get("ingest", path, world.keys[tenant])["rows"]
    for row in rows[:3]:
        world.story.say(f"  [dim]{batches[0]['file_name']}:{row['line']}[/] {row['reason']}: {escape(row['message'])}")
    first = str(world.path(tenant, world.files(tenant)[0]["name"]))
    again = world.command.run("ingest", DATASET, first, "--tenant", tenant)
    world.story.check(
        again["unchanged"] == 1 and again["rows_committed"] == 0, "the same file sent a second time is loaded only once"
    )


def ingest(world: World, files: dict[str, list[dict[str, Any]]]) -> None:
    """Load some files of each hospital side by side, and compare the counts with what was planted."""
    for tenant, some in files.items():
        names = some[0]["name"] if len(some) == 1 else f"visits-*.csv ({len(some)} files)"
        world.story.command(f"tenon ingest {DATASET} {tenant}/{names} --tenant {tenant}")
    done_before = {tenant: len(_committed(world, tenant)) for tenant in files}
    jobs = {
        tenant: ["ingest", DATASET, *(str(world.path(tenant, file["name"])) for file in some), "--tenant", tenant]
        for tenant, some in files.items()
    }
    with world.command.together(jobs) as running, world.story.bars(list(files)) as bars:
        while not all(future.done() for future in running.values()):
            for tenant, some in files.items():
                count = len(_committed(world, tenant)) - done_before[tenant]
                bars.update(tenant, count / len(some), f"{count} of {len(some)} files")
            time.sleep(0.3)
        results = {tenant: future.result() for tenant, future in running.items()}
    for tenant, some in files.items():
        batches = results[tenant]["batches"]
        read, committed, bad = (
            sum(batch[name] for batch in batches) for name in ("rows_read", "rows_committed", "rows_quarantined")
        )
        world.rows_in[tenant] += read
        world.quarantined[tenant] += bad
        world.table_versions[tenant] = max(batch["table_version"] for batch in batches)
        planted, good = sum(file["bad"] for file in some), sum(file["good"] for file in some)
        world.story.check(
            (read, committed, bad) == (sum(file["rows"] for file in some), good, planted),
            f"{tenant}: {read:,} rows read, {committed:,} in the lake, {bad:,} in quarantine; {planted:,} had been spoilt",
        )


def wait_for_features(world: World) -> None:
    """Wait until the online features of every hospital have what was ingested last."""
    views = ("patient_history", "diagnosis_history")

    def behind(tenant: str, view: str) -> bool:
        online = world.doors.get("features", f"/v1/tenants/{tenant}/feature-views/{view}", world.keys[tenant])["online"]
        return online is None or online["table_version"] < world.table_versions[tenant]

    for tenant in TENANTS:
        for view in views:
            eventually(lambda: not behind(tenant, view), f"online features of {tenant}/{view} are up to date")  # noqa: B023


def _committed(world: World, tenant: str) -> list[dict[str, Any]]:
    path = f"/v1/tenants/{tenant}/datasets/{DATASET}/batches?limit=500"
    batches = world.doors.get("ingest", path, world.keys[tenant])["batches"]
    return [batch for batch in batches if batch["state"] == "committed"]


def _show_quarantine(world: World, loaded: dict[str, list[dict[str, Any]]]) -> None:
    reasons: dict[str, dict[str, int]] = {}
    for tenant in TENANTS:
        for batch in _committed(world, tenant):
            for reason, number in batch["quarantine_reasons"].items():
                of_tenant = reasons.setdefault(reason, dict.fromkeys(TENANTS, 0))
                of_tenant[tenant] += number
    rows = [[reason, *(str(counts[tenant]) for tenant in TENANTS)] for reason, counts in sorted(reasons.items())]
    world.story.table(["why a row is in quarantine", *TENANTS], rows, right=TENANTS)
    kinds = {kind for some in loaded.values() for file in some for kind, number in file["planted"].items() if number}
    world.story.check(
        len(reasons) >= len(KINDS) - 1, f"{len(kinds)} kinds of dirt were planted, {len(reasons)} reasons were given"
    )
