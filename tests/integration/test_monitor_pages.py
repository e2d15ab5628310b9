"""Monitor's pages in a real browser: signing in, what a person sees first, and what nobody else may see."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import httpx
import pytest
import redis

from tests.support.browser import Browser, Tab, chromium, needs_chromium
from tests.support.fakes_monitor import ADMIN_KEY, MonitorProcess, running, wait_for
from tests.support.monitor_pages import KEYS, pages_registry, pages_traffic
from tests.support.redis import redis_binary, running_redis

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    needs_chromium,
    pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine"),
]


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitorProcess]:
    """One monitor that has seen three tenants' traffic and judged it."""
    registry = pages_registry()
    server, port = registry.start()
    try:
        with running_redis() as own:
            process = MonitorProcess(
                tmp_path_factory.mktemp("pages"), own.url, port, TENON_MONITOR_INCIDENT_SECONDS="1"
            )
            for running_process in running(process):
                with redis.Redis.from_url(own.url) as client:
                    labels = pages_traffic(client, time.time_ns() // 1000, registry)
                with process.client(ADMIN_KEY) as client_of:
                    _send(client_of, labels, process.log)
                yield running_process
    finally:
        server.stop(0)


def _send(client: httpx.Client, labels: dict[str, list[dict[str, object]]], log: Path) -> None:
    for tenant, records in labels.items():
        path = f"/v1/tenants/{tenant}/models/readmission/labels"
        assert client.post(path, json={"labels": records}).status_code == 200, tenant

    def judged() -> bool:
        found = [client.get(f"/v1/tenants/{tenant}/models").json()["models"] for tenant in KEYS]
        verdicts = [seen["latest_verdict"] for models in found for seen in models]
        return len(verdicts) == 3 and all(one and one["predictions"] >= 400 for one in verdicts)

    wait_for(judged, "all models are judged", log=log)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the module."""
    with chromium() as running_browser:
        yield running_browser


def sign_in(tab: Tab, key: str, person: str = "") -> None:
    """Fill in the form as a person does."""
    tab.click("#key")
    tab.type(key)
    tab.press("Tab")
    tab.type(person)
    tab.press("Enter")
    tab.wait("document.readyState === 'complete' && !location.pathname.endsWith('/sign-in')")


def sound(tab: Tab, page: str) -> None:
    """What a screen reader needs: a title, one first heading and none left out below it, names for fields and pictures, table
    headings that say for what, and a way past the header."""
    assert tab.evaluate("document.title").endswith(" · Tenon"), page
    levels = tab.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(one => +one.tagName[1])")
    assert levels.count(1) == 1, (page, levels)
    assert levels[0] == 1, page
    assert all(after <= before + 1 for before, after in pairwise(levels)), (page, levels)
    nameless = tab.evaluate(
        "[...document.querySelectorAll('input:not([type=hidden]),select,textarea')].filter(one => !one.labels?.length"
        " && !one.getAttribute('aria-label')).map(one => one.outerHTML)"
    )
    assert not nameless, (page, nameless)
    assert not tab.evaluate(
        "[...document.querySelectorAll('svg')].filter(one => !one.getAttribute('aria-label')).length"
    )
    assert not tab.evaluate(
        "[...document.querySelectorAll('table')].filter(one => !one.querySelector('caption')).length"
    )
    assert not tab.evaluate("[...document.querySelectorAll('th')].filter(one => !one.scope).length"), page
    assert tab.evaluate("document.querySelector('a.skip').getAttribute('href')") == "#main", page
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids)), page


def test_the_fleet_at_a_glance(monitor: MonitorProcess, browser: Browser) -> None:
    """The operator signs in and sees without scrolling what serves, for whom, the canary's share, the worst first and what to do."""
    tab = browser.open(f"{monitor.url}/")
    assert tab.evaluate("location.pathname") == "/pages/sign-in"
    sign_in(tab, ADMIN_KEY, "Ada Lovelace")
    assert tab.evaluate("location.pathname") == "/pages"
    text = tab.text("main")
    rows = tab.evaluate("[...document.querySelectorAll('tbody tr')].map(row => row.innerText)")
    assert "north" in rows[0]
    assert "drift" in rows[0]
    assert "canary v2 10 %" in text
    assert "Ada Lovelace" in tab.text("header")
    assert tab.evaluate("document.documentElement.scrollHeight <= 900 && document.documentElement.scrollWidth <= 1400")
    assert ADMIN_KEY not in tab.evaluate("document.documentElement.outerHTML + location.href + document.cookie")
    assert not tab.complaints
    assert {httpx.URL(url).host for url in tab.requests} == {"127.0.0.1"}
    assert tab.received < 300_000
    assert ("button", "Sign out") in tab.accessible()
    tab.click("header button")
    tab.wait("location.pathname === '/pages/sign-in'")


def test_a_tenant_sees_its_own(monitor: MonitorProcess, browser: Browser) -> None:
    """A tenant's key leads to its own page; another tenant's looks exactly like one that does not exist."""
    tab = browser.open(f"{monitor.url}/pages")
    sign_in(tab, KEYS["south"])
    assert tab.evaluate("location.pathname") == "/pages/tenants/south"
    for page in ("tenants/north", "tenants/north/models/readmission"):
        tab.go(f"{monitor.url}/pages/{page}")
        assert tab.text("h1") == "There is no tenant 'north'."
        assert "readmission" not in tab.text("main")
    missing = "tenants/nowhere"
    tab.go(f"{monitor.url}/pages/{missing}")
    assert tab.text("h1") == "There is no tenant 'nowhere'."


def test_a_wrong_key_and_a_strangers_form(monitor: MonitorProcess) -> None:
    """A wrong key is told so and gets no cookie; a form from elsewhere, or without its token, changes nothing."""
    with httpx.Client(base_url=monitor.url, timeout=60) as client:
        refused = client.post("/pages/sign-in", data={"key": "wrong"})
        assert refused.status_code == 401
        assert "not valid" in refused.text
        assert not client.cookies
        stranger = client.post(
            "/pages/sign-in", data={"key": KEYS["north"]}, headers={"origin": "https://evil.example"}
        )
        assert (stranger.status_code, dict(client.cookies)) == (403, {})
        given = client.post("/pages/sign-in", data={"key": KEYS["north"]}).headers["set-cookie"].lower()
        assert all(part in given for part in ("httponly", "samesite=strict", "path=/pages", "tenon_session="))
        assert client.post("/pages/sign-out", data={}).status_code == 403
        assert client.get("/v1/tenants/north/models").status_code == 401  # The cookie opens pages only.


def test_an_incident_is_taken_and_given_back(monitor: MonitorProcess, browser: Browser) -> None:
    """From the fleet's button to the incident's page: who is at it stands there under the signed-in name, as the API tells it."""
    with monitor.client(ADMIN_KEY) as client:
        wait_for(lambda: client.get("/v1/incidents").json()["incidents"], "an incident is open", log=monitor.log)
        tab = browser.open(f"{monitor.url}/pages")
        sign_in(tab, ADMIN_KEY, "Ada Lovelace")
        tab.click("form.inline button")
        tab.wait("location.pathname.startsWith('/pages/incidents/') && !!document.querySelector('#said')")
        assert tab.text("#said") == "Acknowledged."
        assert "Ada Lovelace has acknowledged it" in tab.text("main")
        assert {"What moved", "What happened", "Who is at it"} <= {
            name for role, name in tab.accessible() if role == "heading"
        }
        taken = tab.evaluate("location.pathname").rpartition("/")[2]
        assert client.get(f"/v1/incidents/{taken}").json()["note"]["who"] == "Ada Lovelace"
        tab.click("main form button")
        tab.wait("document.querySelector('#said')?.innerText === 'Taken back.'")
        tab.evaluate("document.querySelector('select').value = '3d'")
        tab.click("main form:nth-of-type(2) button")
        tab.wait("document.querySelector('#said')?.innerText === 'Nothing more of it for three days.'")
        assert client.get(f"/v1/incidents/{taken}").json()["note"]["action"] == "snoozed"
        assert not tab.complaints
    tab.go(f"{monitor.url}/pages/incidents?state=all")
    assert "snoozed by Ada Lovelace" in tab.text("table")
    stranger = browser.open(f"{monitor.url}/pages")
    sign_in(stranger, KEYS["west"])
    stranger.go(f"{monitor.url}/pages/tenants/west/incidents/{taken}")
    assert "no incident" in stranger.text("h1")


@pytest.mark.parametrize("dark", [False, True])
def test_a_narrow_screen_needs_no_sideways_scrolling(monitor: MonitorProcess, browser: Browser, dark: bool) -> None:
    """On a telephone the page itself is as wide as the screen, in light and dark."""
    tab = browser.open(f"{monitor.url}/pages", width=390, height=844, dark=dark)
    sign_in(tab, KEYS["north"])
    for page in (
        "tenants/north", "tenants/north/models/readmission", "tenants/north/models/readmission/quality",
        "tenants/north/models/readmission?known_at=2026-01-01T00:00", "tenants/north/incidents?state=all",
        "tenants/north/models/readmission/review",
    ):  # fmt: skip
        tab.go(f"{monitor.url}/pages/{page}")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390, page
        sound(tab, page)
        assert not tab.complaints, page
