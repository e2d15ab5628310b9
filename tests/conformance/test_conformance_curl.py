"""The page docs/how-to/ask-with-curl.md, run line by line with the machine's own curl."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import Any

import pytest

from tests.support.environments import ROOT, must_run
from tests.support.predictor_bundles import KEYS
from tests.support.predictor_process import PredictorProcess

PAGE = ROOT / "docs" / "how-to" / "ask-with-curl.md"
DOORS = ROOT / "services" / "predictor" / "README.md"
_STEP = re.compile(r"^```sh\n(.*?)^```\n```(json|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANY = "…"
STEPS = _STEP.findall(PAGE.read_text())


def differs(got: Any, wanted: Any, where: str = "") -> str:
    """Where an answer is not what the page says; `…` stands for any value, as a key for any further keys."""
    if wanted == _ANY:
        return ""
    if isinstance(wanted, dict) and isinstance(got, dict):
        if _ANY not in wanted and got.keys() != wanted.keys():
            return f"{where}: has {sorted(got)}, not {sorted(wanted)}"
        pairs = [(got.get(name), value, f"{where}.{name}") for name, value in wanted.items() if name != _ANY]
    elif isinstance(wanted, list) and isinstance(got, list):
        if wanted == [_ANY]:
            return ""
        if len(got) != len(wanted):
            return f"{where}: {len(got)} entries, not {len(wanted)}"
        pairs = [(*pair, f"{where}[{place}]") for place, pair in enumerate(zip(got, wanted, strict=True))]
    else:
        return "" if got == wanted and type(got) is type(wanted) else f"{where}: {got!r}, not {wanted!r}"
    return next((found for pair in pairs if (found := differs(*pair))), "")


@pytest.fixture(autouse=True)
def curl() -> None:
    """The tests need curl; in CI it must be there."""
    if shutil.which("curl") is None and not must_run():
        pytest.skip("there is no curl")


@pytest.mark.parametrize(
    ("command", "form", "answer"), STEPS, ids=[step[0].split("$PREDICTOR")[-1][:40].split(" ")[0] for step in STEPS]
)
def test_page_says_what_curl_gets(predictor: PredictorProcess, command: str, form: str, answer: str) -> None:
    """Each call of the page has the answer that stands below it."""
    told = {"PREDICTOR": predictor.url, "KEY": KEYS["acme"], "no_proxy": "*", "PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", "-c", command], env=told, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    if form == "text":
        assert done.stdout.split() == answer.split()
    else:
        found = differs(json.loads(done.stdout), json.loads(answer))
        assert not found, f"{found}\nin {done.stdout}"


def test_every_door_is_on_the_page() -> None:
    """Each path that the predictor's README lists is asked on the page at least once."""
    asked = " ".join(step[0] for step in STEPS)
    section = DOORS.read_text().partition("## Doors")[2].partition("\n## ")[0]
    table = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    paths = re.findall(r"`(?:GET |POST )?(/[^`]*)`", table)
    assert "/v2/health/live" in paths
    for path in paths:
        # [/versions/{version}] may be left out, {model} is any name.
        pattern = re.sub(r"\{\w+\}", r"\\w+", path.replace("[", "(?:").replace("]", ")?"))
        assert re.search(rf"(?:\$PREDICTOR|\s){pattern}(?=\s)", asked), f"{path} is not asked on {PAGE.name}"
