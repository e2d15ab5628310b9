"""How many examples a property is tried on: few in every run, many when somebody asks for it (`make test-properties`)."""

import os


def examples(usual: int) -> int:
    """The usual number times TENON_EXAMPLES (default 1)."""
    return max(1, round(usual * float(os.environ.get("TENON_EXAMPLES", "1"))))
