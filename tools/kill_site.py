"""The processes that `drill_kills.py` kills and restarts: a database server, a service and writers."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import httpx2
import psycopg

if TYPE_CHECKING:
    from postgres_server import PostgresServer

ROOT = Path(__file__).resolve().parent.parent
#: the time limit in seconds for any step
PATIENCE = 900


class Site:
    """A server, a service over a gallery in it, and writers, all of which can be killed."""

    def __init__(self, folder: Path, model: Path, server: PostgresServer) -> None:
        self.folder, self.server = folder, server
        self.gallery = server.new_database()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.model = model
        self._service: subprocess.Popen[bytes] | None = None
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        #: of writers that ask the service, by person
        self.photos: dict[int, dict[int, list[Path]]] = {}

    def close(self) -> None:
        for process in (*self._running.values(), self._service):
            if process is not None:
                process.kill()
                process.wait()

    def start_service(self) -> None:
        command = [sys.executable, "-m", "facekd", "serve", "--port", self.port, "--model", self.model,
                   "--gallery", self.gallery, "--workers", "2"]  # fmt: skip
        with (self.folder / "service.log").open("ab") as log:
            self._service = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)

    @property
    def has_service(self) -> bool:
        return self._service is not None

    def wait_for_service(self) -> None:
        """Wait until the gallery can be used through the service."""

        def ready() -> bool:
            with contextlib.suppress(httpx2.TransportError):
                return bool(httpx2.get(f"{self.address}/readyz", timeout=60).status_code == 200)
            return False

        until(ready, lambda: (self.folder / "service.log").read_text())

    def log(self, writer: int) -> Path:
        return self.folder / f"writer{writer}.log"

    def start_writer(self, writer: int, changes: list[tuple[str, int]]) -> None:
        asks = writer in self.photos
        job = {
            "log": str(self.log(writer)), "gallery": self.gallery, "writer": writer, "changes": changes,
            "address": self.address if asks else None,
            "photos": {person: [str(file) for file in files]
                       for person, files in self.photos.get(writer, {}).items()},
        }  # fmt: skip
        program = [sys.executable, str(ROOT / "tools" / "kill_writers.py"), json.dumps(job)]
        with (self.folder / "errors").open("ab") as errors:
            self._running[writer] = subprocess.Popen(program, stderr=errors)

    def errors(self) -> str:
        return (self.folder / "errors").read_text()

    def at_work(self) -> list[int]:
        """The writers that have not made all their changes. Raises `ClickException` for one that failed."""
        for writer, process in list(self._running.items()):
            if process.poll() is not None:
                del self._running[writer]
                if process.returncode:
                    raise click.ClickException(f"writer {writer}: {self.errors()}")
        return list(self._running)

    def kill_writer(self, writer: int) -> None:
        process = self._running.pop(writer)
        process.kill()
        process.wait()

    def kill_service(self) -> None:
        assert self._service is not None
        self._service.kill()
        self._service.wait()
        self.start_service()

    def kill_server(self) -> None:
        self.server.crash(PATIENCE)

    def kill_backend(self, chance: random.Random) -> bool:
        """Kill a server process that serves a connection; return whether there was one."""
        query = (
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname <> 'postgres'"
        )
        pids = [row[0] for row in self.server.ask(query, "postgres")]
        if pids:
            self.server.was_killed = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(pids), signal.SIGKILL)
            until(self._answers, self.errors)
        return bool(pids)

    def _answers(self) -> bool:
        try:
            return bool(self.server.ask("SELECT 1", "postgres"))
        except psycopg.OperationalError:  # the server closes all connections, and recovers
            return False


def until(true: Callable[[], object], told: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            raise click.ClickException(f"it took too long\n{told()}")
        time.sleep(0.05)
