"""The last known quotas as a JSON file, replaced atomically."""

from __future__ import annotations

from pathlib import Path

import orjson

from services.predictor.domain.quotas import Quota
from tenon.kit.telemetry import get_logger

log = get_logger(__name__)


class QuotasFile:
    """See `QuotaStore`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, Quota]:
        """What was saved; nothing when nothing was, or when it is not readable."""
        try:
            return {name: Quota(*given) for name, given in orjson.loads(self._path.read_bytes()).items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as err:
            log.warning("last known quotas are unreadable, starting without them", error=str(err))
            return {}

    def save(self, quotas: dict[str, Quota]) -> None:
        """Keep these and nothing else. A disk that refuses is logged: serving goes on."""
        temporary = self._path.with_suffix(".tmp")
        try:
            temporary.write_bytes(orjson.dumps({name: list(quota) for name, quota in quotas.items()}))
            temporary.replace(self._path)
        except OSError as err:
            log.warning("last known quotas could not be saved", error=str(err))
