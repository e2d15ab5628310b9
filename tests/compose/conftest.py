"""The shop whose customers ask all the time, for the tests of this folder."""

from tests.support.kiosk import key, load

__all__ = ["key", "load"]
