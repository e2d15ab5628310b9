"""Runs one child of `tenon up` so that it can never outlive it, however `tenon up` dies.

    python -m tenon.cli.supervisor.launch FD module services.registry
    python -m tenon.cli.supervisor.launch FD program /usr/bin/redis-server /path/redis.conf

FD is the reading end of a pipe whose only writing end the supervisor holds. When it closes, the supervisor is gone
(also after kill -9): the child is asked to stop, and its whole process group is killed if it does not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

GRACE_SECONDS = 5.0


def _wait_for_the_end(fd: int) -> None:
    with suppress(OSError):
        while os.read(fd, 64):
            pass


_REAPER = """
import os, signal, sys, time
group, parent, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
deadline = time.monotonic() + seconds
while time.monotonic() < deadline and os.getppid() == parent:
    time.sleep(0.05)
os.killpg(group, signal.SIGKILL)
"""


def _start_reaper() -> None:
    """Have a process of this group kill the whole group, itself included, when this process has ended or hangs.

    It must be another process: this one ends as it pleases on SIGTERM, and may leave children (a worker pool's) behind.
    """
    here = str(os.getpid())
    subprocess.Popen([sys.executable, "-I", "-S", "-c", _REAPER, str(os.getpgid(0)), here, str(GRACE_SECONDS)])


def run_module(fd: int, module: str, arguments: list[str]) -> None:
    """Run a Python module in this process while a thread watches the pipe."""
    # runpy costs nothing next to the module it runs, and the other branch does not need it.
    import runpy

    def watch() -> None:
        _wait_for_the_end(fd)
        _start_reaper()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def run_program(fd: int, command: list[str]) -> int:
    """Run another program as a child and pass signals on, while this process watches the pipe."""
    child = subprocess.Popen(command)

    def stop(signum: int, _frame: object) -> None:
        child.send_signal(signum)

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop)

    def watch() -> None:
        _wait_for_the_end(fd)
        _start_reaper()
        child.terminate()

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()
    return child.wait()


def main() -> None:
    """Read the arguments and run the child."""
    fd, what, target, *arguments = sys.argv[1:]
    if what == "module":
        run_module(int(fd), target, arguments)
    else:
        sys.exit(run_program(int(fd), [target, *arguments]))


if __name__ == "__main__":
    main()
