"""Chromium without a window, driven by its own protocol, for tests of pages."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest


class Browser:
    """A page in a browser whose camera shows ``camera``, a JPEG file; `requests` are the addresses that it
    asked, `faults` what its console complained of."""

    def __init__(self, folder: Path, camera: Path) -> None:
        client = pytest.importorskip("websockets.sync.client")
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None:
            pytest.skip("no Chromium here")
        film, log = folder / "camera.mjpeg", folder / "chromium.log"
        film.write_bytes(camera.read_bytes() * 30)
        with log.open("wb") as told:
            self._process = subprocess.Popen(
                [
                    program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                    "--remote-debugging-port=0", "--use-fake-ui-for-media-stream",
                    "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}",
                    f"--user-data-dir={folder / 'profile'}", "about:blank",
                ],
                stderr=told,
            )  # fmt: skip
        self.requests: list[str] = []
        self.faults: list[str] = []
        self._numbers = itertools.count(1)
        try:
            self._socket = client.connect(_page_of(log), max_size=None)
            for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
                self.call(f"{domain}.enable")
        except BaseException:
            self._process.kill()
            raise

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(30)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == number:
                assert "error" not in message, (method, message)
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        match message["method"]:
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            case "Runtime.exceptionThrown":
                self.faults.append(str(message["params"]))
            case "Log.entryAdded" if message["params"]["entry"]["source"] != "network":
                self.faults.append(message["params"]["entry"]["text"])

    def run(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        for _ in range(300):
            if self.run(script):
                return
            time.sleep(0.1)
        raise AssertionError(f"never true: {script}")

    def open(self, address: str, width: int, height: int, dark: bool) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 500)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=address)
        self.until("document.readyState == 'complete' && location.href != 'about:blank'")

    def choose(self, selector: str, file: Path) -> None:
        """Choose ``file`` in a form."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def picture(self) -> bytes:
        """PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


def _page_of(log: Path) -> str:
    """The address by which the browser's page is driven, once the browser is there."""
    import urllib.request

    for _ in range(300):
        found = re.search(r"DevTools listening on ws://(127\.0\.0\.1:\d+)/", log.read_text())
        if found:
            with urllib.request.urlopen(f"http://{found[1]}/json") as answer:
                targets = json.load(answer)
            return next(one["webSocketDebuggerUrl"] for one in targets if one["type"] == "page")
        time.sleep(0.1)
    raise AssertionError(log.read_text())
