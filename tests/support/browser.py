"""A real browser for tests: headless Chromium, driven over its own protocol (CDP) by one WebSocket. No driver to install."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

_SECONDS = 120.0
_KEYS = {
    "Enter": (13, "\r"),
    "Tab": (9, ""),
    "Escape": (27, ""),
    "ArrowDown": (40, ""),
    "ArrowUp": (38, ""),
    " ": (32, " "),
}


def chromium_binary() -> str | None:
    """The machine's Chromium, None when there is none."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


needs_chromium = pytest.mark.skipif(
    chromium_binary() is None and not os.environ.get("CI"),
    reason="there is no chromium on this machine (apt-get install chromium)",
)
"""For tests that look at pages; in CI its absence is a failure."""


@dataclass
class Tab:
    """One page. Everything waits until it has happened, or fails after a deadline."""

    _socket: ClientConnection
    _session: str
    _numbers: Iterator[int]
    requests: list[str] = field(default_factory=list)
    """Addresses that the page asked for, in order."""
    complaints: list[str] = field(default_factory=list)
    """What the browser's console reports: errors of scripts, refusals by the content security policy."""
    received: int = 0
    """Bytes that came over the network, headers included."""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "sessionId": self._session, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=_SECONDS))
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Network.loadingFinished":
                self.received += int(params["encodedDataLength"])
            case "Log.entryAdded" if params["entry"]["level"] in {"error", "warning"}:
                self.complaints.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(params["exceptionDetails"].get("exception", {}).get("description", "exception"))
            case _:
                pass

    def go(self, url: str) -> None:
        """Load an address."""
        marked = f"tenon-{next(self._numbers)}"
        self.evaluate(f"window.__before = {marked!r}")
        failed = self.call("Page.navigate", url=url).get("errorText")
        assert not failed, f"{url}: {failed}"
        self.wait(f"document.readyState === 'complete' && window.__before !== {marked!r}")

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """The window's size, and whether its owner likes it dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def evaluate(self, script: str) -> Any:
        """What an expression of JavaScript gives; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = _SECONDS) -> None:
        """Until an expression is true."""

        def holds() -> bool:
            try:
                return bool(self.evaluate(condition))
            except AssertionError:
                return False  # The page is being replaced at this moment.

        _until(holds, f"the page did not come to {condition}: {self.complaints}", seconds)

    def text(self, selector: str = "body") -> str:
        """What is written in the first element that matches."""
        return str(self.evaluate(f"document.querySelector({selector!r})?.innerText ?? ''"))

    def click(self, selector: str) -> None:
        """Press an element as a person would, with the mouse."""
        script = (
            f"(() => {{const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});"
            "const r = e.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]})()"
        )
        x, y = self.evaluate(script)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Write into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release one key: a character, or Enter, Tab, Escape, ArrowDown, ArrowUp."""
        code, text = _KEYS.get(key, (ord(key.upper()[0]), key))
        common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """What is to be seen, as PNG; `whole`: what lies below the window, too."""
        image = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(image["data"]))

    def accessible(self) -> list[tuple[str, str]]:
        """Role and name of everything a screen reader tells of."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored") and "role" in node
        ]


@dataclass
class Browser:
    """A running Chromium, without any memory of earlier ones."""

    _socket: ClientConnection
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def open(self, url: str = "about:blank", *, width: int = 1400, height: int = 900, dark: bool = False) -> Tab:
        """A new tab with cookies of its own. One at a time is used."""
        context = self._ask("Target.createBrowserContext")["browserContextId"]
        target = self._ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self._socket, session, self._numbers)
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            tab.call(f"{domain}.enable")
        tab.size(width, height, dark=dark)
        if url != "about:blank":
            tab.go(url)
            tab.requests = [one for one in tab.requests if not one.startswith("about:")]
        return tab

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=_SECONDS))
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile that asks nobody but the addresses it is given; ended whatever happens."""
    binary = chromium_binary()
    assert binary is not None, "there is no chromium on this machine (apt-get install chromium)"
    with tempfile.TemporaryDirectory(prefix="tenon-chromium-", ignore_cleanup_errors=True) as profile:
        command = [
            binary, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}", "--no-first-run",
            "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--disable-extensions", "--no-default-browser-check", "--hide-scrollbars", "--mute-audio",
            "--no-proxy-server", "--force-color-profile=srgb", "--lang=en-US",
            # Root has no sandbox of its own to give; the pages are ours.
            *(["--no-sandbox"] if os.geteuid() == 0 else []), "about:blank",
        ]  # fmt: skip
        log = Path(profile) / "chromium.log"
        with log.open("wb") as out:
            # A session of its own, so that its many processes can be ended together.
            process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            port_file = Path(profile) / "DevToolsActivePort"

            def started() -> bool:
                assert process.poll() is None, log.read_text(errors="replace")[-2000:]
                return port_file.exists() and len(port_file.read_text().split()) == 2

            _until(started, "chromium does not start", _SECONDS)
            port, path = port_file.read_text().split()
            # An answer may be a screenshot, which is larger than the library's cap.
            with connect(f"ws://127.0.0.1:{port}{path}", max_size=64 << 20, proxy=None) as socket:
                yield Browser(socket)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=180)


def _until(condition: Callable[[], bool], otherwise: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)
