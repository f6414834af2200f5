"""kill -9 while a gallery is moved to another model: all of it is in one space or in the other. The long form
is tools/drill_re_embed.py."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import drill_re_embed as tool

if TYPE_CHECKING:
    from postgres_server import PostgresServer


def test_killed_at_any_moment() -> None:
    found = tool.drill(kills=4, seed=0)
    assert found.kills == 4
    assert found.said > 0
    assert (found.lost, found.half, found.faults, found.traces) == (0, 0, 0, 0)


def test_a_gallery_in_postgres_killed_at_any_moment(postgres: PostgresServer) -> None:
    found = tool.drill(kills=2, seed=5, longest=2.0, server=postgres)
    assert found.kills == 2
    assert (found.lost, found.half, found.faults, found.traces) == (0, 0, 0, 0)


def test_a_gallery_in_postgres_whose_server_is_killed(postgres: PostgresServer) -> None:
    found = tool.drill(kills=2, seed=6, longest=2.0, server=postgres, crash=True)
    assert found.kills == 2
    assert (found.lost, found.half, found.faults, found.traces) == (0, 0, 0, 0)


def test_what_the_drill_would_notice(tmp_path: Path) -> None:
    gallery = tmp_path / "gallery.db"
    tool.fill(gallery)
    found = tool.Found()
    tool.look(gallery, 1, found)
    assert (found.lost, found.half, found.faults, found.traces) == (1, 0, 0, 0)
    with sqlite3.connect(gallery) as db:
        db.execute("INSERT INTO audit (date, action, person, templates) VALUES ('', 're_embed', 0, 0)")
        db.execute(
            "UPDATE templates SET embedding = (SELECT embedding FROM templates WHERE id = 2) WHERE id = 1"
        )
    with pytest.raises(Exception, match="template of 'person 000000'"):
        tool.look(gallery, 0, tool.Found())


def test_what_the_drill_would_notice_on_a_server(postgres: PostgresServer, tmp_path: Path) -> None:
    tool.fill(tmp_path / "base.db")
    gallery = tool.gallery_place(postgres.new_database())
    tool.copy_gallery(tmp_path / "base.db", gallery)
    assert tool.traces_on(postgres, tool.embeddings(0)[0]) > 0
    assert tool.traces_on(postgres, tool.embeddings(1)[0]) == 0
    found = tool.Found()
    tool.look(gallery, 1, found, postgres)
    assert (found.lost, found.half, found.faults, found.traces) == (1, 0, 0, 0)
