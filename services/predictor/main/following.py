"""What tells a replica which versions to serve, and tells the registry which it does."""

from __future__ import annotations

import gc
import time

from services.predictor import metrics
from services.predictor.clients.pinned import PinnedSource
from services.predictor.clients.registry import RegistryReporter, ReleaseWatch
from services.predictor.domain.pins import Pin
from services.predictor.main.answering import Answering
from services.predictor.settings import PredictorSettings
from tenon.kit.memory import settle
from tenon.kit.process import Background, Periodic

_COLLECT_SECONDS = 10.0


class Following:
    """Watches the registry (or the pins) for what should serve, and reports what does."""

    def __init__(self, settings: PredictorSettings, answering: Answering, replica: str, pins: list[Pin]) -> None:
        follower, registry = answering.follower, answering.registry
        # A pinned replica answers for its own versions; a release is not its concern.
        self.reporter = RegistryReporter(
            registry, replica, [f"{pin.key.tenant}/{pin.key.model}@{pin.version}" for pin in pins]
        )
        report = Periodic("report", lambda: self.reporter.report(follower.state()), 5.0)
        # A registry that has just come (back) hears at once what is served, instead of at the next tick.
        watch: ReleaseWatch | PinnedSource
        if pins:
            known = answering.releases.load()
            desired = known.desired if known else ()
            watch = PinnedSource(pins, registry, follower, answering.bundles, desired, report.trigger)
        else:
            watch = ReleaseWatch(registry, follower, settings.predictor_tenants, report.trigger)
        metrics.RELEASES_CONNECTED.set_function(lambda: float(watch.connected))
        collected = 0.0

        def changed() -> None:
            # What was loaded stays for long; leaving it out of later collections keeps their pauses short. Looking
            # through all that was left out before takes its time with many models, and is not done at every release.
            nonlocal collected
            if time.monotonic() - collected > _COLLECT_SECONDS:
                settle()
                collected = time.monotonic()
            else:
                gc.freeze()
            report.trigger()

        follower.on_change = changed
        self.background: list[Background] = [follower, watch, report]
