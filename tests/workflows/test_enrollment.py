"""The guard of enrollment, and two programs that enroll at once. A photo here is a file of text
"PERSON SEED"; its embedding is the person's direction with noise of the seed's."""

import errno
import hashlib
import multiprocessing
import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from facekd.card import Calibration, Card, Counts, EmbeddingSpec, InputSpec, LandmarkCrop
from facekd.errors import Exit, InputOutput
from facekd.gallery import Contract, GalleryRecords, Template
from facekd.preprocess import FolderSource
from facekd.workflows.enroll import Enrolled, enroll_people
from facekd.workflows.enrollment_guard import EnrollmentGuard, threshold_at
from facekd.workflows.photos_given import PhotoFile, people_in

DIM = 64
CONTRACT = Contract("a" * 64, DIM, "made-up", "none", "none")
#: cosines of random directions in DIM dimensions: near normal, of this deviation
SPREAD = 1 / np.sqrt(DIM)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def direction(person: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(person.encode()).digest()[:4], "big")
    return unit(np.random.default_rng(seed).normal(size=DIM))


def embedding(content: bytes) -> np.ndarray:
    person = content.decode().split()[0]
    return unit(direction(person) + 0.5 * direction(f"noise of {content.decode().strip()}"))


def entry(fmr: float) -> Calibration:
    counts = Counts(mated=10, non_mated=10_000, false_matches=10, false_non_matches=1)
    return Calibration(
        fmr=fmr, threshold=float(norm.isf(fmr) * SPREAD), low=fmr / 2, high=fmr * 2, data="made up",
        counts=counts, detector="none", aligner="none",
    )  # fmt: skip


def made_card(*fmrs: float) -> Card:
    return Card(
        name="made-up", input=InputSpec(), crop=LandmarkCrop(), embedding=EmbeddingSpec(dim=DIM),
        calibration=tuple(map(entry, fmrs)),
    )  # fmt: skip


class MadeUp:
    """A recognizer of such photos."""

    def __init__(self, *fmrs: float) -> None:
        self.embedder = SimpleNamespace(card=made_card(*fmrs))

    def recognise(self, data: bytes, name: str, on_many: str) -> SimpleNamespace:
        return SimpleNamespace(
            embedding=embedding(data), sha256=hashlib.sha256(data).hexdigest(), quality=1.0
        )


CALIBRATED = MadeUp(1e-2, 1e-3, 1e-4)


