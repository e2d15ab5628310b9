"""`tenon init`: a small example folder that works as it is."""

from __future__ import annotations

from pathlib import Path

import click

from tenon.cli.context import data_option, json_option
from tenon.cli.failures import BadFile, BadUsage
from tenon.cli.output import Output, count


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=True), default="example")
@click.option("--force", is_flag=True, help="Write over files that are there.")
@click.option("--apply", "and_apply", is_flag=True, help="Apply it at once.")
@data_option()
@json_option
@click.pass_context
def init(ctx: click.Context, folder: Path, force: bool, and_apply: bool, data: str | None) -> None:
    """Make a folder with a tenant, a data set, features, a model and (simulated) data that work as they are."""
    output = ctx.ensure_object(Output)
    # The example is simulated data, made in 20 ms by a command that is called once.
    from tenon.cli.example import files

    if folder.exists() and not folder.is_dir():
        raise BadUsage(f"{str(folder)!r} is a file, not a folder", hint=f"tenon init {folder}-example")
    made = files()
    present = [name for name in made if (folder / name).exists()]
    same = [name for name in present if (folder / name).read_text(errors="replace") == made[name]]
    if len(same) == len(made):
        output.line(f"unchanged: {folder} has the example already")
    elif present and not force:
        raise BadFile(
            "FILE_EXISTS", f"{folder / present[0]} is there already; nothing was written",
            hint=f"tenon init {folder} --force   or another folder: tenon init {folder}-2",
        )  # fmt: skip
    else:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in made.items():
                (folder / name).write_text(text)
        except OSError as err:
            raise BadUsage(
                f"{err.filename or folder} cannot be written: {err.strerror}", hint="tenon init ANOTHER_FOLDER"
            ) from err
        output.line(f"made {folder} with {count(len(made), 'file')}:")
        for name, text in made.items():
            first = text.splitlines()[0]
            output.line(
                f"  {name:<22} {first[2:] if first.startswith('# ') else count(len(text.splitlines()) - 1, 'line')}"
            )
    if and_apply:
        # Documents cost 90 ms, which plain `init` does not need.
        from tenon.cli.commands.apply import apply

        ctx.invoke(apply, path=folder, also=None, diff=False, tenant=None, data=data)
    elif output.json:
        output.result("init", {"folder": str(folder), "files": list(made)})
    first = "" if and_apply else f"\n  tenon apply -f {folder}"
    output.line(
        f"\nNext:{first}\n  tenon ingest orders {folder / 'orders.csv'}\n  tenon train returned --release\n"
        f"  tenon predict returned -f {folder / 'request.json'}"
    )
