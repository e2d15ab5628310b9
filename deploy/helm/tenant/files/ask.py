"""Asks each track of a tenant for a prediction and looks at who answered. Python's own library is all it needs."""

import json
import os
import sys
import urllib.error
import urllib.request

TENANT, TARGETS = os.environ["TENANT"], json.loads(os.environ["TARGETS"])
KEY = os.environ.get("TENON_API_KEY", "").strip()
GIVEN = json.loads(os.environ.get("INPUTS") or "{}")
NEUTRAL = {"BYTES": "0", "BOOL": False}
# What the platform knows better: history is looked up, and the time is now.
LEFT_OUT = ("history", "event_time")


def ask(url, body=None):
    """The answer of one request, as JSON."""
    headers = {"content-type": "application/json"}
    if KEY:
        headers["authorization"] = f"Bearer {KEY}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - the chart's own addresses
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        text = answer.read()
    return json.loads(text) if text.startswith(b"{") else {}


def row_for(described):
    """One row with the inputs that the model wants: what is given, and zeros where nothing is."""
    wanted = [item for item in described["inputs"] if item.get("parameters", {}).get("source") not in LEFT_OUT]
    return {
        "inputs": [
            {
                "name": item["name"],
                "datatype": item["datatype"],
                "shape": [1],
                "data": [GIVEN.get(item["name"], NEUTRAL.get(item["datatype"], 0))],
            }
            for item in wanted
        ]
    }


def check(target):
    """Raises when a track does not answer, or answers with another version than it is pinned to."""
    ask(f"{target['url']}/readyz")
    print(f"{target['url']} is ready")
    if not KEY:
        print("test.keySecret is not set: no prediction is asked for")
        return
    for pin in target["pins"]:
        path = f"{target['url']}/tenants/{TENANT}/v2/models/{pin['model']}"
        answer = ask(f"{path}/infer", row_for(ask(path)))
        version = answer["model_version"]
        # Under Flagger the wanted version is not yet the one that answers.
        if target["exact"] and version != str(pin["version"]):
            sys.exit(f"error: {pin['model']} is answered by version {version}, not {pin['version']}")
        print(f"{pin['model']} version {version} answered: {json.dumps(answer['outputs'])[:300]}")


for each in TARGETS:
    try:
        check(each)
    except urllib.error.HTTPError as err:
        sys.exit(f"error: {err.url}: {err.code} {err.read()[:500].decode('utf-8', 'replace')}")
    except OSError as err:
        sys.exit(f"error: {each['url']}: {err}")
