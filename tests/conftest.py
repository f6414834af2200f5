"""Fixtures that many tests share. Real faces come from a folder beside the checkout, if there is one;
otherwise the samples in the checkout are used."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from milvus_server import GivenServer, MilvusServer
    from postgres_server import PostgresServer

ROOT = Path(__file__).parent.parent
FACES = Path(os.environ.get("FACEKD_TEST_FACES", ROOT.parent / "shared" / "data"))


def pytest_configure() -> None:
    """Of several processes that test side by side each keeps to a processor of its own: threads that
    wait for one another, as those of a network do, would take its time from the other tests."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker and hasattr(os, "sched_setaffinity"):
        free = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {free[int(worker) % len(free)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if (FACES / "lfw.zip").is_file():
        return
    skip = pytest.mark.skip(reason="no real faces here (set FACEKD_TEST_FACES)")
    for item in items:
        if "needs_faces" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def faces() -> Path:
    """The folder of real faces and teachers; tests that use it are marked ``needs_faces``."""
    return FACES


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Empty folders for the user's data and settings, so that no test finds a real gallery."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        yield folder


def _postgres_server(vector: bool) -> Iterator[PostgresServer]:
    from postgres_server import PostgresServer, why_not

    reason = why_not(vector=vector)
    if reason is not None:
        pytest.skip(reason)
    server = PostgresServer(vector=vector)
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for these tests alone; skips if there is none."""
    yield from _postgres_server(vector=False)


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """As `postgres_server`; databases that a test took are empty again after it."""
    yield postgres_server
    postgres_server.empty_databases()


@pytest.fixture(scope="session")
def vector_server() -> Iterator[PostgresServer]:
    """As `postgres_server`, with pgvector."""
    yield from _postgres_server(vector=True)


@pytest.fixture
def with_vector(vector_server: PostgresServer) -> Iterator[PostgresServer]:
    """As `postgres`, with pgvector."""
    yield vector_server
    vector_server.empty_databases()


@pytest.fixture(scope="session")
def milvus_server() -> Iterator[MilvusServer | GivenServer]:
    """A Milvus server, to which each test leaves nothing: one that is given, or of these tests' own; skips
    where there is none."""
    import milvus_server

    given = milvus_server.given_server()
    if given is not None:
        yield given
        return
    reason = milvus_server.why_not()
    if reason is not None:
        pytest.skip(reason)
    server = milvus_server.MilvusServer()
    yield server
    server.close()


@pytest.fixture
def own_server() -> Iterator[MilvusServer]:
    """A Milvus server that may be stopped."""
    import milvus_server

    reason = milvus_server.why_not()
    if reason is not None:
        pytest.skip(reason)
    server = milvus_server.MilvusServer()
    yield server
    server.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were left out since a server is missing."""
    import milvus_server
    import postgres_server

    missing = {
        postgres_server.why_not(vector=True): "an index of pgvector",
        postgres_server.why_not(): "galleries in PostgreSQL",
        milvus_server.why_not(): "an index in Milvus",
    }
    for reason, what in missing.items():
        skipped = [
            one for one in terminalreporter.stats.get("skipped", []) if reason and reason in str(one.longrepr)
        ]
        if skipped:
            terminalreporter.write_line(f"{len(skipped)} tests of {what} were skipped: {reason}")


@pytest.fixture
def facekd(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the command line in this process: ``facekd("verify", a, b) -> Ran(code, out, err)``."""
    from facekd.cli.main import main

    def run(*arguments: object) -> Ran:
        capfd.readouterr()
        code = main([str(a) for a in arguments])
        captured = capfd.readouterr()
        return Ran(int(code), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache that this process and those it starts use."""
    if importlib.util.find_spec("facenet_pytorch") is None:
        pytest.skip("facenet-pytorch is not installed")
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEKD_CACHE", str(folder))
        yield folder
