"""Another version of every image, service by service, as docs/operate/compose.md says, under load."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import tenon
from tests.support.compose import Composed
from tests.support.docker import SERVICES, docker, image, inspect, need_image
from tests.support.kiosk import MODEL, TENANT, Load, all_logged, logged
from tests.support.ports import free_port
from tests.support.service_process import ROOT

pytestmark = pytest.mark.timeout(1800)

NEXT = f"{tenon.__version__}.next"


@pytest.fixture(scope="module", autouse=True)
def another_version() -> Iterator[None]:
    """The same images under another version's name."""
    for service in SERVICES:
        need_image(image(service))
    images = {image(service): image(service).replace(tenon.__version__, NEXT) for service in SERVICES}
    for now, name in images.items():
        docker("tag", now, name)
    yield
    for name in images.values():
        docker("image", "rm", "--force", name)


@pytest.fixture
def doubled(composed: Composed) -> Iterator[Composed]:
    """The platform with a second predictor."""
    settings = composed.settings
    composed.settings = {
        **settings,
        "COMPOSE_FILE": "docker-compose.yml:deploy/docker/two-predictors.yml",
        "TENON_PREDICTOR_B_PORT": str(free_port()),
        "TENON_PREDICTOR_B_GRPC_PORT": str(free_port()),
    }
    try:
        composed.up("predictor-b")
        yield composed
    finally:
        composed.compose("rm", "--stop", "--force", "--volumes", "predictor-b")
        docker("volume", "rm", f"{composed.project}_predictor-b")
        composed.settings = settings


def test_an_upgrade_in_the_documented_order_has_no_gap(doubled: Composed, key: str) -> None:
    """With two predictors behind a client that asks the other when the first refuses, nothing fails while all are replaced."""
    steps = re.findall(
        r"(?m)^docker compose up --wait ([a-z][a-z -]*?)(?: +#.*)?$", (ROOT / "docs/operate/compose.md").read_text()
    )
    assert {name for step in steps for name in step.split()} == {*SERVICES, "worker", "predictor-b"}
    doubled.settings = {**doubled.settings, "TENON_VERSION": NEXT}
    port = doubled.settings["TENON_PREDICTOR_B_PORT"]
    with Load(doubled.urls["predictor"], key, other=f"http://127.0.0.1:{port}") as load:
        load.wait(20)
        for step in steps:
            doubled.up(*step.split())
            load.wait(20)
    assert (load.failed, load.refused) == ([], 0)
    assert load.turned > 0
    for service in (*SERVICES, "worker", "predictor-b"):
        assert inspect(doubled.container(service))["Config"]["Image"].endswith(f":{NEXT}"), service


def test_everything_stopped_and_started_is_as_before(composed: Composed, load: Load) -> None:
    """`down` without `--volumes` and `up`, with the former images: tenants, versions, releases, lake and log are what they were."""
    load.__exit__()
    all_logged(composed, load)
    versions = composed.result("versions", MODEL, "--tenant", TENANT)["versions"]
    history = composed.result("release", "history", MODEL, "--tenant", TENANT)["releases"]
    composed.compose("down")
    composed.up()
    assert composed.result("versions", MODEL, "--tenant", TENANT)["versions"] == versions
    assert composed.result("release", "history", MODEL, "--tenant", TENANT)["releases"] == history
    assert logged(composed, load.answered)
    with Load(composed.urls["predictor"], load.key) as again:
        again.wait(10)
    assert again.failed == []
