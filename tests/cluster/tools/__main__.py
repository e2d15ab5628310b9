"""`python -m tests.cluster.tools [NAME…]`: build what is missing, all tools by default, and say where they are.

Ends with 3 where they cannot be had on this machine (no Go, no network), which is not the same as a build that fails.
"""

import sys

from tests.cluster.tools.build import Unavailable, build, fetch_sources, find, manifest_files
from tests.cluster.tools.catalog import MANIFESTS, TOOLS


def main(names: list[str]) -> int:
    """Build, and print one line per tool."""
    wanted = names or list(TOOLS)
    unknown = [name for name in wanted if name not in TOOLS]
    if unknown:
        print(f"no such tool: {', '.join(unknown)}; there are {', '.join(TOOLS)}", file=sys.stderr)
        return 2
    try:
        if missing := [name for name in wanted if find(name) is None and TOOLS[name].group]:
            fetch_sources(missing)
        build(wanted, lambda text: print(text, flush=True))
        for name in MANIFESTS if not names else ():
            manifest_files(name)
    except Unavailable as err:
        print(f"the cluster's tools cannot be had here: {err}", file=sys.stderr)
        return 3
    for name in wanted:
        print(f"{name:25} {find(name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
