"""The page at ``/`` in a real browser: a person draws, every live version says what it thinks."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.gateway_process import GatewayProcess, wait_until
from tests.emulators.small_serving import SmallServing, State

SHELL = 'read_from=$1; write_to=$2; shift 2; exec "$@" 3<&"$read_from" 4>&"$write_to"'


class Browser:
    """Chromium without a window, spoken to in the DevTools protocol over a pair of pipes."""

    def __init__(self, profile: Path) -> None:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None:
            said = "no browser: install chromium"
            if os.environ.get("CI") == "true":
                pytest.fail(said)
            pytest.skip(said)
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                SHELL,
                "bash",
                str(theirs_in),
                str(theirs_out),
                program,
                *options,
                f"--user-data-dir={profile}",
            ],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._out, self._in = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb")
        self._ids = itertools.count(1)
        self._received = b""
        self._session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {
            "sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        }

    def call(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params, **self._session}
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while True:
            while b"\0" not in self._received:
                more = self._in.read1(65536)
                assert more, "the browser went away"
                self._received += more
            first, self._received = self._received.split(b"\0", 1)
            answer = json.loads(first)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def mouse(self, kind: str, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def close(self) -> None:
        self.call("Browser.close") if not self._session else self._process.terminate()
        self._process.wait(10)
        self._out.close()
        self._in.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    found = Browser(tmp_path / "profile")
    yield found
    found.close()


@pytest.fixture
def gateway(
    serving: SmallServing, set_labels: Callable[..., None], start_gateway: Callable[..., GatewayProcess]
) -> GatewayProcess:
    serving.models["digits"] = {1: State.AVAILABLE, 2: State.AVAILABLE}
    set_labels(stable=2, previous=1)
    return start_gateway()


def test_a_drawn_digit_gets_ten_bars_from_every_live_version(
    gateway: GatewayProcess, browser: Browser
) -> None:
    browser.call("Page.navigate", url=f"http://127.0.0.1:{gateway.port}/")
    wait_until(
        lambda: browser.value("document.querySelectorAll('section.version').length") == 2, "two versions"
    )
    wait_until(lambda: browser.value("document.querySelectorAll('.row').length") == 20, "the blank is judged")
    box = browser.value("JSON.parse(JSON.stringify(document.getElementById('pad').getBoundingClientRect()))")
    before = gateway.metric("tidemill_gateway_requests_total")

    browser.mouse("mousePressed", box["x"] + 140, box["y"] + 40)
    for step in range(20):
        browser.mouse("mouseMoved", box["x"] + 140, box["y"] + 40 + step * 10)
    browser.mouse("mouseReleased", box["x"] + 140, box["y"] + 240)

    wait_until(lambda: gateway.metric("tidemill_gateway_requests_total") >= before + 2, "both were asked")
    assert browser.value("document.querySelectorAll('.row').length") == 20
    assert browser.value("document.querySelectorAll('.row.best').length") == 2
    assert browser.value("document.getElementById('said').textContent") == ""
    titles = browser.value("[...document.querySelectorAll('h2')].map((title) => title.textContent)")
    assert titles == ["Version 2 stable", "Version 1 previous"]
    inked = "ink.getImageData(140, 140, 1, 1).data[0]"
    assert browser.value(inked) == 255
    browser.value("document.getElementById('clear').click()")
    assert browser.value(inked) == 0
