"""Asks each address whether it is ready, for at most two minutes: ADDRESSES="http://tenon-registry:8080 …"."""

import os
import sys
import time
import urllib.request

deadline, failed = time.monotonic() + 120, 0
for address in os.environ["ADDRESSES"].split():
    while True:
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=5) as answer:  # noqa: S310 - the chart's own addresses
                said, ready = str(answer.status), answer.status == 200
        except OSError as err:
            # What a service that is not ready lacks stands in the body.
            said, ready = f"{err} {err.read(2000).decode() if hasattr(err, 'read') else ''}", False
        if ready or time.monotonic() > deadline:
            break
        time.sleep(1)
    print(address, "is ready" if ready else f"is not ready: {said}", flush=True)
    failed += not ready
sys.exit(failed > 0)
