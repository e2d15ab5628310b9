"""`tenon features`: what feature views there are, what their values look like, and what they are for one entity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from tenon.cli.context import SuggestingGroup, data_option, json_option, open_client, tenant_option
from tenon.cli.failures import BadUsage
from tenon.cli.output import Output, count
from tenon.cli.paths import path_of
from tenon.cli.tenants import choose_tenant
from tenon.core.errors import Precondition
from tenon.core.timestamps import parse_rfc3339, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

STATISTICS_SECONDS = 300.0
_FILES = 5
_PUSHED_AT_ONCE = 500
_COLUMNS = 5
_COMMON = 3


class _KeyType(click.ParamType):  # type: ignore[type-arg]
    """`patient=p17`."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The column and its value."""
        column, sign, key = str(value).partition("=")
        if not sign or not column:
            self.fail(f"{value!r} is not COLUMN=VALUE, such as patient=p17", param, ctx)
        return column, key


def _key_option(function: Callable[..., None]) -> Callable[..., None]:
    return click.option("--key", "keys", multiple=True, required=True, type=_KeyType(), metavar="COLUMN=VALUE",
                        help="A column that names the entity; as often as the view has.")(function)  # fmt: skip


@click.group(cls=SuggestingGroup)
def features() -> None:
    """List feature views, show what their values look like, and get one entity's."""


@features.command("list")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def list_(output: Output, tenant: str | None, data: str | None) -> None:
    """List the feature views."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    found = client.get("features", path_of("tenants", owner, "feature-views"))
    if output.json:
        output.result("feature-views", found)
        return
    views = found["feature_views"]
    output.table(
        ["view", "by", "data set", "features", "revision"],
        [
            [v["name"], ", ".join(v["spec"]["entity"]), v["spec"]["dataset"], len(v["features"]), v["revision"]]
            for v in views
        ],
        right=("features", "revision"),
    )
    output.line(count(len(views), "feature view"))


@features.command()
@click.argument("view")
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it as a page, with plots.",
)
@tenant_option
@data_option()
@json_option
@click.pass_obj
def show(output: Output, view: str, page: Path | None, tenant: str | None, data: str | None) -> None:
    """Show a view's features: what each is, how its values lie, how much is missing, and where they come from."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    path = path_of("tenants", owner, "feature-views", view)
    definition = client.get("features", path)
    lineage = client.get("features", f"{path}/lineage")
    statistics: dict[str, Any] | None = None
    try:
        statistics = client.get("features", f"{path}/statistics", deadline=STATISTICS_SECONDS)
    except Precondition:
        if page is not None:
            raise
    if page is not None:
        content = client.download("features", f"{path}/statistics.html", deadline=STATISTICS_SECONDS)
        try:
            page.write_bytes(content)
        except OSError as err:
            raise BadUsage(f"{str(page)!r} cannot be written: {err.strerror}") from err
    if output.json:
        output.result("feature-view", {**definition, "lineage": lineage, "statistics": statistics})
        return
    _show(output, definition, lineage, statistics)
    if page is not None:
        output.line(f"\nwritten: {page}")


