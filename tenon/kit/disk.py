"""A full disk is nobody's mistake and passes: one refusal for it, wherever it is met."""

from __future__ import annotations

import errno

from tenon.core.errors import Unavailable

_FULL = (errno.ENOSPC, errno.EDQUOT)


def disk_full(error: BaseException) -> Unavailable | None:
    """The refusal that says so when `error` comes from a full disk, else None."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return out_of_space()
    return None


def out_of_space() -> Unavailable:
    """The refusal; its words fit every door, because what was not stored was not acknowledged."""
    return Unavailable(
        "DISK_FULL", "there is no space left on the service's disk; nothing was stored",
        hint="send it again when there is space",
    )  # fmt: skip
