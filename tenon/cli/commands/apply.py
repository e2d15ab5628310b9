"""`tenon apply`: bring the platform to what a folder of documents says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenon.cli import exits
from tenon.cli.context import data_option, json_option, open_client, tenant_option
from tenon.cli.failures import BadUsage, NoPlatform, Stop
from tenon.cli.files import find_documents
from tenon.cli.output import Output, count
from tenon.core.errors import NotFound, TenonError

if TYPE_CHECKING:
    from tenon.cli.folder import FolderErrors, Item
    from tenon.cli.plan import Step

_FUTURE = {"create": "would create", "update": "would update"}
_SIGNS = {"create": "+", "update": "~"}


@click.command()
@click.option(
    "-f", "--file", "path", type=click.Path(path_type=Path), metavar="DIR|FILE", help="A document or a folder of them."
)
@click.argument("also", type=click.Path(path_type=Path), metavar="[DIR|FILE]", required=False)
@click.option("--diff", is_flag=True, help="Show what would change, write nothing, exit 1 if there is anything.")
@tenant_option
@data_option()
@json_option
@click.pass_obj
def apply(
    output: Output, path: Path | None, also: Path | None, diff: bool, tenant: str | None, data: str | None
) -> None:
    """Bring the platform to what a folder of documents says.

    Documents without `tenant:` are for every Tenant document of the folder (or for --tenant). Everything is checked
    before anything is written. Applying the same folder again changes nothing.
    """
    if path is not None and also is not None:
        raise BadUsage(
            f"two places are named: {str(path)!r} and {str(also)!r}",
            hint=f"tenon apply -f {path} && tenon apply -f {also}",
        )
    path = path or also
    if path is None:
        raise BadUsage("which folder?", hint="tenon apply -f DIR   (`tenon init` makes one)")
    files = find_documents(path)
    # pydantic and yaml cost 90 ms: only commands that read documents pay.
    from tenon.cli import folder as folders
    from tenon.cli import plan as plans
    from tenon.cli.tenants import choose_tenant

    try:
        documents = folders.read_documents(files)
        declared = any(document.kind == "Tenant" for document in documents)
        if tenant or declared:
            # Checked without a platform first: a typo must not have to wait for a connection.
            folders.check_items(folders.expand(documents, tenant, str), None)
        try:
            client = open_client(data, output)
        except NoPlatform:
            # A name that the folder lacks is more likely a typo than a document of a platform that is not there.
            folders.check_items(folders.expand(documents, tenant, lambda: "nobody"), _not_here)
            raise
        items = folders.expand(documents, tenant, lambda: choose_tenant(client, None))
        here = {item.tenant for item in items if item.kind == "Tenant"}
        for name in sorted({item.tenant for item in items} - here):
            choose_tenant(client, name)
        folders.check_items(items, lambda kind, owner, name: plans.fetch_spec(client, kind, owner, name))
    except folders.FolderErrors as found:
        _show_errors(output, found)
        raise Stop(exits.FINDINGS) from None
    steps = plans.make_plan(client, items)
    changes = [step for step in steps if step.action != "unchanged"]
    if diff:
        _show_plan(output, steps, changes)
        raise Stop(exits.FINDINGS if changes else exits.OK)
    for step in changes:
        _show_step(output, step, _FUTURE)
    _carry_out(output, client, steps)


def _not_here(kind: str, _tenant: str, name: str) -> Any:
    raise NotFound("DOCUMENT_NOT_FOUND", f"there is no {kind} {name!r} here")


def _carry_out(output: Output, client: Any, steps: list[Step]) -> None:
    from tenon.cli import plan as plans

    results: list[dict[str, Any]] = []
    failed: set[tuple[str, str, str]] = set()
    tally = dict.fromkeys(("created", "updated", "unchanged", "failed", "skipped"), 0)
    if any(step.action != "unchanged" for step in steps):
        output.line()
    for step in steps:
        item, problem = step.item, None
        if blocker := _blocked_by(item, failed):
            result = "skipped"
            output.line(f"skipped {item.label}: {blocker} failed")
        elif step.action == "unchanged":
            result = "unchanged"
        else:
            try:
                result = plans.carry_out(client, step)
                output.line(f"{result} {item.label}")
            except TenonError as error:
                result, problem = "failed", error
                place = item.document.place(error.place.field.split(".") if error.place and error.place.field else [])
                shown = output.problem if not output.json else _silent
                shown(
                    f"{item.label}: {error.message}",
                    reason=error.reason,
                    place=place,
                    hint=error.hint,
                    source=item.document.source,
                )
        if result in ("failed", "skipped"):
            failed.add((item.kind, item.tenant, item.name))
        tally[result] += 1
        results.append(_as_dict(step, result) | ({"error": problem.as_dict()} if problem else {}))
    if output.json:
        output.result("apply", {"documents": results, **tally})
    output.line(_counted(tally))
    if tally["failed"] or tally["skipped"]:
        raise Stop(exits.FINDINGS)


def _blocked_by(item: Item, failed: set[tuple[str, str, str]]) -> str | None:
    """What an item needs that could not be applied."""
    spec: Any = item.spec
    needs = [("Tenant", item.tenant, item.tenant)]
    if item.kind == "FeatureView":
        needs.append(("Dataset", item.tenant, spec.dataset))
    elif item.kind == "Model":
        needs.append(("Dataset", item.tenant, spec.spine))
        needs += [("FeatureView", item.tenant, name) for name in spec.features.views]
    elif item.kind == "Monitor":
        needs.append(("Model", item.tenant, spec.name))
    return next((f"{kind} {name}" for kind, owner, name in needs if (kind, owner, name) in failed), None)


def _show_plan(output: Output, steps: list[Step], changes: list[Step]) -> None:
    if output.json:
        output.result("plan", {"documents": [_as_dict(step, step.action) for step in steps], "changes": len(changes)})
        return
    for step in changes:
        _show_step(output, step, _FUTURE)
    created = sum(step.action == "create" for step in changes)
    unchanged = len(steps) - len(changes)
    output.line(
        f"{created} would be created, {len(changes) - created} would be updated, {unchanged} unchanged; nothing was written"
    )


def _show_step(output: Output, step: Step, words: dict[str, str]) -> None:
    output.line(f"{_SIGNS[step.action]} {words[step.action]} {step.item.label}")
    for difference in step.differences:
        output.line(f"    {difference}")


def _show_errors(output: Output, found: FolderErrors) -> None:
    if output.json:
        output.result(
            "error",
            {
                "error": f"{len(found.errors)} errors",
                "reason": "DOCUMENTS_INVALID",
                "errors": [e.as_dict() for e in found.errors],
            },
        )
    for error in found.errors:
        output.problem(
            error.message,
            reason=error.reason,
            place=error.place,
            hint=error.hint,
            source=getattr(error, "source", None),
        )
    files = len({error.place.file for error in found.errors if error.place})
    where = count(files, "file") if files == found.files else f"{files} of {count(found.files, 'file')}"
    output.say(f"{count(len(found.errors), 'error')} in {where}; nothing was written")


def _as_dict(step: Step, result: str) -> dict[str, Any]:
    item = step.item
    return {
        "kind": item.kind, "tenant": item.tenant, "name": item.name, "result": result, "file": item.document.file,
        "differences": [{"key": d.key, "old": d.old, "new": d.new} for d in step.differences],
    }  # fmt: skip


def _counted(tally: dict[str, int]) -> str:
    if tally["unchanged"] == sum(tally.values()):
        return f"unchanged: {count(tally['unchanged'], 'document')}, 0 changes"
    return ", ".join(
        f"{number} {word}" for word, number in tally.items() if number or word in ("created", "updated", "unchanged")
    )


def _silent(*_: Any, **__: Any) -> None:
    """Errors of single documents are part of the JSON result."""
