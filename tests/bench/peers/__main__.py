"""`make bench-peers`: installs the servers that the benches compare with, each into an environment of its own.

`.cache/peers/<name>/bin/python tests/bench/peers/<name>.py --model FILE --http PORT --grpc PORT` then serves an XGBoost model under
the name `bench` over the Open Inference Protocol until SIGTERM.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.bench.peers import HOME
from tests.support.environments import Unavailable, environment

LISTS = Path(__file__).parent / "requirements"


def main() -> None:
    """Install all of them, and say how it went."""
    failed = False
    for wanted in sorted(LISTS.glob("*.txt")):
        began = time.monotonic()
        try:
            environment(HOME / wanted.stem, wanted)
        except Unavailable as err:
            failed = True
            print(f"{wanted.stem}: {err}")
        else:
            print(f"{wanted.stem}: ready after {time.monotonic() - began:.0f} s")
    sys.exit(failed)


if __name__ == "__main__":
    main()
