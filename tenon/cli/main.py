"""Entry point of the `tenon` command: parses, runs one command, and turns every failure into words and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from tenon.cli import exits
from tenon.cli.failures import Stop, exit_code
from tenon.cli.output import Output
from tenon.core.errors import TenonError, did_you_mean

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Platform": {
        "up": ("platform", "Start the whole platform on this machine."),
        "down": ("platform", "Stop a platform started with `up --detach`."),
        "status": ("status", "What runs, what serves, and whether all replicas agree."),
        "doctor": ("doctor", "Check versions, paths, configuration and connections."),
    },
    "Declare": {
        "init": ("init", "Make a small example folder that works as it is."),
        "apply": ("apply", "Bring the platform to what a folder of documents says."),
        "schema": ("schema", "Print the JSON Schema of a kind of document, for editors."),
    },
    "Data and models": {
        "ingest": ("ingest", "Load files into a data set."),
        "features": ("features", "Feature views, what their values look like, one entity's values."),
        "train": ("train", "Train a model."),
        "runs": ("train", "List training runs."),
        "versions": ("train", "List a model's versions."),
        "export": ("export", "Write a version as ONNX that answers without the platform."),
        "erase": ("erase", "Forget somebody: rows, training sets, predictions, labels."),
    },
    "Serve": {
        "release": ("release", "Set, promote, roll back and show what is served."),
        "predict": ("predict", "Ask for predictions."),
    },
    "Watch": {
        "monitor": ("monitor_group", "All models at a glance, one over time, a month, the web pages."),
        "report": ("monitor", "Drift and quality of a model, worst columns first."),
        "labels": ("labels", "Send true values back, and review answers worth an expert's look."),
        "incidents": ("incidents", "What is going on with the models, why, and who is at it."),
        "retraining": ("retraining", "Which models should be trained anew, why, and whether it helped."),
    },
    "Access": {
        "keys": ("keys", "Create, list and revoke API keys."),
    },
    "Help": {
        "explain": ("explain", "Explain the code of an error."),
    },
}
"""Every command with its module and help line, so that `tenon --help` imports none of them."""

COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}

_ALIASES = {"start": "up", "stop": "down", "deploy": "release", "rollback": "release rollback", "promote": "release promote",
            "upload": "ingest", "load": "ingest", "fit": "train", "retrain": "retraining", "push": "apply", "plan": "apply --diff", "diff": "apply --diff",
            "serve": "up", "ps": "status", "ls": "status", "check": "doctor", "views": "features list", "feature": "features", "lineage": "features show", "lookup": "features get", "key": "keys", "drift": "monitor drift", "quality": "monitor quality", "dashboard": "monitor open", "ui": "monitor open", "watch": "monitor status",
            "review": "labels review", "incident": "incidents", "alerts": "incidents", "canary": "release set", "download": "export", "forget": "erase", "delete": "erase", "onnx": "export", "history": "release history", "create": "init", "new": "init", "help": "--help",
            "version": "--version", "logs": "status", "login": "keys"}  # fmt: skip
"""Words people try because other tools use them."""


class _Commands(click.Group):
    """The top group: knows its commands by name, imports one when it is called, and suggests near names."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it so
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"tenon.cli.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise _unknown_command(ctx, args[0], COMMANDS, _ALIASES)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()], col_max=14)


def _unknown_command(ctx: click.Context, name: str, known: dict[str, Any], aliases: dict[str, str]) -> click.UsageError:
    near = aliases.get(name.lower()) or did_you_mean(name, known)
    error = click.UsageError(f"there is no command {name!r}", ctx=ctx)
    error.hint = f"did you mean `{ctx.command_path} {near}`?" if near else f"see `{ctx.command_path} --help`"  # type: ignore[attr-defined]
    return error


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        # importlib.metadata costs 20 ms and only --version needs it.
        from importlib.metadata import version

        click.echo(f"tenon {version('tenon')}")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with `tenon up`, then `tenon init` in another terminal. `tenon COMMAND --help` says more.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def cli() -> None:
    """Tabular machine learning in production: data, features, training, releases, predictions and monitoring."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code; called by the `tenon` script."""
    output = Output()
    try:
        result = cli.main(
            args=list(args) if args is not None else None, prog_name="tenon", standalone_mode=False, obj=output
        )
        sys.stdout.flush()
        return result if isinstance(result, int) and not isinstance(result, bool) else exits.OK
    except Stop as stop:
        return stop.code
    except TenonError as error:
        output.error(error)
        return exit_code(error)
    except click.UsageError as error:
        output.usage_error(error, _command_of(sys.argv[1:] if args is None else args))
        return exits.USAGE
    except click.ClickException as error:
        output.problem(error.format_message())
        return exits.USAGE
    except (KeyboardInterrupt, click.Abort):
        output.problem("interrupted")
        return exits.INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except Exception as error:  # noqa: BLE001 - the outermost door: one line for the user, the traceback in a file
        output.crash(error)
        return exits.FINDINGS


def _command_of(words: Sequence[str]) -> str:
    """The command that a command line is about, as far as it can be told without parsing it."""
    command: click.Command = cli
    path = ["tenon"]
    for word in words:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        if found is None:
            break
        path.append(word)
        command = found
    return " ".join(path)


if __name__ == "__main__":
    sys.exit(main())