def photos_of(folder: Path, *contents: str) -> list[PhotoFile]:
    person = folder / "photos" / str(len(list(folder.glob("photos/*"))))
    person.mkdir(parents=True)
    for number, content in enumerate(contents):
        (person / f"{number}.jpg").write_text(content)
    return people_in(person.parent)[person.name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    GalleryRecords(tmp_path / "gallery.db", CONTRACT, create=True).close()
    return tmp_path


def enroll(
    folder: Path, name: str, *contents: str, recognizer: MadeUp = CALIBRATED, force: bool = False
) -> Enrolled:
    people = {name: photos_of(folder, *contents)}
    with GalleryRecords(folder / "gallery.db", CONTRACT) as records:
        (entry,) = enroll_people(records, recognizer, people, force=force)  # type: ignore[arg-type]
    return entry


def enrolled(folder: Path) -> dict[str, int]:
    with GalleryRecords(folder / "gallery.db", read_only=True) as records:
        return {person.name: person.templates for person in records.people()}


def audit(folder: Path) -> list[tuple[str, int, int]]:
    db = sqlite3.connect(folder / "gallery.db")
    try:
        return db.execute("SELECT action, person, templates FROM audit ORDER BY id").fetchall()
    finally:
        db.close()


def reasons(entry: Enrolled) -> list[str]:
    return [failure.reason for failure in entry.failures]


class TestOwnPhotos:
    def test_another_persons_photo_under_a_name_is_refused(self, folder: Path) -> None:
        assert enroll(folder, "Ann", "ann 1", "ann 2").added == 2
        entry = enroll(folder, "Ann", "ann 3", "bob 1")
        assert (entry.added, reasons(entry)) == (1, ["not_this_person"])
        assert "1.jpg: does not look like the photos of 'Ann'" in entry.failures[0].message
        assert enrolled(folder) == {"Ann": 3}
        assert entry.guard is not None
        assert entry.guard.not_this_person == pytest.approx(norm.isf(1e-2) * SPREAD)

    def test_only_theirs_leaves_the_gallery_as_it_was(self, folder: Path) -> None:
        enroll(folder, "Ann", "ann 1")
        entry = enroll(folder, "Ann", "bob 1")
        assert (entry.added, entry.templates, int(entry.exit_code)) == (0, 0, 3)
        assert audit(folder) == [("add", 1, 1)]

    def test_the_first_photo_has_nothing_to_be_compared_with(self, folder: Path) -> None:
        assert enroll(folder, "Ann", "ann 1").added == 1

    def test_several_of_somebody_new_are_compared_with_each_other(self, folder: Path) -> None:
        """Whichever comes first: the one that is not like most is refused."""
        entry = enroll(folder, "Ann", "bob 1", "ann 1", "ann 2")
        assert (entry.added, reasons(entry)) == (2, ["not_this_person"])
        assert entry.failures[0].photo.endswith("0.jpg")

    @pytest.mark.parametrize(
        "contents",
        [
            [f"person{n} 1" for n in range(30)],
            [f"person{n // 2} {n}" for n in range(60)],
            ["ann 1", "bob 1"],
            ["ann 1", "ann 2", "bob 1", "bob 2"],
        ],
    )
    def test_photos_of_many_people_are_nobody(self, folder: Path, contents: list[str]) -> None:
        entry = enroll(folder, "photos", *contents)
        assert (entry.added, set(reasons(entry))) == (0, {"not_this_person"})
        assert len(entry.failures) == len(contents)
        assert enrolled(folder) == {}

    def test_copies_of_a_photo_are_no_majority(self, folder: Path) -> None:
        entry = enroll(folder, "Ann", "bob 1", "bob 1", "bob 1", "ann 1", "ann 2")
        assert (entry.added, reasons(entry)) == (2, ["not_this_person"] * 3)


class TestOthers:
    def test_one_person_under_two_names_is_refused(self, folder: Path) -> None:
        enroll(folder, "Ann", "ann 1")
        entry = enroll(folder, "Anna", "ann 2")
        assert (entry.added, reasons(entry)) == (0, ["other_person"])
        assert "looks like 'Ann'" in entry.failures[0].message
        assert enrolled(folder) == {"Ann": 1}

    def test_the_other_photos_are_taken(self, folder: Path) -> None:
        enroll(folder, "Ann", "ann 1")
        entry = enroll(folder, "Bob", "ann 2", "bob 1", "bob 2")
        assert (entry.added, reasons(entry)) == (2, ["other_person"])

    def test_two_of_one_call(self, folder: Path) -> None:
        """What was added a moment ago is known."""
        people = {"Ann": photos_of(folder, "ann 1"), "Anna": photos_of(folder, "ann 2")}
        with GalleryRecords(folder / "gallery.db", CONTRACT) as records:
            first, second = enroll_people(records, CALIBRATED, people)  # type: ignore[arg-type]
        assert (first.added, reasons(second)) == (1, ["other_person"])

    def test_what_other_programs_add_and_remove_is_noticed(self, folder: Path) -> None:
        people = {"Zoe": photos_of(folder, "zoe 1"), "Anna": photos_of(folder, "ann 2")}
        people |= {"Zoey": photos_of(folder, "zoe 2")}
        with GalleryRecords(folder / "gallery.db", CONTRACT) as records:
            one_by_one = enroll_people(records, CALIBRATED, people)  # type: ignore[arg-type]
            assert next(one_by_one).added == 1
            enroll(folder, "Ann", "ann 1")
            assert reasons(next(one_by_one)) == ["other_person"]
            with GalleryRecords(folder / "gallery.db") as others, others.transaction():
                others.remove("Zoe")
            assert next(one_by_one).added == 1

    def test_a_twin_is_a_warning(self, folder: Path) -> None:
        """A photo that is like somebody else's, and more like the person's own, is taken."""
        enroll(folder, "Ann", "ann 1")
        enroll(folder, "Twin", "ann 2", "ann 3", force=True)
        entry = enroll(folder, "Twin", "ann 3 ")
        assert entry.added == 1
        assert [warning.reason for warning in entry.warnings] == ["looks_like"]
        assert "may show 'Ann'" in entry.warnings[0].message
        assert entry.forced == 0

    @pytest.mark.parametrize("people", [1, 5, 30, 100])
    def test_one_newcomer_in_a_hundred_is_refused(self, folder: Path, people: int) -> None:
        rng = np.random.default_rng(people)
        with GalleryRecords(folder / "gallery.db", CONTRACT) as records:
            with records.transaction():
                for number, row in enumerate(unit(rng.normal(size=(people, DIM)))):
                    records.add(f"p{number}", [Template(row, f"{number:064x}", 1.0)])
            guard = EnrollmentGuard(CALIBRATED.embedder.card, records)
            newcomers, refused = 20_000, 0
            for first in range(0, newcomers, 500):
                rows = unit(rng.normal(size=(500, DIM)))
                photos = [Template(row, f"{first + n:064x}", 1.0) for n, row in enumerate(rows)]
                findings, limits = guard.judge("new", photos)
                refused += sum(finding.reason == "other_person" for finding in findings.values())
        assert limits.others == people
        # the thresholds are those of a normal distribution, whose tails are a little heavier
        assert 0.004 < refused / newcomers < 0.0125

    def test_too_many_people_for_the_calibration(self, folder: Path) -> None:
        """Beyond the rates that the card knows the guard warns, and says so."""
        coarse = MadeUp(1e-2, 1e-3)
        with GalleryRecords(folder / "gallery.db", CONTRACT) as records, records.transaction():
            for number in range(11):
                row = embedding(f"p{number} 0".encode())
                records.add(f"p{number}", [Template(row, f"{number:064x}", 1.0)])
        entry = enroll(folder, "new", "p3 1", recognizer=coarse)
        assert (entry.added, entry.failures) == (1, ())
        assert [(w.reason, "may show 'p3'" in w.message) for w in entry.warnings] == [("looks_like", True)]
        assert entry.guard is not None
        assert (entry.guard.others, entry.guard.other_person) == (11, None)
        assert len(entry.notes) == 1
        assert "ends at FMR 0.001, too high for a gallery of more than 10 people" in entry.notes[0]
        assert enroll(folder, "stranger", "stranger 1", recognizer=coarse).warnings == ()


class TestForce:
    def test_takes_them_and_the_audit_says_so(self, folder: Path) -> None:
        enroll(folder, "Ann", "ann 1")
        entry = enroll(folder, "Ann", "bob 1", "ann 2", force=True)
        assert (entry.added, entry.forced, entry.failures) == (2, 1, ())
        assert [warning.reason for warning in entry.warnings] == ["not_this_person"]
        entry = enroll(folder, "Bob", "bob 2", force=True)
        assert (entry.added, entry.forced) == (1, 1)
        assert audit(folder) == [
            ("add", 1, 1),
            ("add", 1, 2),
            ("force", 1, 1),
            ("add", 2, 1),
            ("force", 2, 1),
        ]

    def test_a_file_that_somebody_has_stays_theirs(self, folder: Path) -> None:
        enroll(folder, "Ann", "ann 1")
        entry = enroll(folder, "Bob", "ann 1", force=True)
        assert (entry.added, reasons(entry)) == (0, ["other_person"])
        assert "already enrolled as 'Ann'" in entry.failures[0].message


class TestCalibration:
    def test_without_any_the_guard_is_off_and_says_so(self, folder: Path) -> None:
        blind = MadeUp()
        assert enroll(folder, "Ann", "ann 1", "bob 1", recognizer=blind).added == 2
        entry = enroll(folder, "Bob", "bob 2", recognizer=blind)
        assert (entry.added, entry.guard, entry.warnings) == (1, None, ())
        assert "not calibrated" in entry.notes[0]

    def test_without_a_lax_threshold_own_photos_are_not_compared(self, folder: Path) -> None:
        strict = MadeUp(1e-4)
        entry = enroll(folder, "Ann", "ann 1", "bob 1", recognizer=strict)
        assert entry.added == 2
        assert "no threshold at FMR 0.01" in entry.notes[0]
        assert reasons(enroll(folder, "Anna", "cid 1", "cid 2", recognizer=strict)) == []

    def test_thresholds_between_those_that_were_measured(self) -> None:
        card = made_card(1e-2, 1e-4)
        for fmr in (1e-2, 3e-3, 1e-3, 2e-4, 1e-4):
            assert threshold_at(card, fmr) == pytest.approx(norm.isf(fmr) * SPREAD, abs=1e-6)
        assert threshold_at(card, 9e-5) is None
        assert threshold_at(card, 2e-2) is None
        assert threshold_at(made_card(), 1e-2) is None


class Meanwhile(MadeUp):
    """Another program enrolls the same photo while this one still looks at it."""

    def __init__(self, folder: Path, name: str, content: str) -> None:
        super().__init__()
        self.act = lambda: enroll(folder, name, content, recognizer=MadeUp())

    def recognise(self, data: bytes, name: str, on_many: str) -> SimpleNamespace:
        self.act()
        return super().recognise(data, name, on_many)


def test_a_folder_that_cannot_be_listed_keeps_nobody_else_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ann/1.png", "ann/2019/2.png", "bob/1.png"):
        photo = tmp_path / "people" / name
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_text(f"{name.partition('/')[0]} {name}")
    closed = {tmp_path / "people" / name for name in ("bob", "ann/2019")}
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if Path(path) in closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    people = people_in(tmp_path / "people")
    with GalleryRecords(tmp_path / "g.db", CONTRACT, create=True) as records:
        ann, bob = enroll_people(records, MadeUp(), people)
    assert (ann.name, ann.added, [f.photo for f in ann.failures]) == (
        "ann", 1, [str(tmp_path / "people" / "ann" / "2019")],
    )  # fmt: skip
    assert (bob.name, bob.templates, bob.exit_code) == ("bob", 0, Exit.IO)
    assert [f.message for f in bob.failures] == [f"{tmp_path / 'people' / 'bob'}: Permission denied"]
    with pytest.raises(InputOutput, match="Permission denied"):
        FolderSource(tmp_path / "people").names()
    closed.add(tmp_path / "people")
    with pytest.raises(InputOutput, match="Permission denied"):
        people_in(tmp_path / "people")


def test_two_connections_and_one_photo(folder: Path) -> None:
    entry = enroll(folder, "Bob", "ann 1", recognizer=Meanwhile(folder, "Ann", "ann 1"))
    assert (entry.added, reasons(entry)) == (0, ["other_person"])
    assert "already enrolled as 'Ann'" in entry.failures[0].message
    assert enrolled(folder) == {"Ann": 1}


def test_two_connections_one_photo_and_one_name(folder: Path) -> None:
    entry = enroll(folder, "Ann", "ann 1", recognizer=Meanwhile(folder, "Ann", "ann 1"))
    assert (entry.added, entry.present, entry.templates) == (0, 1, 1)


def _enroll_all(folder: Path, tree: Path, prefix: str, start: object) -> None:
    people = {f"{prefix}{name}": photos for name, photos in people_in(tree).items()}
    start.wait()  # type: ignore[attr-defined]
    with GalleryRecords(folder / "gallery.db", CONTRACT) as records:
        for _ in enroll_people(records, MadeUp(), people):  # type: ignore[arg-type]
            pass


def test_two_processes_and_the_same_photos(folder: Path) -> None:
    """Each photo belongs to one person, whichever process was faster, and none is lost."""
    for number in range(40):
        person = folder / "people" / f"p{number}"
        person.mkdir(parents=True)
        (person / "0.jpg").write_text(f"p{number} 0")
    context = multiprocessing.get_context("fork")
    start = context.Barrier(2)
    workers = [
        context.Process(target=_enroll_all, args=(folder, folder / "people", prefix, start))
        for prefix in "ab"
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert set(enrolled(folder).values()) == {1}
    assert sorted(name[1:] for name in enrolled(folder)) == sorted(f"p{n}" for n in range(40))


class TestANewGallery:
    """It is made for the first person who is enrolled."""

    def enroll(self, folder: Path, people: dict, between=lambda: None) -> list[Enrolled]:
        with GalleryRecords(folder / "new.db", CONTRACT, create=True, late=True) as records:
            between()
            return list(enroll_people(records, CALIBRATED, people))  # type: ignore[arg-type]

    def test_is_not_made_for_photos_that_are_refused(self, tmp_path: Path) -> None:
        """By the guard: three photos of three people."""
        (entry,) = self.enroll(tmp_path, {"Ann": photos_of(tmp_path, "Ann 1", "Bo 1", "Cy 1")})
        assert reasons(entry) == ["not_this_person"] * 3
        assert list(tmp_path.glob("*new.db*")) == []

    def test_is_made_for_the_first_who_is_enrolled(self, tmp_path: Path) -> None:
        people = {
            "Ann": photos_of(tmp_path, "Ann 1", "Bo 1", "Cy 1"), "Di": photos_of(tmp_path, "Di 1"),
            "Eve": photos_of(tmp_path, "Di 2"),
        }  # fmt: skip
        ann, di, eve = self.enroll(tmp_path, people)
        assert (ann.templates, di.templates, reasons(eve)) == (0, 1, ["other_person"])
        with GalleryRecords(tmp_path / "new.db", read_only=True) as records:
            assert records.names() == ["Di"]

    def test_that_another_program_makes_meanwhile_is_looked_at_again(self, tmp_path: Path) -> None:
        def other() -> None:
            with GalleryRecords(tmp_path / "new.db", CONTRACT, create=True) as records:
                list(enroll_people(records, CALIBRATED, {"Bo": photos_of(tmp_path, "Ann 2")}))  # type: ignore[arg-type]

        (entry,) = self.enroll(tmp_path, {"Ann": photos_of(tmp_path, "Ann 1")}, other)
        assert (entry.templates, reasons(entry)) == (0, ["other_person"])
