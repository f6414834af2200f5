"""What a gallery promises, kept wherever it is: in an SQLite file and in a PostgreSQL database."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from made_galleries import CONTRACT, DIM, embedding, enroll, template

from facekd.errors import InputOutput, Misfit, NotFound, Unreadable, UsageError
from facekd.gallery import (
    Contract,
    FusedTemplates,
    GalleryRecords,
    SearchIndex,
    Template,
    moment,
)
from facekd.gallery.place import Place
from facekd.workflows import export_gallery, import_archive

if TYPE_CHECKING:
    from gallery_backends import Backend


def names(place: Place) -> list[str]:
    with GalleryRecords(place, read_only=True) as records:
        return records.names()


def test_what_was_added_is_there_after_reopening(place: Place) -> None:
    with GalleryRecords(place, CONTRACT, create=True) as records, records.transaction():
        assert records.add("Ann", [template(1), template(2)]) == 2
        assert records.add("Bo", [template(3)]) == 1
    for read_only in (False, True):
        with GalleryRecords(place, read_only=read_only) as records:
            assert [(p.name, p.templates) for p in records.people()] == [("Ann", 2), ("Bo", 1)]
            found = records.templates("Ann")
            assert [t.photo for t in found] == [f"{1:064x}", f"{2:064x}"]
            for seed, entry in zip((1, 2), found, strict=True):
                assert entry.embedding.dtype == np.float32
                np.testing.assert_array_equal(entry.embedding, embedding(seed))
            assert records.contract == CONTRACT
            assert records.person("Bo").templates == 1
            assert records.number_of("Bo") == 2


def test_a_photo_is_added_once(place: Place) -> None:
    enroll(place, ("Ann", 1))
    with GalleryRecords(place, CONTRACT) as records:
        with records.transaction():
            assert records.add("Ann", [template(1), template(2)]) == 1
        assert records.holders(f"{1:064x}") == ["Ann"]
        assert records.holders(f"{9:064x}") == []
        assert [photo.photo for photo in records.photos("Ann")] == [f"{1:064x}", f"{2:064x}"]


def change_and_fail(records: GalleryRecords) -> None:
    with records.transaction():
        records.add("Bo", [template(2)])
        records.remove("Ann")
        records.remove("Nobody")


def test_a_failed_block_changes_nothing(place: Place) -> None:
    enroll(place, ("Ann", 1))
    with GalleryRecords(place, CONTRACT) as records:
        state = records.state()
        with pytest.raises(NotFound):
            change_and_fail(records)
        assert records.names() == ["Ann"]
        assert records.state() == state
        with records.transaction():  # and the records are still of use
            records.add("Bo", [template(2)])
        assert records.names() == ["Ann", "Bo"]


def test_changes_need_a_transaction_and_a_contract(place: Place) -> None:
    with GalleryRecords(place, CONTRACT, create=True) as records:
        for change in (lambda: records.add("Ann", [template(1)]), lambda: records.remove("Ann")):
            with pytest.raises(RuntimeError):
                change()
        with pytest.raises(RuntimeError), records.transaction(), records.transaction():
            pass
    with GalleryRecords(place) as records, pytest.raises(RuntimeError), records.transaction():
        records.add("Ann", [template(1)])
    with GalleryRecords(place, read_only=True) as records, pytest.raises(RuntimeError), records.transaction():
        pass


def test_a_gallery_is_of_one_space(place: Place, backend: Backend) -> None:
    enroll(place, ("Ann", 1))
    other = Contract("b" * 64, DIM, "large", "mtcnn", "arcface-5pt/1")
    with pytest.raises(Misfit, match=r"small.*aaaaaaaaaaaa.*large.*bbbbbbbbbbbb"):
        GalleryRecords(place, other, create=True)
    with GalleryRecords(place, other, compatible=(CONTRACT.space,)) as records:
        assert len(records.templates("Ann")) == 1
        with pytest.raises(RuntimeError, match="in another space"), records.transaction():
            records.add("Bo", [template(2)])
    for query in (  # the database itself refuses them
        "INSERT INTO contract (space, dim, model, detector, aligner, created)"
        f" VALUES ('{'b' * 64}', 1, '', '', '', '')",
        "UPDATE templates SET photo = 'short'",
        "INSERT INTO people (name, uid) VALUES ('Ann', 'x')",
        "INSERT INTO audit (date, action, person, templates) VALUES ('', 'dance', 1, 1)"
        if backend.server
        else "UPDATE people SET name = NULL",
    ):
        with pytest.raises(Exception, match=r"(?i)constraint|one contract"):
            backend.ask(place, query)


def test_embeddings_of_the_wrong_kind_are_refused(place: Place) -> None:
    with GalleryRecords(place, CONTRACT, create=True) as records:
        for wrong, error in (
            (embedding(1, DIM * 2), Misfit),
            (embedding(1) * 2, ValueError),
            (np.full(DIM, np.nan, np.float32), ValueError),
        ):
            with pytest.raises(error), records.transaction():
                records.add("Ann", [Template(wrong, "0" * 64, 1.0)])
        with pytest.raises(ValueError, match="needs at least one template"), records.transaction():
            records.add("Ann", [])
        assert records.people() == []


@pytest.mark.parametrize(
    "name", ["Zoë Lee", "O'Brien; DROP TABLE people --", "\u0928\u0940", "100 % ?", "\\x00", "a" * 200]
)
def test_any_name_is_kept_as_it_is(place: Place, name: str) -> None:
    enroll(place, (name, 1), ("Ann", 2))
    with GalleryRecords(place) as records:
        assert sorted(records.names()) == records.names() == sorted([name, "Ann"])
        assert records.person(name).templates == 1
        assert records.person(f" {name}  ").name == name
        with records.transaction():
            records.remove(name)
        assert records.names() == ["Ann"]


@pytest.mark.parametrize("name", ["", "a\0b", "a\udc80b", "a\x1bb", "%", "_nn", "ann"])
def test_nobody_is_found_by_what_is_no_name(place: Place, name: str) -> None:
    enroll(place, ("Ann", 1))
    with GalleryRecords(place) as records, pytest.raises(NotFound):
        records.person(name)


def test_names_are_in_one_order(place: Place) -> None:
    """That of code points, whatever the language of the server is."""
    people = ["a", "B", "Ä", "z", "_", "\U0001f600", "\uffed", "b c", "b"]
    enroll(place, *((name, seed) for seed, name in enumerate(people)))
    with GalleryRecords(place, read_only=True) as records:
        assert records.names() == sorted(people)
        assert [person.name for person in records.people()] == sorted(people)
        assert list(records.everybody().names) == sorted(people)


def test_rename(place: Place) -> None:
    enroll(place, ("Ann", 1), ("Bo", 2))
    with GalleryRecords(place) as records:
        with pytest.raises(UsageError, match="already enrolled"), records.transaction():
            records.rename("Ann", "Bo")
        with records.transaction():
            assert records.rename("Ann", " Zoe\u0308  Lee") == "Zo\u00eb Lee"
        assert records.pending is False
        assert records.names() == ["Bo", "Zo\u00eb Lee"]


def test_merge(place: Place) -> None:
    enroll(place, ("Ann", 1), ("Bo", 2))
    with GalleryRecords(place, CONTRACT) as records:
        with records.transaction():
            records.add("Bo", [template(3)])
            records.add("Ann", [Template(embedding(9), f"{3:064x}", 0.5)])
        kept, gone = records.uid_of("Ann"), records.uid_of("Bo")
        with records.transaction():
            merged = records.merge("Ann", "Bo")
        assert (merged.moved, merged.present) == (1, 1)
        assert [t.photo for t in records.templates("Ann")] == [f"{seed:064x}" for seed in (1, 2, 3)] or [
            t.photo for t in records.templates("Ann")
        ] == [f"{seed:064x}" for seed in (1, 3, 2)]
        assert [(uid, into) for uid, _, into in records.removals()] == [(gone, kept)]
        assert [e.action for e in records.audit_entries()][-2:] == ["merge", "merged"]


def test_remove_photo(place: Place) -> None:
    enroll(place, ("Ann", 1))
    with GalleryRecords(place, CONTRACT) as records:
        with pytest.raises(UsageError, match="only photo"), records.transaction():
            records.remove_photo("Ann", records.photos("Ann")[0].id)
        with records.transaction():
            records.add("Ann", [Template(embedding(2), "c" * 64, 0.25)])
        with records.transaction():
            assert records.remove_photo("Ann", "cccc").quality == 0.25
        assert len(records.photos("Ann")) == 1
        assert len(list(records.photo_removals())) == 1
        with records.transaction():  # whoever gets it again has it
            records.add("Ann", [Template(embedding(2), "c" * 64, 0.25)])
        assert list(records.photo_removals()) == []


def test_numbers_are_never_used_twice(place: Place) -> None:
    enroll(place, ("Ann", 1), ("Bo", 2))
    with GalleryRecords(place) as records, records.transaction():
        records.remove("Bo")
    enroll(place, ("Cy", 3))
    with GalleryRecords(place, read_only=True) as records:
        found = [(e.action, e.person, e.templates) for e in records.audit_entries()]
        assert list(records.audit_entries("9999")) == []
    assert found == [("add", 1, 1), ("add", 2, 1), ("remove", 2, 1), ("add", 3, 1)]


def test_pruning_the_audit_is_audited(place: Place, backend: Backend) -> None:
    enroll(place, *((f"p{seed}", seed) for seed in range(5)))
    backend.ask(place, "UPDATE audit SET date = '2024-02-03T04:05:06+00:00' WHERE id <= 3")
    with GalleryRecords(place) as records:
        with records.transaction():
            assert records.prune_audit(moment("2024-02-04")) == 3
            assert records.prune_audit(moment("2024-02-04")) == 0
        assert [(e.action, e.person, e.templates) for e in records.audit_entries()][-1] == ("prune", 0, 3)


def test_statistics(place: Place) -> None:
    qualities = [0.0, 0.05, 0.1, 0.35, 0.5, 0.99, 1.0]
    with GalleryRecords(place, CONTRACT, create=True) as records:
        with records.transaction():
            records.add("Ann", [Template(embedding(i), f"{i:064x}", q) for i, q in enumerate(qualities)])
            records.add("Bo", [template(20)])
            records.add("Cy", [template(21)])
        with records.transaction():
            records.remove("Cy")
        found = records.statistics()
    assert (found.people, found.templates, found.removed_people, found.removed_photos) == (2, 8, 1, 0)
    assert found.photos_each == {1: 1, 7: 1}
    assert found.quality == (2, 1, 0, 1, 0, 2, 0, 0, 0, 2)
    assert found.bytes > 8 * 4 * DIM


def test_an_archive_goes_from_one_into_another(place: Place, backend: Backend, tmp_path: Path) -> None:
    enroll(place, ("Ann", 1), ("Bo", 2), ("Cy", 3))
    export_gallery(place, tmp_path / "before.jsonl")
    with GalleryRecords(place) as records, records.transaction():
        records.remove("Bo")
    export_gallery(place, tmp_path / "after.jsonl")
    done = import_archive(tmp_path / "before.jsonl", place)
    assert (done.new, done.added, done.present, done.removed_people) == (0, 0, 2, 1)
    other = backend.new()
    assert import_archive(tmp_path / "after.jsonl", other).new == 2
    assert names(other) == ["Ann", "Cy"]
    assert import_archive(tmp_path / "before.jsonl", other).removed_people == 1
    assert import_archive(tmp_path / "before.jsonl", other, restore_removed=True).new == 1
    assert names(other) == ["Ann", "Bo", "Cy"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE templates SET embedding = (SELECT embedding FROM templates WHERE id = 1) WHERE id = 2",
        "UPDATE templates SET embedding = x'00' WHERE id = 2",
        "UPDATE templates SET checksum = '' WHERE id = 2",
        "UPDATE templates SET photo = (SELECT photo FROM templates WHERE id = 1) WHERE id = 2",
        "DELETE FROM templates WHERE id = 2",
    ],
)
def test_damage_is_noticed(place: Place, backend: Backend, damage: str) -> None:
    enroll(place, ("Ann", 1), ("Bo", 2))
    backend.ask(place, damage)
    with GalleryRecords(place) as records:
        with pytest.raises(Unreadable, match="damaged"):
            records.everybody()
        with pytest.raises(Unreadable, match="damaged"):
            records.templates("Bo")
        assert len(records.templates("Ann")) == 1


def test_the_state_is_another_one_after_every_change(place: Place, backend: Backend) -> None:
    words = []
    with GalleryRecords(place, CONTRACT, create=True) as records:
        words.append(records.state())
        for change in (
            lambda: records.add("Ann", [template(1)]),
            lambda: records.add("Ann", [template(2)]),
            lambda: records.add("Bo", [template(3)]),
            lambda: records.rename("Bo", "Cy"),
            lambda: records.remove("Ann"),
        ):
            with records.transaction():
                change()
            words.append(records.state())
        backend.ask(place, "UPDATE people SET name = 'Beth'")  # and after one that is not made here
        words.append(records.state())
        records.people()
        assert records.state() == words[-1]
    assert len(set(words)) == len(words)


def test_others_changes_are_another_version_and_own_ones_are_not(place: Place) -> None:
    with GalleryRecords(place, CONTRACT, create=True) as mine, GalleryRecords(place, CONTRACT) as theirs:
        before = mine.version()
        with mine.transaction():
            mine.add("Ann", [template(1)])
            assert mine.version() == before
        assert mine.version() == before
        with theirs.transaction():
            theirs.add("Bo", [template(2)])
        with mine.transaction():
            mine.add("Cy", [template(3)])
        after = mine.version()
        assert after != before
        assert mine.version() == after


def test_searches_and_the_guards_templates_follow_changes(place: Place) -> None:
    enroll(place, *((f"p{seed}", seed) for seed in range(20)))
    with GalleryRecords(place, read_only=True) as records, GalleryRecords(place, CONTRACT) as writer:
        index, fused = SearchIndex.of(records), FusedTemplates(records)
        found = index.search(np.stack([embedding(7), embedding(3)]), top=2)
        assert [row[0] for row in found.names] == ["p7", "p3"]
        with writer.transaction():
            writer.remove("p7")
            writer.add("new", [template(7)])
        assert index.search(embedding(7)[None], top=1).names == (("new",),)
        fused.refresh()
        assert fused.of("p7") is None
        np.testing.assert_allclose(fused.of("new"), embedding(7), rtol=1e-6)


def test_inside_a_transaction_everybody_is_as_it_will_be(place: Place) -> None:
    enroll(place, ("Ann", 1))
    with GalleryRecords(place, CONTRACT) as records, records.transaction():
        records.add("Bo", [template(2)])
        assert records.everybody().names == ("Ann", "Bo")
        assert records.holders(f"{2:064x}") == ["Bo"]


def test_a_snapshot_is_of_one_moment(place: Place) -> None:
    enroll(place, ("Ann", 1), ("Bo", 2))
    with GalleryRecords(place, read_only=True) as records, records.snapshot():
        assert records.names() == ["Ann", "Bo"]
        enroll(place, ("Cy", 3))
        assert [person.name for person in records.people()] == ["Ann", "Bo"]
        assert len(list(records.audit_entries())) == 2
        assert records.everybody().names == ("Ann", "Bo")
    assert names(place) == ["Ann", "Bo", "Cy"]


def _enroll_many(place: Place, first: int) -> None:
    with GalleryRecords(place, CONTRACT, create=True) as records:
        for seed in range(first, first + 20):
            with records.transaction():
                records.add(f"p{seed}", [template(seed)])


def test_three_programs_create_and_write_at_once(place: Place) -> None:
    start = multiprocessing.get_context("spawn")
    workers = [start.Process(target=_enroll_many, args=(place, first)) for first in (0, 20, 40)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [w.exitcode for w in workers] == [0, 0, 0]
    with GalleryRecords(place, CONTRACT) as records:
        assert {p.name for p in records.people()} == {f"p{i}" for i in range(60)}
        assert len(list(records.audit_entries())) == 60


def test_a_reader_makes_the_removal_pending_and_the_next_writer_completes_it(
    place: Place, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facekd.gallery.database.BUSY_SECONDS", 0.2)
    enroll(place, ("Ann", 1), ("Bo", 2))
    with GalleryRecords(place, read_only=True) as reader, reader.snapshot():
        assert reader.names() == ["Ann", "Bo"]
        with GalleryRecords(place) as records:
            with records.transaction():
                records.remove("Ann")
            assert records.pending is True
            assert records.names() == ["Bo"]
        assert reader.names() == ["Ann", "Bo"]
    with GalleryRecords(place):
        pass
    assert backend.ask(place, "SELECT count(*) FROM erasures") == [(0,)]


def test_what_is_not_there_or_no_gallery(place: Place, backend: Backend) -> None:
    for read_only in (False, True):
        with pytest.raises(InputOutput, match=r"no such gallery|no gallery in this database"):
            GalleryRecords(place, read_only=read_only)
    enroll(place, ("Ann", 1))
    later = "INSERT INTO migrations VALUES (99, '')" if backend.server else "PRAGMA user_version = 99"
    backend.ask(place, later)
    with pytest.raises(Unreadable, match="a gallery of schema 99"):
        GalleryRecords(place)
