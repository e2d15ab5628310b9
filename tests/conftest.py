"""What every suite shares: markers by folder, and the real data sets where they are at hand."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from tests.support.compose import composed
from tests.support.platform import Platform, running_platform
from tests.support.postgres import postgres_server, postgres_url

__all__ = ["composed", "postgres_server", "postgres_url"]  # fixtures, for every suite

ROOT = Path(__file__).resolve().parent.parent
# A test in tests/integration is marked `integration` without saying so; pyproject.toml declares the markers.
SUITES = ("conformance", "contract", "integration", "e2e", "cluster", "compose")
# Files that take longest, the longest first: begun late, one of them keeps a single process busy when the others are done.
LONGEST = (
    "test_demo_path.py",
    "test_observability_panels.py",
    "test_conformance_clients.py",
    "test_ingest_survives.py",
    "test_migrating.py",
    "test_up_platform.py",
    "test_edge.py",
    "test_contract_every_door.py",
    "test_draining.py",
    "test_conformance_schemathesis.py",
    "test_predictor_endurance.py",
    "test_trainer_runs.py",
    "test_up_supervisor.py",
    "test_tls_doors.py",
    "test_no_leak.py",
    "test_own_data.py",
    "test_features_service.py",
    "test_features_service_doors.py",
    "test_kernel_compilers.py",
    "test_beside_tomorrow.py",
    "test_key_rotation.py",
    "test_contract_metrics.py",
    "test_contract_odd_values.py",
    "test_jwt_doors.py",
    "test_ingest_service.py",
    "test_monitor_incidents.py",
    "test_trainer_training.py",
    "test_trainer_without_history.py",
    "test_features_histories.py",
)


def data_folder() -> Path:
    """The folder of the real data sets: TENON_TEST_DATA, by default beside the repository."""
    return Path(os.environ.get("TENON_TEST_DATA", ROOT / "../shared/data")).resolve()


def pytest_configure(config: pytest.Config) -> None:
    """Build the C kernels anew when their sources have changed since; once, before any worker starts."""
    # How long an example takes says how busy the machine is, nothing about the code. Examples are the same in every run, so that
    # a run tells something about the change it is made for; `make test-properties` looks for new ones.
    explores = "TENON_EXAMPLES" in os.environ
    settings.register_profile(
        "tenon", deadline=None, derandomize=not explores, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("tenon")
    if not explores:
        # It also tries the constants of every module imported so far: other ones on each worker and after each change.
        providers._get_local_constants = lambda: providers._local_constants
    if hasattr(config, "workerinput"):
        return
    # Looked at in a process of its own: a library once loaded cannot be replaced.
    stale = (
        "from tenon.bundle.compiled import kernel_type; from tenon.windows.program import compiled_module; "
        "import sys; sys.exit(kernel_type() is None or compiled_module() is None)"
    )
    if subprocess.run([sys.executable, "-c", stale], cwd=ROOT, capture_output=True, check=False).returncode:
        subprocess.run([sys.executable, "-m", "tenon.native.build"], cwd=ROOT, capture_output=True, check=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their suite, skip those that need data which is not here, and put the longest files first."""
    absent = not data_folder().is_dir()
    place = {name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))
    for item in items:
        parts = item.path.relative_to(ROOT).parts if item.path.is_relative_to(ROOT) else ()
        if len(parts) > 1 and parts[1] in SUITES:
            item.add_marker(parts[1])
        if absent and item.get_closest_marker("data"):
            item.add_marker(
                pytest.mark.skip(reason="the real data sets are absent; set TENON_TEST_DATA to their folder")
            )


def pytest_collection_finish() -> None:
    """Modules and collected tests live as long as the session: the garbage collector need not walk through them each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_sets() -> Path:
    """The folder of the real data sets; the test is skipped where it is absent."""
    folder = data_folder()
    if not folder.is_dir():
        pytest.skip("the real data sets are absent; set TENON_TEST_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Platform]:
    """One platform for the whole session, started when first asked for; each test takes tenants of its own. With
    TENON_TEST_PLATFORM=compose it is the one of docker-compose.yml."""
    if os.environ.get("TENON_TEST_PLATFORM") == "compose":
        yield request.getfixturevalue("composed")
        return
    with running_platform(tmp_path_factory.mktemp("platform") / "data") as running:
        yield running
