"""The hospital demo, told on the containers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.compose import Composed
from tests.support.service_process import ROOT

pytestmark = pytest.mark.timeout(1800)


def test_the_demo_is_told_unchanged(composed: Composed) -> None:
    """Every fact holds through the same public doors, features killed and started again included."""
    compose = f"docker compose --project-name {composed.project} --env-file {os.devnull} --profile core"
    done = subprocess.run(
        [
            sys.executable, "-m", "examples.hospital.demo", "--scale", "0.25",
            "--target", str(composed.secrets / "operator.env"),
            "--kill", f"{compose} kill", "--start", f"{compose} up --wait",
        ],
        cwd=ROOT, env=os.environ | composed.settings, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + composed.logs()
    assert "facts held" in done.stdout
    assert "✗" not in done.stdout
    assert "was started again, and answers are fresh again" in done.stdout
    status = composed.result("status")
    assert status["ok"] is True
