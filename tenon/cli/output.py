"""Everything the command prints: errors with their place, tables, progress, JSON. Results go to stdout, talk to stderr."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import click

from tenon.cli import exits
from tenon.cli.failures import Stop
from tenon.cli.width import GAP, in_lines, terminal_width, widths_for
from tenon.core.errors import Place, TenonError

if TYPE_CHECKING:
    from rich.console import Console


class Output:
    """How this run of the command speaks: colours, JSON or text."""

    def __init__(self) -> None:
        self.json = False
        self.context: dict[str, Any] = {}

    # --- results

    def result(self, thing: str, body: dict[str, Any]) -> None:
        """Print a result as JSON with its versioned schema name."""
        # json costs 5 ms; a text answer does not need it.
        import json

        click.echo(json.dumps({"schema": f"tenon.{thing}/v1", **body}, ensure_ascii=False, default=str))

    def line(self, text: str = "") -> None:
        """Print one line of a result; nothing when JSON is asked for."""
        if not self.json:
            click.echo(text)

    def say(self, text: str) -> None:
        """Print one line of talk (progress, notes) to stderr; nothing when JSON is asked for."""
        if not self.json:
            click.echo(text, err=True)

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        right: Sequence[str] = (),
        title: str | None = None,
    ) -> None:
        """Print a table: in the terminal's width, wide texts in several lines; elsewhere a row a line, so that `awk` can read it."""
        if self.json:
            return
        cells = [[_text(cell) for cell in row] for row in rows]
        if title:
            click.echo(click.style(title, bold=True) if _colours(sys.stdout) else title)
        lines = [list(columns), *cells]
        widths = widths_for(lines, terminal_width(), [place for place, name in enumerate(columns) if name in right])
        for place, row in enumerate(lines):
            for parts in in_lines(row, widths):
                told = [
                    part.rjust(w) if name in right else part.ljust(w)
                    for name, part, w in zip(columns, parts, widths, strict=True)
                ]
                line = (" " * GAP).join(told).rstrip()
                if _colours(sys.stdout):
                    line = _tint(line) if place else click.style(line, dim=True)
                click.echo(line)

    # --- talk

    def error(self, error: TenonError, source: str | None = None) -> None:
        """Print a domain error: the message, the place with the source line and a caret, the hint."""
        hint = error.hint or remedy(error.reason)
        if self.json:
            self.result("error", error.as_dict() | ({"hint": hint} if hint else {}))
        self.problem(
            error.message,
            reason=None if error.reason == "USAGE" else error.reason,
            place=error.place,
            hint=hint,
            source=source or getattr(error, "source", None),
        )

    def usage_error(self, error: click.UsageError, command: str) -> None:
        """Print a mistake on the command line and what would be right; `command` is how far it was understood."""
        hint = getattr(error, "hint", None)
        message = error.format_message()
        if isinstance(error, click.NoSuchOption):
            message = f"there is no option {error.option_name!r}"
            if error.possibilities:
                hint = f"did you mean `{error.possibilities[0]}`?"
        elif isinstance(error, click.MissingParameter):
            message = f"missing {_parameter(error)}"
        elif isinstance(error, click.BadParameter):
            message = f"{_parameter(error)}: {_plain(error.message)}"
        message = message[0].lower() + message[1:].rstrip(".")
        if extra := re.match(r"got unexpected extra arguments? \((.*)\)", message):
            message = f"unexpected argument {extra[1]!r}"
        if hint is None:
            hint = f"see `{error.ctx.command_path if error.ctx else command} --help`"
        if self.json:
            self.result("error", {"error": message, "reason": "USAGE", "hint": hint})
        self.problem(message, hint=hint)
        if error.ctx is not None:
            click.echo(f"usage: {' '.join(error.ctx.command.get_usage(error.ctx).split()[1:])}", err=True)

    def problem(
        self,
        message: str,
        *,
        reason: str | None = None,
        place: Place | None = None,
        hint: str | None = None,
        source: str | None = None,
    ) -> None:
        """Print `error: …` with whatever is known beside it."""
        colours = _colours(sys.stderr)
        word = click.style("error", fg="red", bold=True) if colours else "error"
        code = f" [{reason}]" if reason else ""
        click.echo(f"{word}: {message}{code}", err=True)
        if place is not None and (place.file or place.line):
            click.echo(
                f" --> {':'.join(str(part) for part in (place.file, place.line, place.column) if part is not None)}",
                err=True,
            )
            for line in excerpt(source, place):
                click.echo(f"  {line}", err=True)
        elif place is not None and place.field and place.field not in message:
            click.echo(f" --> {place.field}", err=True)
        if hint:
            click.echo(f"{click.style('hint', fg='cyan', bold=True) if colours else 'hint'}: {hint}", err=True)

    def warning(self, message: str) -> None:
        """Print `warning: …` to stderr."""
        word = click.style("warning", fg="yellow", bold=True) if _colours(sys.stderr) else "warning"
        click.echo(f"{word}: {message}", err=True)

    def crash(self, error: BaseException) -> None:
        """Say in one line that this is our mistake, and where the traceback was saved."""
        # traceback and tempfile cost 20 ms and are needed only when something is badly wrong.
        import tempfile
        import traceback

        with tempfile.NamedTemporaryFile("w", prefix="tenon-crash-", suffix=".txt", delete=False) as file:
            file.write("".join(traceback.format_exception(error)))
        if self.json:
            self.result(
                "error", {"error": f"{type(error).__name__}: {error}", "reason": "INTERNAL", "traceback": file.name}
            )
        self.problem(
            f"this is a mistake of ours ({type(error).__name__}); the details are in {file.name}",
            reason="INTERNAL",
            hint="`tenon doctor` shows what to send along when you report it",
        )

    # --- waiting

    @contextmanager
    def progress(self, label: str, total: float | None = None) -> Iterator[Progress]:
        """A progress bar on a terminal, a line now and then elsewhere, nothing with JSON."""
        progress = Progress(self, label, total)
        try:
            yield progress
        finally:
            progress.close()

    @contextmanager
    def interruptible(self, what: str, hint: str) -> Iterator[None]:
        """Say after Ctrl-C what becomes of the work that goes on elsewhere."""
        try:
            yield
        except KeyboardInterrupt:
            self.problem(f"interrupted; {what}", hint=hint)
            raise Stop(exits.INTERRUPTED) from None

    def console(self, file: IO[str] | None = None) -> Console:
        """A rich console on stderr."""
        # rich costs 40 ms and only live displays need it.
        from rich.console import Console

        return Console(file=file or sys.stderr, no_color=bool(os.environ.get("NO_COLOR")), highlight=False)