def _show(output: Output, view: dict[str, Any], lineage: dict[str, Any], statistics: dict[str, Any] | None) -> None:
    spec, online = view["spec"], view["online"]
    output.line(f"{view['name']}, revision {view['revision']}: {', '.join(spec['entity'])} in {spec['dataset']}")
    if online is None:
        output.line("online: not built yet")
    elif online["newest_event"] is None:
        output.line("online: no events yet")
    else:
        newest = online["newest_event"]
        size = online["blob_bytes"] / max(online["entities"], 1)
        behind = "" if online["serves_this_revision"] else f", still revision {online['revision']}"
        version = lineage["dataset"]["table_version"]
        if version is not None and online["table_version"] < version:
            behind += f", {count(version - online['table_version'], 'version')} behind the lake"
        output.line(f"online: {count(online['entities'], 'entity')}, up to {newest[:16].replace('T', ' ')}{behind}")
        sizes = online.get("entity_bytes", {})
        named = ", ".join(f"{name} {value:,}" for name, value in sizes.items())
        output.line(f"memory: {online['blob_bytes']:,} bytes, {size:,.0f} an entity{f' ({named})' if named else ''}")
    output.line()
    about = {one["feature"]: one for one in statistics["features"]} if statistics else {}
    rows = []
    for origin in lineage["features"]:
        one = about.get(origin["feature"], {})
        missing = "—" if not one.get("rows") else f"{one['missing'] / one['rows']:.1%}"
        common = ", ".join(found["value"] for found in one.get("most_common", [])[:_COMMON])
        rows.append([origin["feature"].partition(".")[2], origin["meaning"] + (f": {common}" if common else ""), missing,
                     *(_shown(one.get(name)) for name in ("low", "median", "high")), ", ".join(origin["columns"])])  # fmt: skip
    output.table(["feature", "what", "missing", "10 %", "median", "90 %", "made of"], rows,
                 right=("missing", "10 %", "median", "90 %"))  # fmt: skip
    output.line()
    if statistics is None:
        output.line(f"no values: nothing was ever ingested into {spec['dataset']}")
        return
    of = count(statistics["rows"], "row")
    sampled = of if statistics["sampled"] == statistics["rows"] else f"{statistics['sampled']:,} of {of}"
    output.line(f"values at {sampled} of {spec['dataset']}, version {statistics['table_version']}")
    files = lineage["files"]
    for file in files[:_FILES]:
        output.line(
            f"  {file['name']}  {count(file['rows'], 'row')}  {file['committed_at'][:10]}  {file['sha256'][:12]}"
        )
    if len(files) > _FILES:
        output.line(f"  and {len(files) - _FILES} earlier files (--json lists them)")


@features.command()
@click.argument("views", nargs=-1, required=True, metavar="VIEW...")
@_key_option
@click.option("--at", metavar="TIME", help="The time the values are wanted for (RFC 3339). Default: now.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def get(
    output: Output, views: tuple[str, ...], keys: tuple[tuple[str, str], ...], at: str | None, tenant: str | None, data: str | None
) -> None:  # fmt: skip
    """Get an entity's online values, as a prediction would.

    \b
    tenon features get patient_history --key patient=p17
    """
    row: dict[str, Any] = {"keys": dict(keys)}
    if at:
        row["at"] = rfc3339(parse_rfc3339(at, "--at"))
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    body = {"views": list(views), "rows": [row]}
    found = client.post("features", path_of("tenants", owner, "online-features"), body)
    if output.json:
        output.result("online-features", found)
        return
    (answer,) = found["rows"]
    output.table(
        ["feature", "value", "status"],
        [
            [name, _shown(one["value"]), one["status"].lower().replace("_", " ")]
            for name, one in answer["values"].items()
        ],
        right=("value",),
    )
    for view, known in answer["known_until"].items():
        newest = "nothing counts" if known is None else f"the newest that counts was known {known}"
        output.line(f"{view}: {newest}")


