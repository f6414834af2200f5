"""Places for galleries: databases in PostgreSQL, and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gallery_backends import Backend

if TYPE_CHECKING:
    from postgres_server import PostgresServer

    from facekd.gallery import Place


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """The URL of an empty database."""
    return postgres.new_database()


@pytest.fixture(params=["file", "server"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    server = request.getfixturevalue("postgres") if request.param == "server" else None
    return Backend(tmp_path, server)


@pytest.fixture
def place(backend: Backend) -> Place:
    return backend.new()
