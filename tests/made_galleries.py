"""Galleries of made-up people, for tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facekd.gallery import Contract, GalleryRecords, Template
from facekd.gallery.template import row_checksum
from facekd.gallery.template_rows import OWNERS_SINCE, Owner, TemplateRows

if TYPE_CHECKING:
    from postgres_server import PostgresServer

DIM = 64
CONTRACT = Contract("a" * 64, DIM, "small", "mtcnn", "arcface-5pt/1")


def embedding(seed: int, dim: int = DIM) -> np.ndarray:
    row = np.random.default_rng(seed).normal(size=dim)
    return (row / np.linalg.norm(row)).astype(np.float32)


def template(seed: int) -> Template:
    return Template(embedding(seed), f"{seed:064x}", 0.5)


def enroll(path: Path, *people: tuple[str, int]) -> None:
    with GalleryRecords(path, CONTRACT, create=True) as records:
        for name, seed in people:
            with records.transaction():
                records.add(name, [template(seed)])


#: one of each kind, in a gallery of people "p0", "p1", ... by the template of their number
CHANGES: tuple[Callable[[GalleryRecords], Any], ...] = (
    lambda records: records.add("new", [template(500)]),
    lambda records: records.add("p1", [template(501)]),
    lambda records: records.remove_photo("p1", f"{1:064x}"),
    lambda records: records.rename("p2", "Ann"),
    lambda records: records.merge("p4", "p5"),
    lambda records: records.remove("p6"),
)


def enroll_in_tables(server: PostgresServer, url: str, name: str, seed: int) -> None:
    """As `enroll`, into a gallery of an older schema, which facekd would lead to the latest."""
    uid = f"{seed:032x}"
    server.ask("INSERT INTO facekd.people (name, uid) VALUES (%s, %s)", url, (name, uid))
    row = TemplateRows(CONTRACT, OWNERS_SINCE).packed(Owner(uid, name), template(seed))
    server.ask(
        "INSERT INTO facekd.templates (person, space, photo, embedding, quality, enrolled, checksum)"
        " SELECT id, %s, %s, %s, %s, %s, %s FROM facekd.people WHERE uid = %s",
        url,
        (*row, uid),
    )


def name_as_typed(path: Path, names: dict[str, str]) -> None:
    """Give people names as version 0.1.0 kept them: as they were typed, clean or not."""
    with closing(sqlite3.connect(path)) as db:
        for name, typed in names.items():
            db.execute("UPDATE people SET name = ? WHERE name = ?", (typed, name))
        rows = db.execute(
            "SELECT templates.id, space, uid, name, photo, embedding, quality, enrolled"
            " FROM templates JOIN people ON people.id = person"
        ).fetchall()
        for number, space, *row in rows:
            seal = row_checksum(space, DIM, *row)
            db.execute("UPDATE templates SET checksum = ? WHERE id = ?", (seal, number))
        db.commit()
