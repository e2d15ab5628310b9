"""The story of three hospitals, from files to a verdict, through public doors only; every step checks itself.

    python -m examples.hospital.demo [--keep] [--scale 0.5] [--data DIR]      (make demo, make demo KEEP=1)
    python -m examples.hospital.demo --target FILE                            (make demo TARGET=compose)

The data are simulated. Exit code 0 when every fact held, 1 when one did not, 2 for a wrong argument, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

import grpc
from rich.markup import escape

from examples.hospital import steps_data, steps_models, steps_monitor, steps_release
from examples.hospital.doors import MODEL, Command
from examples.hospital.hospitals import CALM, DRIFTED
from examples.hospital.platforms import Embedded, Platform, Running, read_target
from examples.hospital.story import StepFailed, Story
from examples.hospital.world import TENANTS, World

KEPT_FOLDER = Path(".tenon-demo")
_MARK = "made-by-the-hospital-demo"


def tell(story: Story, command: Command, platform: Platform, source: Path, *, scale: float, keep: bool) -> None:
    """All eight steps. Raises `StepFailed` where something did not hold."""
    with story.step(1, "The platform starts"):
        world = steps_data.start_platform(story, command, platform, source, scale=scale)
    try:
        with story.step(2, "Three hospitals say what they have and want"):
            steps_data.declare(world)
        with story.step(3, "Two years of visits come in, some of them dirty"):
            steps_data.ingest_history(world)
        with story.step(4, "A model for each hospital, judged by time"):
            steps_models.train(world, TENANTS, 1)
            steps_models.explain_split(world)
        with story.step(5, "Version 1 answers, and only to its own hospital"):
            steps_models.release_and_predict(world)
        with story.step(6, f"Version 2 as a canary at {CALM}"):
            steps_release.canary(world)
        with story.step(7, "A month later"):
            steps_monitor.watch_a_month(world)
        with story.step(8, "What happened"):
            _sum_up(world, keep=keep)
    finally:
        world.doors.close()


def _sum_up(world: World, *, keep: bool) -> None:
    rows = []
    for tenant in TENANTS:
        evidence, report = world.evidence[tenant, 1], world.reports[tenant]
        served = steps_release.served_versions(world, tenant)
        figures = [evidence[name]["metrics"]["mae"] for name in ("baseline", "model", "random_split")]
        rows.append(
            [
                tenant, f"{world.rows_in[tenant]:,}", f"{world.quarantined[tenant]:,}", *(f"{figure:,.0f}" for figure in figures),
                ", ".join(f"{role} {version}" for role, version in served.items()),
                steps_monitor.tint(report["drift_verdict"]), steps_monitor.tint(report["quality_verdict"]),
            ]
        )  # fmt: skip
    numbers = ["rows in", "quarantined", "naive", "model", "random"]
    world.story.table(["hospital", *numbers, "serves", "drift", "quality"], rows, right=numbers)
    world.story.say(
        "naive, model, random: by how much the best constant, version 1, and version 1 under a random split are off on "
        "average (MAE), in the hospital's own currency. All data are simulated."
    )
    if isinstance(world.platform, Running):
        return
    if not keep:
        world.story.say("Keep it running and look around: [bold]make demo KEEP=1[/]")
        return
    _show_ways_on(world)


def _show_ways_on(world: World) -> None:
    tenon = "tenon" if shutil.which("tenon") else _short(Path(sys.executable).with_name("tenon"))
    ways = [
        ("this platform is meant", f"export TENON_HOME={_short(world.command.folder)}"),
        ("what serves where", f"{tenon} status"),
        ("the drifted hospital", f"{tenon} report {MODEL} --tenant {DRIFTED}"),
        ("bring version 2 back", f"{tenon} release rollback {MODEL} --to 3 --tenant {CALM}"),
        ("learn from the new month", f"{tenon} train {MODEL} --wait --release --tenant {DRIFTED}"),
        ("stop everything", f"{tenon} down"),
    ]
    world.story.say("It keeps running. To go on:")
    for what, words in ways:
        world.story.say(f"  [dim]# {what}[/]")
        world.story.say(f"  {escape(words)}")
    for name, url in world.doors.urls.items():
        world.story.say(f"  {name:<10} {url}/docs")


def _short(path: Path) -> str:
    """A path as one would type it from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def main() -> int:
    """Read the arguments, tell the story, clean up."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.hospital.demo", description="Tell the story of three simulated hospitals."
    )
    parser.add_argument("--keep", action="store_true", help="leave the platform running at the end")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="share of the visits, 0.25 or more: with fewer, chance decides what monitor finds (default: 1)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help=f"new folder for everything (default: {KEPT_FOLDER} with --keep, else a temporary one)",
    )
    parser.add_argument(
        "--target",
        type=Path,
        metavar="FILE",
        help="tell it on a platform that runs already: NAME=value lines with TENON_<SERVICE>_URL of all six, "
        "TENON_PREDICTOR_GRPC and TENON_API_KEY; it must not know these hospitals yet",
    )
    parser.add_argument("--kill", metavar="COMMAND", help="with --target: kills the service whose name is added to it")
    parser.add_argument("--start", metavar="COMMAND", help="with --target: starts a killed service, and waits for it")
    arguments = parser.parse_args()
    if not 0.25 <= arguments.scale <= 10:
        parser.error("--scale must be between 0.25 and 10")
    folder = _make_folder(parser, arguments.data, keep=arguments.keep)
    story = Story()
    command, platform = _place(parser, arguments, folder)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    code = _run(story, command, platform, folder, arguments)
    if arguments.keep and code == 0:
        return 0
    if arguments.target is None:
        _stop(story, command)
    if code != 1 and arguments.data is None and not arguments.keep:
        shutil.rmtree(folder, ignore_errors=True)
    elif code == 1:
        logs = "" if arguments.target else f"; logs are in {command.folder / 'logs'}"
        story.console.print(f"   What was written is in {folder}{logs}")
    return code


def _place(parser: argparse.ArgumentParser, arguments: argparse.Namespace, folder: Path) -> tuple[Command, Platform]:
    """Where the story happens, and the command that speaks to it."""
    if arguments.target is None:
        command = Command(folder / "platform")
        return command, Embedded(command)
    if not (arguments.kill and arguments.start) or arguments.keep:
        parser.error("--target needs --kill and --start, and what it names keeps running anyway, without --keep")
    try:
        target = read_target(arguments.target)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    named = {name: value for name, value in target.items() if not name.endswith("_GRPC")}
    return Command(folder / "platform", named), Running(target, arguments.kill, arguments.start)


def _run(story: Story, command: Command, platform: Platform, folder: Path, arguments: argparse.Namespace) -> int:
    story.console.print(
        "[bold]Three hospitals, one platform[/] — a story with [yellow]simulated data[/], told through public doors."
    )
    try:
        tell(story, command, platform, folder / "data", scale=arguments.scale, keep=arguments.keep)
    except StepFailed as failure:
        story.console.print(f"\n[bold red]FAILED[/] in {story.step_name}: {escape(str(failure))}")
        return 1
    except grpc.RpcError as error:
        story.console.print(
            f"\n[bold red]FAILED[/] in {story.step_name}: gRPC {error.code().name}: {escape(error.details() or '')}"
        )
        return 1
    except KeyboardInterrupt:
        story.console.print(f"\n[bold yellow]Interrupted[/] in {story.step_name}; stopping everything")
        return 130
    story.console.print(f"\n[bold green]Done:[/] {story.facts} facts held in {story.seconds:.0f} s.")
    return 0


def _stop(story: Story, command: Command) -> None:
    """Leave no process, however the story ended; a second Ctrl-C does not keep us from it."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    if command.folder.is_dir():
        code, out, err = command.finish("down")
        story.console.print(
            f"   [dim]$ tenon down[/]   {(out or err).strip().splitlines()[-1] if (out or err).strip() else code}"
        )


def _make_folder(parser: argparse.ArgumentParser, wanted: Path | None, *, keep: bool) -> Path:
    if wanted is None and not keep:
        return Path(tempfile.mkdtemp(prefix="tenon-demo-"))
    folder = (wanted or KEPT_FOLDER).resolve()
    if wanted is None and (folder / _MARK).exists():
        if (folder / "platform" / "platform.json").exists():
            parser.error(f"a demo is running in {folder}; stop it with `tenon down --data {folder / 'platform'}`")
        shutil.rmtree(folder)
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"the folder {folder} is not empty; name a new one with --data DIR")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARK).touch()
        (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        parser.error(f"the folder {folder} cannot be used: {error.strerror}")
    return folder


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
