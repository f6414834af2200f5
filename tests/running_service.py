"""Run ``facekd serve`` as a process, for its tests."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx2


class Running:
    """``facekd serve`` in a process of its own, and a client of it."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        self.port = self._wait_for_port()
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def _wait_for_port(self) -> int:
        for _ in range(600):
            found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", self.log())
            if found:
                return int(found[1])
            assert self.process.poll() is None, self.log()
            time.sleep(0.1)
        raise AssertionError(self.log())

    def log(self) -> str:
        return self._log.read_text()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def resident(self) -> int:
        """Bytes of memory that it holds."""
        return self._of_status("VmRSS")

    def peak(self) -> int:
        """Bytes of memory that it held at most."""
        return self._of_status("VmHWM")

    def _of_status(self, what: str) -> int:
        told = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+)", told)[1]) * 1024
