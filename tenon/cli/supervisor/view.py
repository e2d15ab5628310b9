"""What `tenon up` shows: a live table while it starts on a terminal, plain lines elsewhere and afterwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tenon.cli.output import Output
    from tenon.cli.supervisor.supervise import Event


def describe(event: Event) -> str | None:
    """One event as a line for people; None for what they need not read."""
    name = event.get("name", "")
    match event["event"]:
        case "moved":
            holder = f" by {event['holder']}" if event.get("holder") else ""
            return f"{name}: port {event['port']} is taken{holder}; using {event['instead']}"
        case "ready":
            return f"{name:<10} ready in {event['seconds']:.1f} s" + (f"   {event['url']}" if event.get("url") else "")
        case "missing":
            return f"{name:<10} starting for {event['seconds']:.0f} s: {event['missing']}"
        case "crashed":
            why = f": {event['last']}" if event.get("last") else ""
            return (f"{name} stopped ({event['how']}){why}; restart {event['crashes']} in {event['pause']:.1f} s"
                    f" — log: {event['log']}")  # fmt: skip
        case "cleaning":
            return f"waiting for {event['count']} processes that an earlier `tenon up` left behind"
        case "stopping":
            return f"stopping {', '.join(event['names'])}"
        case "killed":
            return f"{name} did not stop in time and was killed"
        case "stopped":
            return "stopped"
    return None


class View:
    """Receives the supervisor's events and shows them."""

    def __init__(self, output: Output, names: list[str], *, live: bool) -> None:
        self._output = output
        self._states: dict[str, tuple[str, float, str]] = dict.fromkeys(names, ("waiting", 0.0, ""))
        self._display: Any = None
        if live and not output.json:
            # rich's live display costs 70 ms; a platform takes seconds to start.
            from rich.live import Live

            console = output.console()
            self._display = Live(get_renderable=self._table, console=console, refresh_per_second=8)
            self._display.start()
        else:
            output.say(f"starting {', '.join(names)}")

    def __call__(self, event: Event) -> None:
        """Show one event."""
        name = event.get("name")
        if name in self._states:
            if event["event"] == "starting":
                self._states[name] = ("starting", time.monotonic(), "")
            elif event["event"] == "ready":
                self._states[name] = ("ready", event["seconds"], event.get("url", ""))
            elif event["event"] == "missing":
                self._states[name] = ("starting", self._states[name][1], event["missing"])
        if self._display is None:
            if (text := describe(event)) is not None:
                self._output.say(text)
        elif event["event"] not in ("starting", "ready", "missing") and (text := describe(event)):
            self._display.console.print(text, markup=False)

    def freeze(self) -> None:
        """End the live display, leaving its last state on the screen; later events are plain lines."""
        if self._display is not None:
            self._display.stop()
            self._display = None

    def _table(self) -> Any:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for name, (state, moment, extra) in self._states.items():
            if state == "ready":
                table.add_row(Text("✓", "green"), name, f"ready in {moment:.1f} s", Text(extra, "dim"))
            elif state == "starting":
                waited = time.monotonic() - moment
                table.add_row(Spinner("dots"), name, f"starting… {waited:.0f} s", Text(extra, "dim"))
            else:
                table.add_row(" ", Text(name, "dim"), Text("waiting for redis", "dim"), "")
        return table


def say_where(output: Output, body: dict[str, Any], folder: str, *, detached: bool) -> None:
    """What to know when everything is up."""
    if output.json:
        output.result("platform", body)
        return
    services = body["services"]
    click.echo("\nTenon is up.")
    for name in ("registry", "ingest", "features", "trainer", "predictor", "monitor"):
        if name in services:
            click.echo(f"  {name:<10} {services[name]['http']}   gRPC {services[name]['grpc']}")
    click.echo(f"  data       {folder}")
    click.echo(
        f"\n{'Stop it with `tenon down`' if detached else 'Ctrl-C stops it'}. Next: `tenon init`, then `tenon apply -f example`."
    )
