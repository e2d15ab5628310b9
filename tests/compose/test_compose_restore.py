"""What a platform keeps outlives it: a copy restored on an empty host, and what an empty Redis costs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.compose import Composed
from tests.support.docker import docker
from tests.support.kiosk import MODEL, TENANT, Load, logged
from tests.support.platform import eventually
from tests.support.service_process import ROOT

pytestmark = pytest.mark.timeout(1800)


def test_an_empty_redis_is_filled_again(composed: Composed, load: Load) -> None:
    """Everything in Redis is deleted under load: no prediction fails, online values are built again, what was in the log
    stays there, and a training is queued and done."""
    before = list(load.answered)
    eventually(lambda: logged(composed, before), "monitor knows what was answered before", seconds=180)
    conf = "/run/secrets/redis.conf"
    script = f'redis-cli -a "$(sed -n "s/^requirepass //p" {conf})" --no-auth-warning flushall'
    load.levels.clear()
    assert docker("exec", composed.container("redis"), "sh", "-c", script) == "OK"
    # Nobody may mistake an empty store for entities without a history.
    eventually(lambda: load.levels - {"fresh"}, "answers say that history is missing")
    load.levels.clear()
    eventually(lambda: "fresh" in load.levels, "history is looked up again", seconds=180)
    assert (load.failed, load.refused) == ([], 0)
    composed.result("train", MODEL, "--wait", "--tenant", TENANT)
    before = list(load.answered)[-10:]
    eventually(lambda: logged(composed, before), "monitor goes on reading the log", seconds=180)


def test_a_copy_is_restored_on_an_empty_host(composed: Composed, load: Load, tmp_path: Path) -> None:
    """While it is made no prediction fails; with every volume and secret gone it brings back tenants, versions, releases,
    lake and log, and a damaged copy or a host with a platform is refused."""
    copy, kept = tmp_path / "copy", tmp_path / "kept"
    before = list(load.answered)
    eventually(lambda: logged(composed, before), "monitor knows what was answered before the copy", seconds=180)
    versions = composed.result("versions", MODEL, "--tenant", TENANT)["versions"]
    history = composed.result("release", "history", MODEL, "--tenant", TENANT)["releases"]
    run(composed, "backup.sh", copy)
    load.wait(10)
    load.__exit__()
    assert (load.failed, load.refused) == ([], 0)
    with pytest.raises(AssertionError, match="there is a platform here"):
        run(composed, "restore.sh", copy)
    composed.compose("down", "--volumes")
    composed.secrets.rename(kept)
    (copy / "SHA256SUMS").rename(tmp_path / "sums")
    with pytest.raises(AssertionError, match="no finished copy"):
        run(composed, "restore.sh", copy)
    (tmp_path / "sums").rename(copy / "SHA256SUMS")
    run(composed, "restore.sh", copy)
    for path in kept.iterdir():
        restored = composed.secrets / path.name
        assert (restored.read_bytes(), restored.stat().st_mode) == (path.read_bytes(), path.stat().st_mode)
    assert composed.result("versions", MODEL, "--tenant", TENANT)["versions"] == versions
    assert composed.result("release", "history", MODEL, "--tenant", TENANT)["releases"] == history
    assert logged(composed, before)
    with Load(composed.urls["predictor"], load.key) as again:
        eventually(lambda: "fresh" in again.levels, "history is looked up", seconds=180)
    assert again.failed == []
    composed.result("train", MODEL, "--wait", "--tenant", TENANT)


def run(composed: Composed, script: str, folder: Path) -> None:
    """One of the scripts, as its user runs it."""
    environment = os.environ | composed.settings | {"COMPOSE_PROJECT_NAME": composed.project}
    done = subprocess.run(
        [ROOT / "deploy/docker" / script, folder], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
