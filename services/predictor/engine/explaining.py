"""Explainers, made from the bundle when a version is first asked to explain, and kept while there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from services.predictor.domain.model import Served
from services.predictor.engine.loader import Cache
from tenon.bundle import Explainer, load_explainer, open_bundle
from tenon.bundle.contributions import unavailable
from tenon.core.errors import Invalid
from tenon.core.tenancy import TenantId

if TYPE_CHECKING:
    from tenon.bundle.keys import Verifier

_Key = tuple[str, bool]


class BundleExplainers:
    """See `Explainers`. The covers that a forest is explained by lie in its bundle, not in memory; versions that nobody
    asks to explain cost nothing. The least recently used go first when `max_bytes` are full."""

    def __init__(
        self,
        download: Callable[[TenantId, str, int], bytes],
        cache: Cache,
        verify_key: Verifier,
        *,
        max_bytes: int = 64 << 20,
    ) -> None:
        self._download = download
        self._cache = cache
        self._verify_key = verify_key
        self._max_bytes = max_bytes
        self._known: OrderedDict[_Key, Explainer] = OrderedDict()
        self._making: dict[_Key, threading.Lock] = {}
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of all that are kept."""
        with self._lock:
            return sum(map(_size, self._known.values()))

    def of(self, served: Served, *, without_history: bool) -> Explainer:
        """See `Explainers`; of several callers one makes it, the others wait."""
        key = (served.sha256, without_history)
        found = self._get(key)
        if found is not None:
            return found
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        try:
            with making:
                found = self._get(key)
                if found is None:
                    found = self._make(served, without_history)
                    self._put(key, found)
                return found
        finally:
            with self._lock:
                self._making.pop(key, None)

    def _get(self, key: _Key) -> Explainer | None:
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
            return found

    def _put(self, key: _Key, explainer: Explainer) -> None:
        with self._lock:
            self._known[key] = explainer
            total = sum(map(_size, self._known.values()))
            while total > self._max_bytes and len(self._known) > 1:
                _, dropped = self._known.popitem(last=False)
                total -= _size(dropped)

    def _make(self, served: Served, without_history: bool) -> Explainer:
        data = self._cache.get(served.sha256)
        if data is None:
            data = self._download(served.tenant, served.model, served.version)
        try:
            bundle = open_bundle(data, self._verify_key, sha256=served.sha256)
            return load_explainer(bundle, without_history=without_history)
        except Invalid as err:
            # The version answers, so this is no fault of the request.
            raise unavailable(err.message) from err


def _size(explainer: Explainer) -> int:
    return explainer.nbytes + explainer.evaluator.nbytes
