"""Options that many commands share, and the session they give: a platform, a client, a tenant."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tenon.cli.output import Output
from tenon.core.errors import did_you_mean

if TYPE_CHECKING:
    from tenon.cli.client import Client

DEADLINE_SECONDS = 10.0
"""How long a command waits for an answer."""
DEADLINE_VARIABLE = "TENON_DEADLINE_SECONDS"
"""In the environment: waits longer, for a slow network or a busy machine."""

F = TypeVar("F", bound=Callable[..., Any])


class NumberRange(click.FloatRange):
    """A number in a range; `nan` is in none, though every comparison lets it pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, or a usage error."""
        number = super().convert(value, param, ctx)
        if number != number:  # noqa: PLR0124 - only nan differs from itself
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


def data_option(default: str | None = None) -> Callable[[F], F]:
    """`--data DIR`: the folder of an embedded platform."""
    return click.option(
        "--data", envvar="TENON_HOME", default=default, show_default=default is not None, show_envvar=True, metavar="DIR",
        help="Data folder of the platform." + ("" if default else " Default: the nearest .tenon here or above."),
    )  # fmt: skip


def tenant_option(function: F) -> F:
    """`--tenant NAME`."""
    return click.option(
        "--tenant",
        envvar="TENON_TENANT",
        show_envvar=True,
        metavar="NAME",
        help="Whose; with a single tenant it is the default.",
    )(function)


def json_option(function: F) -> F:
    """`--json`: the result as JSON on stdout and nothing else."""

    def remember(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(Output).json = True

    return click.option(
        "--json", is_flag=True, is_eager=True, expose_value=False, callback=remember, help="Print JSON for scripts."
    )(function)


def open_client(data: str | None, output: Output, *, deadline: float | None = None) -> Client:
    """A client of the platform that `--data` and the environment name."""
    # urllib3 costs 35 ms and only commands that talk to services need it.
    from tenon.cli.client import Client
    from tenon.cli.locate import find_platform

    platform = find_platform(data)
    return Client(platform, output.say, deadline=at_least(deadline or DEADLINE_SECONDS))


def at_least(seconds: float) -> float:
    """These seconds, or more where the environment asks for more."""
    said = os.environ.get(DEADLINE_VARIABLE, "").strip()
    if not said:
        return seconds
    try:
        asked = float(said)
    except ValueError:
        asked = math.nan
    if not 0 < asked < math.inf:
        raise click.UsageError(f"the variable {DEADLINE_VARIABLE} must be a number of seconds, not {said!r}")
    return max(seconds, asked)


class SuggestingGroup(click.Group):
    """A group of subcommands that suggests the nearest name for an unknown one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand, or say which one may be meant."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = did_you_mean(args[0], self.commands)
            error = click.UsageError(f"there is no command {f'{ctx.info_name} {args[0]}'!r}", ctx=ctx)
            names = ", ".join(self.commands)
            error.hint = f"did you mean `{ctx.command_path} {near}`?" if near else f"{ctx.command_path} has: {names}"  # type: ignore[attr-defined]
            raise error
        return super().resolve_command(ctx, args)
