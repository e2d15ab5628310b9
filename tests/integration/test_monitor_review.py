"""The review queue in a real browser and over the API: by keyboard alone, undo, resume, two experts, light and dark."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import redis

from tenon.cli.main import main
from tests.support.browser import Browser, Tab, chromium, needs_chromium
from tests.support.fakes_monitor import MonitorProcess, running, wait_for
from tests.support.monitor_pages import KEYS, pages_registry, pages_traffic
from tests.support.redis import redis_binary, running_redis

pytestmark = [
    needs_chromium,
    pytest.mark.skipif(redis_binary() is None, reason="there is no redis-server on this machine"),
]
PAGE = "/pages/tenants/north/models/readmission/review"
API = "/v1/tenants/north/models/readmission"


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitorProcess]:
    """A monitor with a week of traffic, half of it labelled."""
    registry = pages_registry()
    server, port = registry.start()
    try:
        with running_redis() as own:
            process = MonitorProcess(tmp_path_factory.mktemp("review"), own.url, port)
            for one in running(process):
                with redis.Redis.from_url(own.url) as client:
                    labels = pages_traffic(client, time.time_ns() // 1000, registry)
                with process.client(KEYS["north"]) as asker:
                    sent = {"labels": labels["north"]}

                    def matched(asker: httpx.Client = asker, sent: dict[str, Any] = sent) -> bool:
                        return bool(asker.post(f"{API}/labels", json=sent).json().get("unmatched") == 0)

                    wait_for(matched, "the traffic is in the log", log=process.log)
                yield one
    finally:
        server.stop(0)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the module."""
    with chromium() as found:
        yield found


def opened(browser: Browser, monitor: MonitorProcess, person: str, **size: Any) -> Tab:
    """A tab of somebody who signed in, on the queue; typed, never clicked."""
    tab = browser.open(f"{monitor.url}{PAGE}", **size)
    tab.evaluate("document.querySelector('#key').focus()")
    tab.type(KEYS["north"])
    tab.press("Tab")
    tab.type(person)
    tab.press("Enter")
    tab.wait(f"location.pathname === {PAGE!r} && document.readyState === 'complete'")
    return tab


def number(tab: Tab) -> str:
    """The id of the answer that is shown."""
    return str(tab.evaluate("document.querySelector('#item').dataset.prediction ?? ''"))


def press(tab: Tab, key: str, said: str) -> None:
    """Press a key and wait until the page says what became of it."""
    tab.press(key)
    try:
        tab.wait(f"document.querySelector('#said').textContent.includes({said!r})")
    except AssertionError as err:
        raise AssertionError(f"{err}; it says {tab.text('#said')!r}") from None


def test_one_key_a_decision_undo_and_resume(monitor: MonitorProcess, browser: Browser) -> None:
    """Yes, skip, no and undo by the keyboard alone; who comes back, and the API, find the queue where it was left."""
    tab = opened(browser, monitor, "Dr Grey")
    with monitor.client(KEYS["north"]) as client:
        before = client.get(f"{API}/review").json()
        ids = [item["prediction_id"] for item in before["items"]]
        assert number(tab) == ids[0]
        press(tab, "y", "Number 1 labelled yes")
        assert number(tab) == ids[1]
        press(tab, "s", "Number 2 skipped")
        press(tab, "n", "Number 3 labelled no")
        press(tab, "u", "number 3 is open again")
        assert number(tab) == ids[2]
        assert tab.evaluate("document.activeElement.id") == "why"
        after = client.get(f"{API}/review").json()
        assert (after["labelled"], after["skipped"], after["open"]) == (1, 1, before["open"] - 2)
        assert [item["prediction_id"] for item in after["items"][:3]] == ids[2:5]
        again = opened(browser, monitor, "Dr Grey")
        assert number(again) == ids[2]
        names = again.accessible()
        for name in ("Yes", "No", "Skip", "Undo my last"):
            assert any(role == "button" and name in found for role, found in names), name
        assert ("progressbar", "decided") in [(role, found) for role, found in names] or any(
            role.lower().startswith("progress") for role, _ in names
        )
        assert not tab.complaints
        assert {httpx.URL(url).host for url in tab.requests} == {"127.0.0.1"}


def test_two_experts_do_not_decide_twice(monitor: MonitorProcess, browser: Browser) -> None:
    """Who comes second is told so and goes on; nobody undoes another's decision."""
    first, second = opened(browser, monitor, "Dr Grey"), opened(browser, monitor, "Dr House")
    shown = number(second)
    with monitor.client(KEYS["north"]) as client:
        body = {"value": 1, "by": "Dr Grey"}
        assert client.post(f"{API}/review/{shown}", json=body).json()["decided_by"] == "Dr Grey"
        assert client.post(f"{API}/review/{shown}", json=body).status_code == 409
    press(second, "n", "was decided by Dr Grey")
    assert number(second) != shown
    press(second, "u", "has decided nothing")
    first.go(f"{monitor.url}{PAGE}")
    assert number(first) == number(second)


