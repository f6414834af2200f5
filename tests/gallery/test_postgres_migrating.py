"""The schema of galleries in PostgreSQL: the same as in files, and migrated as they are."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_galleries import CONTRACT, enroll, enroll_in_tables

from facekd.gallery import GalleryCheck, GalleryRecords, database_roles, gallery_place
from facekd.gallery import migrations as of_files
from facekd.gallery.postgres import gallery_server, migrating, server_check

if TYPE_CHECKING:
    from postgres_server import PostgresServer


def test_the_schema_means_the_same_as_in_a_file(url: str) -> None:
    enroll(url, ("Ann", 1))
    assert migrating.latest() == of_files.latest()
    with GalleryRecords(url, read_only=True) as records:
        assert records.schema() == (of_files.latest(), of_files.latest())


def test_the_audit_knows_the_same_actions_as_that_of_a_file(
    postgres: PostgresServer, url: str, tmp_path: Path
) -> None:
    query = "SELECT action FROM audit_actions"
    enroll(url, ("Ann", 1))
    enroll(tmp_path / "gallery.db", ("Ann", 1))
    with closing(sqlite3.connect(tmp_path / "gallery.db")) as db:
        wanted = sorted(db.execute(query).fetchall())
    assert sorted(postgres.ask(query.replace("audit", "facekd.audit"), url)) == wanted


def test_the_first_tables_are_given_to_the_roles_and_migrated(
    postgres: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {number: sql for number, sql in migrating.migrations().items() if number == 8}
    with monkeypatch.context() as then:
        then.setattr(migrating, "migrations", lambda: first)
        GalleryRecords(url, CONTRACT, create=True).close()
        enroll_in_tables(postgres, url, "Ann", 1)
    postgres.ask(database_roles(), url)
    with GalleryRecords(url, read_only=True) as records:
        assert records.schema() == (8, migrating.latest())
        assert records.everybody().names == ("Ann",)
    GalleryRecords(url).close()
    with GalleryRecords(url, read_only=True) as records:
        assert records.schema() == (migrating.latest(), migrating.latest())
    for right in ("INSERT", "DELETE"):
        may = f"SELECT has_table_privilege('facekd_writer', 'facekd.audit_reads', '{right}')"
        assert postgres.ask(may, url) == [(True,)]
    assert list(GalleryCheck(gallery_place(url)).faults()) == []


def test_the_layout_is_that_of_the_migrations(url: str) -> None:
    """Where this fails after a new migration, write the lines that were found to the file."""
    enroll(url, ("Ann", 1))
    server = gallery_server.GalleryServer(gallery_place(url), read_only=True)
    written = Path(server_check.__file__).with_name("layout.txt").read_text().splitlines()
    assert sorted(server_check.layout(server)) == written
    server.close()


def test_a_gallery_of_an_older_schema_is_migrated_by_its_next_writer(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    enroll(url, ("Ann", 1))
    later = migrating.latest() + 1
    more = migrating.migrations() | {later: "ALTER TABLE people ADD COLUMN nick text NOT NULL DEFAULT 'x'"}
    monkeypatch.setattr(migrating, "migrations", lambda: more)
    with GalleryRecords(url, read_only=True) as records:
        assert records.schema() == (later - 1, later)
        assert records.names() == ["Ann"]
    with GalleryRecords(url) as records:
        assert records.schema() == (later, later)
        assert records.names() == ["Ann"]
    faults = [fault.message for fault in GalleryCheck(gallery_place(url)).faults()]
    assert faults == ["column people.nick text not null does not belong in a gallery"]


def test_names_of_0_1_0_are_found_by_an_index(postgres: PostgresServer, url: str) -> None:
    """Such a gallery may be copied to a server. Each kind of white space, and what is not composed."""
    spaces = [chr(code) for code in range(1, sys.maxunicode + 1) if chr(code).isspace() and chr(code) != " "]
    odd = [" p", "p ", "p  q", "Zoe\u0308", *(f"p{space}q" for space in spaces)]
    enroll(url, *((f"n{seed}", seed) for seed in range(len(odd))), ("Zo\u00eb Lee", 500), ("a b", 501))
    postgres.ask("ANALYZE", url)
    for seed, name in enumerate(odd):
        postgres.ask("UPDATE facekd.people SET name = %s WHERE name = %s", url, (name, f"n{seed}"))
    engine = gallery_server.GalleryServer(gallery_place(url), read_only=True)
    assert sorted(name for _, name in engine.unfolded()) == sorted(odd)
    engine.close()
    with GalleryRecords(url, read_only=True) as records:
        assert records.person("Zo\u00eb").name == "Zoe\u0308"
    query = "EXPLAIN SELECT id, name FROM facekd.people WHERE facekd.may_be_unfolded(name)"
    by_index = f"{url}&options=-cenable_seqscan%3Doff"
    assert "people_unfolded" in str(postgres.ask(query, by_index))