class Progress:
    """One wait that speaks: a bar where there is a terminal, else a line at each change, at most one every two seconds."""

    def __init__(self, output: Output, label: str, total: float | None) -> None:
        # time is imported by everything anyway; rich (60 ms) only where a bar is drawn.
        import time

        self._clock = time.monotonic
        self._output, self._label, self._total = output, label, total
        self._bar: Any = None
        self._last_text, self._last_time = "", self._clock()
        if not output.json and sys.stderr.isatty():
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[step]}"), TimeElapsedColumn(), console=output.console(), transient=True,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task(label, total=total, step="")
        else:
            output.say(f"{label} …")

    def update(self, done: float, step: str = "") -> None:
        """Show how far it is, in the unit of `total`."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, step=step if len(step) <= 32 else step[:31] + "…")
            return
        share = f" {100 * done / self._total:.0f} %" if self._total else ""
        text = f"{self._label} …{share}{' ' + step if step else ''}"
        if text != self._last_text and self._clock() - self._last_time >= 2:
            self._output.say(text)
            self._last_text, self._last_time = text, self._clock()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def remedy(reason: str) -> str | None:
    """What to do about a code, where the error itself does not say it."""
    # The table is read only when something went wrong.
    from tenon.cli.explanations import EXPLANATIONS

    return EXPLANATIONS[reason].remedy if reason in EXPLANATIONS and reason != "USAGE" else None


def excerpt(source: str | None, place: Place) -> list[str]:
    """The line of a place with a caret under its column."""
    lines = (source or "").splitlines()
    if place.line is None or not 1 <= place.line <= len(lines):
        return []
    number, text = str(place.line), lines[place.line - 1]
    shown = [f"{number} | {text.replace(chr(9), ' ')}"]
    if place.column is not None:
        shown.append(f"{' ' * len(number)} | {' ' * (place.column - 1)}^")
    return shown


def count(number: int, noun: str) -> str:
    """`1 row`, `2 rows`, `1,000 rows`."""
    plural = (
        noun if number == 1 else (noun[:-1] + "ies" if noun.endswith("y") and noun[-2] not in "aeiou" else noun + "s")
    )
    return f"{number:,} {plural}"


def plain(value: float | None) -> str:
    """A metric: whole above a thousand, one digit after the point above ten, as on the pages; else as `figure`."""
    if value is None or abs(value) < 10:
        return figure(value)
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.1f}"


def figure(value: float | None, digits: int = 4) -> str:
    """A measured number, or a dash where there is none."""
    return "—" if value is None else f"{value:.{digits}f}"


def _text(cell: Any) -> str:
    if cell is None or cell == "":
        return "—"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


_TINTS = {
    "failed": "red",
    "refused": "red",
    "down": "red",
    "drift": "red",
    "worse": "red",
    "succeeded": "green",
    "up": "green",
}


def _tint(line: str) -> str:
    word = next((word for word in line.split() if word in _TINTS), None)
    return line.replace(word, click.style(word, fg=_TINTS[word]), 1) if word else line


def _colours(stream: IO[str]) -> bool:
    return not os.environ.get("NO_COLOR") and stream.isatty()


def _plain(message: str) -> str:
    """What click says of a number, without its notation."""
    for theirs, ours in _NUMBERS:
        message = re.sub(theirs, ours, message)
    return message


_NUMBERS = (
    (r"is not a valid integer( range)?", "is not a whole number"),
    (r"is not a valid float( range)?", "is not a number"),
    (r"is not in the range ([\d.]+)<=x<=([\d.]+)", r"is not from \1 to \2"),
    (r"is not in the range x>=([\d.]+)", r"is less than \1"),
)


def _parameter(error: click.BadParameter) -> str:
    param = error.param
    if param is None:
        return error.param_hint if isinstance(error.param_hint, str) else "an argument"
    if isinstance(param, click.Argument):
        return param.make_metavar(error.ctx) if error.ctx else (param.name or "").upper()
    return f"option {param.opts[0]}"
