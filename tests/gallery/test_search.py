"""Searches compared with brute force in double precision, including their order; and the file in which
templates are kept: private, never outdated, and without removed people, whenever a process is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import stat
from pathlib import Path

import numpy as np
import pytest
from made_galleries import CONTRACT, DIM, embedding, enroll, template

from facekd.errors import InputOutput, Unreadable
from facekd.gallery import (
    RULES,
    Everybody,
    FusedTemplates,
    GalleryRecords,
    SearchIndex,
    Template,
    database,
    search,
    search_file,
)
from facekd.gallery.gallery_file import GalleryFile
from facekd.runtime import fuse


class InMemory:
    """Records of templates that are not in a file."""

    def __init__(self, people: dict[str, np.ndarray]) -> None:
        self.contract = CONTRACT
        self.people, self.word, self.read = dict(sorted(people.items())), "a", 0

    def state(self) -> str | None:
        return self.word

    def version(self) -> int:
        return 0

    def names(self) -> list[str]:
        return list(self.people)

    def everybody(self) -> Everybody:
        self.read += 1
        counts = np.array([len(rows) for rows in self.people.values()], np.int64)
        rows = np.concatenate([np.empty((0, DIM), np.float32), *self.people.values()])
        return Everybody(tuple(self.people), counts, rows)


def made(seed: int, count: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def crowd(people: int, seed: int = 0, most: int = 5) -> dict[str, np.ndarray]:
    """People with one to ``most`` photos."""
    random = np.random.default_rng(seed)
    counts = random.integers(1, most + 1, people)
    names = random.permutation(people)
    return {f"p{name}": made(seed + 1000 + place, counts[place]) for place, name in enumerate(names)}


def brute_force(
    people: dict[str, np.ndarray], probes: np.ndarray, top: int, rule: str
) -> tuple[list[list[str]], np.ndarray]:
    """Everybody one by one, sorted in Python."""
    names, scores = [], []
    for probe in probes.astype(np.float64):
        found = []
        for name, rows in people.items():
            each = sorted((float(np.sum(probe * row)) for row in rows.astype(np.float64)), reverse=True)
            score = {
                "mean": float(np.sum(probe * fuse(list(rows)).astype(np.float64))),
                "max": each[0],
                "highest_three": sum(each[:3]) / len(each[:3]),
            }[rule]
            found.append((-np.float32(score), name))
        found.sort()
        names.append([name for _, name in found[:top]])
        scores.append([-score for score, _ in found[:top]])
    return names, np.array(scores)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rows", [7, 64, 8192])
def test_a_search_finds_what_brute_force_finds(rule, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_ROWS", rows)
    people, probes = crowd(150), made(1, 70)
    for top in (1, 5, 200):
        found = SearchIndex(InMemory(people), rule).search(probes, top)
        names, scores = brute_force(people, probes, top, rule)
        assert [list(row) for row in found.names] == names
        np.testing.assert_allclose(found.scores, scores, atol=1e-7)
        assert found.scores.dtype == np.float32


@pytest.mark.parametrize("rule", RULES)
def test_equal_scores_are_in_the_order_of_names(rule) -> None:
    """Many people with one photo, whose scores matrix products may round differently."""
    one, other = made(2, 2)
    people = {f"p{number:02}": (one if number % 3 else other)[None] for number in range(50)}
    found = SearchIndex(InMemory(people), rule).search(one[None], 20)
    assert found.names[0] == tuple(sorted(name for name in people if int(name[1:]) % 3)[:20])
    assert len(set(found.scores[0].tolist())) == 1


def test_neighbours_closer_than_single_precision_are_told_apart() -> None:
    """A thousand people whose scores differ by less than a matrix product's rounding: asked alone or
    among others, in blocks of any size, they come in the true order."""
    probe = made(3, 1)[0]
    rows = np.repeat(probe[None], 1000, axis=0)
    random = np.random.default_rng(4)
    rows += (1e-7 * random.normal(size=rows.shape)).astype(np.float32)
    people = {f"p{number:04}": row[None] for number, row in enumerate(rows)}
    expected = brute_force(people, probe[None], 50, "max")[0][0]
    for others in (0, 1, 63, 200):
        probes = np.concatenate([probe[None], made(5, others)])
        found = SearchIndex(InMemory(people), "max").search(probes, 50)
        assert list(found.names[0]) == expected
    plain = np.argsort(-(rows @ probe), kind="stable")[:50]
    assert [f"p{place:04}" for place in plain] != expected  # this is what single precision would say


def test_the_bound_holds_for_computed_scores() -> None:
    people, probes = crowd(2000, most=1), 3 * made(6, 64)
    index = SearchIndex(InMemory(people))
    index.refresh()
    rows = np.concatenate([rows for _, rows in sorted(people.items())])
    exact = probes.astype(np.float64) @ rows.astype(np.float64).T
    missed = np.abs((probes @ rows.T).astype(np.float64) - exact).max(axis=1)
    assert (missed <= index._error(probes)[:, 0]).all()
    # no looser than D half units in the last place need
    assert index._error(probes).max() < 3 * (DIM + 10) * 2.0**-24


def test_few_people_and_none() -> None:
    found = SearchIndex(InMemory({})).search(made(7, 3), 5)
    assert (found.names, found.scores.shape) == (((), (), ()), (3, 0))
    found = SearchIndex(InMemory(crowd(2))).search(made(7, 3), 5)
    assert found.scores.shape == (3, 2)
    assert SearchIndex(InMemory(crowd(2))).search(np.empty((0, DIM), np.float32), 5).names == ()


def test_what_cannot_be_searched_for_is_refused() -> None:
    index = SearchIndex(InMemory(crowd(3)))
    for wrong in (made(1, 2)[:, :5], made(1, 2)[0], np.full((1, DIM), np.nan, np.float32)):
        with pytest.raises(ValueError, match="finite"):
            index.search(wrong, 1)
    with pytest.raises(ValueError, match="at least one"):
        index.search(made(1, 2), 0)


def test_the_records_are_read_again_when_they_changed() -> None:
    records = InMemory(crowd(20))
    index = SearchIndex(records)
    probe = made(8, 1)
    index.search(probe, 1)
    index.search(probe, 1)
    assert records.read == 1
    records.people["zoe"], records.word = probe, "b"
    assert index.search(probe, 1).names == (("zoe",),)
    assert index.names[-1] == "zoe"
    assert records.read == 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


@pytest.fixture
def always_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_WORTH_A_FILE", 1)


def found_in(path: Path, seed: int, read_only: bool = False) -> str:
    with GalleryRecords(path, read_only=read_only) as records:
        return SearchIndex.of(records).search(embedding(seed)[None], 1).names[0][0]


def kept(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir() if "search" in file.name)


def test_everybody_is_who_each_person_is(path: Path) -> None:
    with GalleryRecords(path, CONTRACT, create=True) as records:
        with records.transaction():
            records.add("Bo", [template(3)])
            records.add("Ann", [template(1), template(2)])
        with records.transaction():
            records.add("Bo", [template(4)])
        everybody = records.everybody()
        assert everybody.names == ("Ann", "Bo") == tuple(records.names())
        assert everybody.counts.tolist() == [2, 2]
        for name, rows in zip(everybody.names, everybody.of_each(), strict=True):
            np.testing.assert_array_equal(rows, [t.embedding for t in records.templates(name)])
        with records.transaction():
            records.add("Cy", [template(5)])
            assert records.everybody().names == ("Ann", "Bo", "Cy")  # inside, what is not committed yet


def test_reading_everybody_takes_as_many_queries_for_many_as_for_few(path: Path) -> None:
    asked: dict[int, int] = {}
    for people in (3, 60):
        enroll(path, *((f"p{seed}", seed) for seed in range(people)))
        with GalleryRecords(path) as records:
            statements: list[str] = []
            records._file.db.set_trace_callback(statements.append)
            SearchIndex.of(records).refresh()
            FusedTemplates(records).refresh()
            asked[people] = len(statements)
    assert asked[3] == asked[60] < 25


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE templates SET embedding = zeroblob(256) WHERE id = 2",
        "UPDATE templates SET embedding = (SELECT embedding FROM templates WHERE id = 1) WHERE id = 2",
        "UPDATE templates SET embedding = x'00' WHERE id = 2",
        "UPDATE templates SET checksum = '' WHERE id = 2",
        "DELETE FROM templates WHERE id = 2",
        "DELETE FROM people WHERE name = 'Bo'",
    ],
)
def test_damage_is_noticed(path: Path, damage: str) -> None:
    enroll(path, ("Ann", 1), ("Bo", 2))
    db = sqlite3.connect(path)
    db.execute(damage)
    db.commit()
    db.close()
    with GalleryRecords(path) as records, pytest.raises(Unreadable):
        records.everybody()


def test_the_state_is_another_one_after_every_change(path: Path) -> None:
    words = []
    with GalleryRecords(path, CONTRACT, create=True) as records:
        words.append(records.state())
        for change in (
            lambda: records.add("Ann", [template(1)]),
            lambda: records.add("Ann", [template(2)]),
            lambda: records.add("Bo", [template(3)]),
            lambda: records.remove("Ann"),
        ):
            with records.transaction():
                change()
            words.append(records.state())
    db = sqlite3.connect(path)  # and after one that is not made here
    db.execute("UPDATE people SET name = 'Beth'")
    db.commit()
    db.close()
    with GalleryRecords(path) as records:
        words.append(records.state())
        assert records.state() == words[-1]
    assert len(set(words)) == 6


@pytest.mark.usefixtures("always_kept")
def test_templates_are_kept_and_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enroll(path, ("Ann", 1), ("Bo", 2))
    assert kept(path) == []
    assert found_in(path, 2) == "Bo"
    assert kept(path) == ["gallery.db-search"]
    assert stat.S_IMODE(search_file.files_of(path)[0].stat().st_mode) == 0o600
    monkeypatch.setattr(GalleryRecords, "everybody", None)
    assert found_in(path, 1) == found_in(path, 1, read_only=True) == "Ann"


def test_a_small_gallery_is_not_copied(path: Path) -> None:
    enroll(path, ("Ann", 1), ("Bo", 2))
    assert found_in(path, 2) == "Bo"
    assert kept(path) == []


@pytest.mark.usefixtures("always_kept")
@pytest.mark.parametrize("place", [0, 5, 30, 200, 1100, -1])
def test_a_damaged_file_is_made_again(path: Path, place: int) -> None:
    enroll(path, ("Ann", 1), ("Bo", 2))
    found_in(path, 1)
    file = search_file.files_of(path)[0]
    whole = file.read_bytes()
    for damaged in (
        whole[:place] + bytes([whole[place] ^ 1]) + whole[place:][1:],
        whole[:place],
        whole + b"x",
        b"",
    ):
        file.write_bytes(damaged)
        assert found_in(path, 2) == "Bo"
        assert file.read_bytes() == whole


@pytest.mark.usefixtures("always_kept")
def test_a_file_of_another_gallery_or_an_older_one_is_not_taken(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "gallery.db"
    other.parent.mkdir()
    enroll(path, ("Ann", 1), ("Bo", 2))
    enroll(other, ("Ann", 2), ("Bo", 1))
    copy = path.read_bytes()
    assert (found_in(path, 1), found_in(other, 1)) == ("Ann", "Bo")
    mine, theirs = (search_file.files_of(gallery)[0] for gallery in (path, other))
    mine.write_bytes(theirs.read_bytes())
    assert found_in(path, 1) == "Ann"
    # the gallery goes back to a copy, and comes to the same number of changes and people in another way
    enroll(path, ("Cy", 3))
    assert found_in(path, 3) == "Cy"
    kept_then = mine.read_bytes()
    path.write_bytes(copy)
    enroll(path, ("Cy", 4))
    mine.write_bytes(kept_then)
    assert found_in(path, 4) == "Cy"
    assert found_in(path, 3) != "Cy" or embedding(3) @ embedding(4) > embedding(3) @ embedding(1)
    assert mine.read_bytes() != kept_then


@pytest.mark.usefixtures("always_kept")
def test_a_removed_person_is_gone_from_the_file(path: Path) -> None:
    enroll(path, ("Ann", 1), ("Bo", 2))
    found_in(path, 1)
    final, unfinished = search_file.files_of(path)
    assert embedding(1).tobytes() in final.read_bytes()
    unfinished.write_bytes(final.read_bytes())  # as a writer leaves it that is killed
    with GalleryRecords(path) as records:
        with records.transaction():
            records.remove("Ann")
        assert kept(path) == []
    assert found_in(path, 1) == "Bo"
    assert embedding(1).tobytes() not in final.read_bytes()


@pytest.mark.usefixtures("always_kept")
def test_a_removal_that_cannot_delete_the_file_does_not_happen(path: Path, monkeypatch) -> None:
    enroll(path, ("Ann", 1), ("Bo", 2))
    found_in(path, 1)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with GalleryRecords(path) as records:
        with monkeypatch.context() as now:
            now.setattr(Path, "unlink", refused)
            with pytest.raises(InputOutput, match="cannot be deleted"), records.transaction():
                records.remove("Ann")
        assert records.names() == ["Ann", "Bo"]


@pytest.mark.usefixtures("always_kept")
def test_old_templates_are_not_kept_after_a_change(path: Path) -> None:
    """A program reads everybody; before it has written them, somebody is removed, or is just being."""
    enroll(path, ("Ann", 1), ("Bo", 2))
    with GalleryRecords(path) as records, GalleryRecords(path) as other:
        key = search_file.SearchKey(CONTRACT.space, DIM, records.state(), 2)
        rows = np.stack([embedding(1), embedding(2)])
        with other.transaction():
            other.remove("Ann")
            assert not search_file.keep(path, key, rows)
        assert not search_file.keep(path, key, rows)
        assert kept(path) == []


@pytest.mark.usefixtures("always_kept")
def test_reading_needs_no_write_access(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enroll(path, ("Ann", 1), ("Bo", 2))

    def refused(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(search_file, "_write", refused)
    assert found_in(path, 1, read_only=True) == "Ann"
    monkeypatch.setattr(
        database, "connect", lambda file, options="mode=rw", real=database.connect: real(file, "mode=ro")
    )
    assert found_in(path, 2, read_only=True) == "Bo"
    assert kept(path) == []


def _killed(path: Path, at: str) -> None:
    """Keep the templates, or remove somebody, and be killed before the call ``at``, or after it."""
    name, _, when = at.partition(" ")
    module, function = {
        "fsync": (os, "fsync"), "replace": (Path, "replace"), "sync_folder": (search_file, "sync_folder"),
        "unlink": (Path, "unlink"), "erase": (GalleryFile, "_erase"),
    }[name]  # fmt: skip
    real = getattr(module, function)

    def kill(*arguments: object, **keywords: object) -> object:
        if when == "after":
            real(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    search._WORTH_A_FILE = 1
    with GalleryRecords(path) as records:
        if name in ("unlink", "erase") or (name, when) == ("sync_folder", "removing"):
            SearchIndex.of(records).refresh()
            setattr(module, function, kill)
            with records.transaction():
                records.remove("Ann")
        else:
            setattr(module, function, kill)
            SearchIndex.of(records).refresh()


@pytest.mark.parametrize(
    "at",
    [
        "fsync before", "fsync after", "replace before", "replace after", "sync_folder before",
        "unlink before", "unlink after", "sync_folder removing", "erase before", "erase after",
    ],
)  # fmt: skip
def test_a_kill_leaves_nothing_that_a_removal_does_not_take(path: Path, at: str, monkeypatch) -> None:
    enroll(path, ("Ann", 1), ("Bo", 2))
    process = multiprocessing.get_context("spawn").Process(target=_killed, args=(path, at))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with GalleryRecords(path) as records:
        if "Ann" in records.names():
            with records.transaction():
                records.remove("Ann")
        assert records.names() == ["Bo"]
        left = [file.read_bytes() for file in search_file.files_of(path) if file.exists()]
        assert not any(embedding(1).tobytes() in content for content in left)
        monkeypatch.setattr(search, "_WORTH_A_FILE", 1)
        assert SearchIndex.of(records).search(embedding(1)[None], 1).names == (("Bo",),)
        assert kept(path) == ["gallery.db-search"]


def test_an_older_gallery_that_is_only_read_can_be_searched(path: Path, monkeypatch) -> None:
    enroll(path, ("Ann", 1), ("Bo", 2))
    monkeypatch.setattr(search, "_WORTH_A_FILE", 1)
    monkeypatch.setattr(GalleryRecords, "state", lambda self: None)
    with GalleryRecords(path, read_only=True) as records:
        index = SearchIndex.of(records)
        assert index.search(embedding(2)[None], 1).names == (("Bo",),)
        with GalleryRecords(path, CONTRACT) as other, other.transaction():
            other.add("Cy", [Template(embedding(3), f"{3:064x}", 1.0)])
        assert index.search(embedding(3)[None], 1).names == (("Cy",),)
    assert kept(path) == []
