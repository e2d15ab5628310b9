"""How the story is told: headings, commands, facts that are checked, tables, bars. Plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

_SPEAK_SECONDS = 5.0


class StepFailed(Exception):
    """A step did not do what it should; the message says what was expected and what came."""


class Story:
    """The screen, and the count of facts that held."""

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        self.console = Console(highlight=False, soft_wrap=not terminal, width=None if terminal else 140)
        self.facts = 0
        self.step_name = "start"
        self._began = time.monotonic()
        self._step_began = self._began

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    @contextmanager
    def step(self, number: int, title: str) -> Iterator[None]:
        """One step of the story; its duration is said at the end."""
        self.step_name = f"step {number} ({title})"
        began = time.monotonic()
        self.console.print()
        self.console.print(f"[bold cyan]{number}. {escape(title)}[/]")
        yield
        self.console.print(f"   [dim]{time.monotonic() - began:.1f} s[/]")

    def say(self, text: str) -> None:
        """A sentence of the story; may have rich markup."""
        if self.console.is_terminal:
            # What is too long for the line goes on below, still indented.
            indent = len(text) - len(text.lstrip())
            self.console.print(Padding(text.lstrip(), (0, 0, 0, 3 + indent)))
        else:
            self.console.print(f"   {text}")

    def command(self, words: str) -> None:
        """A command as the reader would type it."""
        self.console.print(f"   [dim]$ {escape(words)}[/]")

    def check(self, fact: bool, text: str) -> None:
        """A fact that must hold. Raises `StepFailed` when it does not."""
        if not fact:
            self.console.print(f"   [bold red]✗ {escape(text)}[/]")
            raise StepFailed(f"this did not hold: {text}")
        self.facts += 1
        self.console.print(f"   [green]✓[/] {escape(text)}")

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        right: Sequence[str] = (),
        title: str | None = None,
    ) -> None:
        """A table; cells may have rich markup."""
        table = Table(box=SIMPLE, title=title, title_justify="left", title_style="bold", pad_edge=False)
        for number, name in enumerate(columns):
            # Names of things stay in one piece; what has to break are the words further right.
            table.add_column(name, justify="right" if name in right else "left", no_wrap=number == 0 or name in right)
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    @contextmanager
    def bars(self, names: Sequence[str]) -> Iterator[Bars]:
        """One bar for each name while something long runs."""
        bars = Bars(self.console, names)
        try:
            yield bars
        finally:
            bars.close()


class Bars:
    """Bars on a terminal; elsewhere a line every few seconds."""

    def __init__(self, console: Console, names: Sequence[str]) -> None:
        self._console = console
        self._shares = dict.fromkeys(names, 0.0)
        self._spoken = time.monotonic()
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        if console.is_terminal:
            self._progress = Progress(
                TextColumn("   {task.description:<14}"), BarColumn(bar_width=32), TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(), TextColumn("[dim]{task.fields[note]}"), console=console, transient=True,
            )  # fmt: skip
            self._progress.start()
            self._tasks = {name: self._progress.add_task(name, total=1.0, note="") for name in names}

    def update(self, name: str, share: float, note: str = "") -> None:
        """Show how far something has come, 0 to 1, and what it is doing."""
        self._shares[name] = share
        if self._progress is not None:
            self._progress.update(self._tasks[name], completed=share, note=note)
        elif time.monotonic() - self._spoken > _SPEAK_SECONDS:
            self._spoken = time.monotonic()
            self._console.print("   … " + ", ".join(f"{name} {share:.0%}" for name, share in self._shares.items()))

    def close(self) -> None:
        """Take the bars away."""
        if self._progress is not None:
            self._progress.stop()