@pytest.mark.parametrize(("width", "height", "dark"), [(1400, 900, False), (1400, 900, True), (390, 844, False)])
def test_it_fits_wide_and_narrow_light_and_dark(
    monitor: MonitorProcess, browser: Browser, tmp_path: Path, width: int, height: int, dark: bool
) -> None:
    """Nothing runs out of the side, and the buttons are in sight on a desk."""
    tab = opened(browser, monitor, "Dr Grey", width=width, height=height, dark=dark)
    assert tab.evaluate(f"document.documentElement.scrollWidth <= {width}")
    if width > 1000:
        assert tab.evaluate("document.querySelector('.review-keys').getBoundingClientRect().bottom < innerHeight")
    folder = Path(os.environ.get("TENON_SCREENSHOTS", tmp_path))
    tab.screenshot(folder / f"review-{width}-{'dark' if dark else 'light'}.png")


def test_it_works_without_its_script(monitor: MonitorProcess) -> None:
    """Every decision is a form: a browser without scripts posts it and is led back to the queue."""
    with httpx.Client(base_url=monitor.url, follow_redirects=True, timeout=60) as client:
        client.post("/pages/sign-in", data={"key": KEYS["north"], "person": "Dr Plain", "next": PAGE})
        page = client.get(PAGE).text
        csrf = page.split('name="csrf" value="')[1].split('"')[0]
        one = page.split('data-prediction="')[1].split('"')[0]
        form = {"csrf": csrf, "prediction_id": one, "action": "label", "value": "1"}
        assert "labelled yes" in client.post(PAGE, data=form).text
        assert client.post(PAGE, data=form | {"csrf": "wrong"}).status_code == 403


def test_the_terminal_shows_the_same_queue(
    monitor: MonitorProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One key an answer, undo, and what is left waits; files by entity and time say what became of each row."""
    for name in ("REGISTRY", "INGEST", "FEATURES", "TRAINER", "PREDICTOR", "MONITOR"):
        monkeypatch.setenv(f"TENON_{name}_URL", monitor.url)
    monkeypatch.setenv("TENON_API_KEY", KEYS["north"])
    monkeypatch.setenv("TENON_TENANT", "north")
    with monitor.client(KEYS["north"]) as client:
        before = client.get(f"{API}/review").json()
        monkeypatch.setattr("sys.stdin", io.StringIO("y\nu\nn\nwhat\ns\nq\n"))
        assert main(["labels", "review", "readmission", "--by", "Dr Term"]) == 0
        said = capsys.readouterr().out
        assert f"number {before['items'][0]['rank']}  " in said
        assert before["items"][0]["why"] in said
        assert "'what' is no answer here" in said
        assert f"{before['open'] - 2} left, and waiting as they are" in said
        after = client.get(f"{API}/review").json()
        assert [item["prediction_id"] for item in after["items"]] == [
            item["prediction_id"] for item in before["items"][2:]
        ] + [item["prediction_id"] for item in after["items"][len(before["items"]) - 2 :]]
    assert main(["labels", "review", "readmission", "--json"]) == 0
    assert '"tenon.review/v1"' in capsys.readouterr().out


def test_files_by_entity_and_time(
    monitor: MonitorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command sends CSV and Parquet as they are, and says what waits."""
    for name in ("REGISTRY", "INGEST", "FEATURES", "TRAINER", "PREDICTOR", "MONITOR"):
        monkeypatch.setenv(f"TENON_{name}_URL", monitor.url)
    monkeypatch.setenv("TENON_API_KEY", KEYS["north"])
    monkeypatch.setenv("TENON_TENANT", "north")
    csv = tmp_path / "labels.csv"
    csv.write_text("age,ward,event_time,value\n41.5,surgery,2026-01-01T00:00:00Z,1\n")
    assert main(["labels", "upload", "readmission", str(csv)]) == 0
    assert capsys.readouterr().out == "1 accepted, 0 matched, 1 wait for their prediction\n"
    parquet = tmp_path / "labels.parquet"
    pl.read_csv(csv).write_parquet(parquet)
    assert main(["labels", "readmission", str(parquet), "--within", "1h"]) == 0
    assert "1 accepted" in capsys.readouterr().out
    csv.write_text("wing,event_time,value\nsurgery,2026-01-01T00:00:00Z,1\n")
    assert main(["labels", "upload", "readmission", str(csv)]) == 1
    assert "the model is not asked by 'wing'" in capsys.readouterr().err