@features.command()
@click.argument("view")
@_key_option
@click.option("--feature", "wanted", multiple=True, metavar="NAME", help="Only this feature; as often as wanted.")
@click.option("--from", "start", metavar="TIME", help="From this moment (RFC 3339). Default: the entity's first event.")
@click.option("--to", "end", metavar="TIME", help="…to this one. Default: just after the entity's last event.")
@click.option("--points", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many moments.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def history(
    output: Output, view: str, keys: tuple[tuple[str, str], ...], wanted: tuple[str, ...], start: str | None, end: str | None,
    points: int, tenant: str | None, data: str | None,
) -> None:  # fmt: skip
    """Show an entity's values over time, as a training set has them.

    \b
    tenon features history patient_history --key patient=p17 --feature bill_sum_30d
    """
    body: dict[str, Any] = {"keys": dict(keys), "points": points}
    for name, text in (("from", start), ("to", end)):
        if text:
            body[name] = rfc3339(parse_rfc3339(text, f"--{name}"))
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    path = path_of("tenants", owner, "feature-views", view, "history")
    found = client.post("features", path, body, deadline=STATISTICS_SECONDS)
    names = [reference.partition(".")[2] for reference in found["features"]]
    for name in wanted:
        if name not in names and name not in found["features"]:
            raise BadUsage(f"view {view!r} has no feature {name!r}", hint=f"tenon features show {view}")
    places = [
        place
        for place, (name, whole) in enumerate(zip(names, found["features"], strict=True))
        if not wanted or name in wanted or whole in wanted
    ]
    if output.json:
        chosen = [{"at": p["at"], "values": [p["values"][place] for place in places]} for p in found["points"]]
        output.result("feature-history", {**found, "features": [found["features"][p] for p in places], "points": chosen})  # fmt: skip
        return
    shown = places if wanted else places[:_COLUMNS]
    output.table(
        ["at", *(names[place] for place in shown)],
        [[p["at"][:19].replace("T", " "), *(_shown(p["values"][place]) for place in shown)] for p in found["points"]],
        right=tuple(names[place] for place in shown),
    )
    if len(shown) < len(places):
        rest = ", ".join(names[place] for place in places[_COLUMNS:])
        output.line(f"and {count(len(places) - len(shown), 'feature')} more (--feature NAME): {rest}")


@features.command("training-sets")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def training_sets(output: Output, tenant: str | None, data: str | None) -> None:
    """List the training sets that were made, from what, and which were erased because rows of them were."""
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    found = client.get("features", path_of("tenants", owner, "training-sets"))
    if output.json:
        output.result("training-sets", found)
        return
    sets = found["training_sets"]
    output.table(
        ["training set", "made", "rows of", "rows", "from", "file"],
        [
            [
                one["fingerprint"][:12],
                (one["made_at"] or "—")[:16].replace("T", " "),
                one["spine"] or "—",
                f"{one['rows']:,}",
                ", ".join(f"{name} v{version}" for name, version in sorted(one["dataset_versions"].items())),
                _file_state(one["erased"]),
            ]
            for one in sets
        ],
        right=("rows",),
    )
    output.line(count(len(sets), "training set"))


def _file_state(erased: dict[str, Any] | None) -> str:
    if erased is None:
        return "there"
    rows = "rows" if erased["rows"] is None else count(erased["rows"], "row")
    return f"erased {erased['at'][:16].replace('T', ' ')}: {rows} of {erased['dataset']} removed"


@features.command()
@click.argument("dataset")
@click.argument("file", type=click.File("rb"), default="-", metavar="[FILE]")
@click.option("--row", "given", multiple=True, metavar="JSON", help="A row instead of a file; as often as wanted.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def push(
    output: Output, dataset: str, file: IO[bytes], given: tuple[str, ...], tenant: str | None, data: str | None
) -> None:  # fmt: skip
    """Push fresh rows of a data set: lines of JSON, shown online at once, ahead of the file that brings them to the lake.

    \b
    tenon features push visits events.jsonl
    tenon features push visits --row '{"visit": 7, "at": "2026-03-01T08:30:00Z", "patient": "p17", "bill": 12.5}'
    """
    lines: Iterable[str | bytes] = given or file
    client = open_client(data, output)
    owner = choose_tenant(client, tenant)
    path = path_of("tenants", owner, "datasets", dataset, "events")
    accepted = known = 0
    views: list[str] = []
    for rows in _batches(lines):
        made = client.post("features", path, {"rows": rows})
        accepted, known, views = accepted + made["accepted"], known + made["known"], made["views"]
    if output.json:
        output.result("pushed", {"accepted": accepted, "known": known, "views": views})
        return
    output.line(f"{count(accepted, 'row')} online in {', '.join(v for v in views if '@' not in v) or 'no view'}")
    if known:
        output.line(f"{count(known, 'row')} not taken: the table has such keys already")


def _batches(lines: Iterable[str | bytes]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise BadUsage(
                f"line {number} is not a JSON object", hint='write each row as {"column": value, …} on its own line'
            )
        rows.append(row)
        if len(rows) == _PUSHED_AT_ONCE:
            yield rows
            rows = []
    if rows:
        yield rows


def _shown(value: float | str | None) -> str:
    return "—" if value is None else value if isinstance(value, str) else f"{value:,.6g}"
