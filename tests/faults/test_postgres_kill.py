"""kill -9 of writers, of the service and of the database server while people are enrolled, removed, merged
and copied: what was acknowledged is there, nothing is half done, and nobody who was removed can be found. The
long form is tools/drill_kills.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_galleries import CONTRACT
from small_photos import need_mtcnn

pytest.importorskip("fastapi", reason="the extra 'service' is not installed")
pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import drill_kills as tool
from kill_writers import ByRecords, Writer, embedding, name, photo

from facekd.gallery import GalleryRecords, Template, gallery_place
from facekd.weights import shipped_model

if TYPE_CHECKING:
    from postgres_server import PostgresServer

KILLS = {"enroll": 4, "remove, merge": 4, "server to file": 1}


@pytest.fixture
def site(postgres: PostgresServer, tmp_path: Path) -> Iterator[tool.Site]:
    model = shipped_model()
    if model is None:
        pytest.skip("no student came with this facekd")
    with closing(tool.Site(tmp_path, model, postgres)) as made:
        yield made


@pytest.mark.long
def test_kills_lose_nothing_that_was_acknowledged(site: tool.Site) -> None:
    need_mtcnn()
    plan = tool.plan_of(enrollments=40, writers=4, by_service=4)
    for what, found in tool.drill(site, tool.SAMPLES, plan, KILLS, seed=7):
        assert not found.is_bad, f"{what}: {found}"
        assert sum(found.kills.values()) > 0, what
        changes = sum(len(plan.changes(writer, what)) for writer in plan.people)
        assert found.said == changes or " to " in what
    assert site.errors() == ""


def test_what_the_drill_would_notice(site: tool.Site, tmp_path: Path) -> None:
    GalleryRecords(site.gallery, CONTRACT, create=True).close()
    drill, said = tool.Drill(site, tool.Plan({0: 8}, frozenset()), seed=0), list[tuple[object, ...]]()
    writer = Writer(ByRecords(site.gallery, 0), lambda *words: said.append(words))
    removed = {}
    for kinds in ("enroll", "remove, merge"):
        if "remove" in kinds:
            removed = drill.templates(kinds)
        writer.work(drill.plan.changes(0, kinds), interrupted=False)
        drill.done.append(kinds)
    assert sum(words[0] == "done" for words in said) == 8 + 4
    assert set(removed) == {name(0, 1), name(0, 5)}

    def judged() -> tool.Found:
        found = tool.Found()
        drill.judge(found, removed)
        return found

    assert not judged().is_bad
    with GalleryRecords(site.gallery, CONTRACT) as records, records.transaction():
        records.remove(name(0, 0))
        again = Template(embedding(0, 1, 0, CONTRACT.dim), photo(0, 1, 0), 0.5)
        records.add("somebody else", [again])
    found = judged()
    assert (found.lost, found.faults, found.traces) == (2, 0, 1)
    assert found.seen == len(tool.INDEXES)
    # one who went on after a kill, and finds one photo of two
    writer.work([("enroll", 9)], interrupted=True)
    with GalleryRecords(site.gallery, CONTRACT) as records, records.transaction():
        records.remove_photo(name(0, 9), photo(0, 9, 0))
    writer.work([("enroll", 9)], interrupted=True)
    assert said[-2:] == [("half", "enroll", 9), ("done", "enroll", 9)]


def test_what_a_killed_server_leaves_behind_is_reported_and_no_trace(site: tool.Site) -> None:
    import psycopg

    GalleryRecords(site.gallery, CONTRACT, create=True).close()
    drill = tool.Drill(site, tool.Plan({0: 8}, frozenset()), seed=0)
    writer = Writer(ByRecords(site.gallery, 0), lambda *_: None)
    writer.work(drill.plan.changes(0, "enroll"), interrupted=False)
    with closing(psycopg.connect(site.gallery)) as other:
        other.execute("CREATE TABLE rewritten AS SELECT * FROM facekd.templates")
        site.server.ask("CHECKPOINT", "postgres")
        site.server.kill_backend(other.info.backend_pid)
    removed = drill.templates("remove")
    writer.work(drill.plan.changes(0, "remove"), interrupted=True)
    drill.done += ["enroll", "remove"]
    found = tool.Found()
    drill.judge(found, removed)
    assert not found.is_bad, found
    _, left = tool.checked(gallery_place(site.gallery))
    pieces = [row.tobytes()[16:80] for row in removed[name(0, 1)]]
    holding = {
        str(file.relative_to(site.server.data)) for file in site.server.files_with(*pieces, under="base")
    }
    assert holding
    assert holding <= left


def test_what_was_done_by_one_who_was_killed_is_not_done_again(site: tool.Site) -> None:
    GalleryRecords(site.gallery, CONTRACT, create=True).close()
    said: list[tuple[object, ...]] = []
    writer = Writer(ByRecords(site.gallery, 0), lambda *words: said.append(words))
    for change in (("enroll", 0), ("enroll", 1), ("merge", 0)):
        for _ in range(2):
            writer.work([change], interrupted=True)
            assert said[-3:] == [("begin", *change), ("again", *change), ("done", *change)]
    photos = {photo(0, one, place) for one in (0, 1) for place in (0, 1)}
    assert tool.people(site.gallery) == {name(0, 0): photos}
