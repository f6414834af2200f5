"""A service over a tiny model with a threshold, asked without a network."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from small_photos import need_mtcnn, write_photos
from tiny_model import write_tiny_model

from facekd.card import Calibration, Counts
from facekd.preprocess import ALIGNER
from facekd.service import ServiceSettings
from facekd.workflows import Recognizer

if TYPE_CHECKING:
    import uvicorn
    from running_service import Running
    from starlette.testclient import TestClient

    from facekd.service.app import Made


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_mtcnn()
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose card has a threshold, which tells photos apart and not people."""
    counts = Counts(mated=3000, non_mated=30_000, false_matches=300, false_non_matches=30)
    calibration = Calibration(
        fmr=1e-2, threshold=0.9, low=9e-3, high=1.1e-2, data="made up", counts=counts, detector="mtcnn",
        aligner=ALIGNER,
    )  # fmt: skip
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx", calibration=(calibration,))


@pytest.fixture(scope="session")
def recognizer(model: Path, photos: Path) -> Recognizer:
    return Recognizer(model)


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return tmp_path / "staff.db"


@pytest.fixture
def made(recognizer: Recognizer, gallery: Path) -> Iterator[Callable[..., tuple[TestClient, Made]]]:
    """Makes a service and a client of it: ``made(max_upload=...)``."""
    from starlette.testclient import TestClient

    from facekd.service.app import make_app
    from facekd.service.work import Work

    services: list[Made] = []

    def make(**changes: object) -> tuple[TestClient, Made]:
        settings = replace(ServiceSettings(gallery), **changes)
        work = Work(recognizer, gallery, settings.audit_reads)
        work.prepare()
        service = make_app(work, settings)
        services.append(service)
        return TestClient(service.app, "http://127.0.0.1"), service

    yield make
    for service in services:
        service.admission.close()


@pytest.fixture
def client(made: Callable[..., tuple[TestClient, Made]]) -> TestClient:
    return made()[0]


@pytest.fixture
def served(made: Callable) -> Iterator[Callable[..., int]]:
    """Serves in a thread of this process, on the port that it returns: with times that a test can wait."""
    from facekd.service.server import server_of

    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(**changes: object) -> int:
        server = server_of(made(**changes)[1].app, ServiceSettings(Path("unused"), port=0))
        listening = server.config.bind_socket()
        listening.listen()
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        running.append((server, thread))
        return int(listening.getsockname()[1])

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join()


@pytest.fixture
def serve(model: Path, gallery: Path, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    from running_service import Running

    started: list[Running] = []

    def start(*options: object) -> Running:
        options = ("--port", "0", "-m", model, "-g", gallery, *options)
        command = [sys.executable, "-m", "facekd", "serve", *options]
        started.append(Running([str(part) for part in command], tmp_path / f"log{len(started)}"))
        return started[-1]

    yield start
    for one in started:
        one.client.close()
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()
