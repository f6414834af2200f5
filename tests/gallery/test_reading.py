"""Reading needs no write access: a read-only folder, a read-only file, a full disk."""

import multiprocessing
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from made_galleries import CONTRACT, enroll, template

from facekd.errors import InputOutput
from facekd.gallery import GalleryRecords, ReadEntry, database

STORED = Path(__file__).parent.parent / "stored" / "0.1.0" / "gallery.db"
NOBODY = 65534


def read(path: Path) -> list[tuple[str, int]]:
    with GalleryRecords(path, read_only=True) as records:
        return [(p.name, len(records.templates(p.name))) for p in records.people()]


def note_claim(path: Path) -> None:
    with GalleryRecords(path, CONTRACT, audit_reads=True) as records:
        records.note_reads([ReadEntry("claim", 1, "same", "small", "a" * 12)])


_KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from made_galleries import CONTRACT, template
from facekd.gallery import GalleryRecords
from pathlib import Path
records = GalleryRecords(Path(sys.argv[1]), CONTRACT, create=True)
for name, seed in (("Ann", 1), ("Bo", 2)):
    with records.transaction():
        records.add(name, [template(seed)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def enroll_and_be_killed(path: Path) -> None:
    """Acknowledged changes are in the write-ahead log."""
    command = [sys.executable, "-c", _KILLED, str(path), str(Path(__file__).parents[1])]
    assert subprocess.run(command, check=False).returncode == -9
    assert path.with_name(path.name + "-wal").stat().st_size > 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


def test_what_a_writer_has_acknowledged_is_read(path: Path) -> None:
    with GalleryRecords(path, CONTRACT, create=True) as records:
        with records.transaction():
            records.add("Ann", [template(1)])
        assert read(path) == [("Ann", 1)]
        with records.transaction():
            records.add("Bo", [template(2)])
        assert read(path) == [("Ann", 1), ("Bo", 1)]


def test_what_a_killed_writer_had_acknowledged_is_read(path: Path) -> None:
    enroll_and_be_killed(path)
    assert read(path) == [("Ann", 1), ("Bo", 1)]


def test_nothing_is_left_beside_the_file(path: Path) -> None:
    enroll(path, ("Ann", 1))
    assert read(path) == [("Ann", 1)]
    assert [file.name for file in path.parent.iterdir()] == ["gallery.db"]


def test_reading_completes_an_erasure_that_was_pending(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    enroll(path, ("Ann", 1), ("Bo", 2))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM people").fetchone()
    with GalleryRecords(path) as records:
        with records.transaction():
            records.remove("Ann")
        assert records.pending
    other.execute("COMMIT")
    gone = template(1).embedding.tobytes()
    files = [path, path.with_name("gallery.db-wal")]
    assert any(gone in file.read_bytes() for file in files if file.exists())
    assert read(path) == [("Bo", 1)]
    assert not any(gone in file.read_bytes() for file in files if file.exists())
    other.close()


def test_schema_1_is_read_as_it_is(path: Path) -> None:
    shutil.copy(STORED, path)
    content = path.read_bytes()
    assert read(path) == [("Ann Lee", 2), ("Bob", 1), ("Zoë 李", 3)]
    assert path.read_bytes() == content


def test_a_reader_changes_nothing(path: Path) -> None:
    enroll(path, ("Ann", 1))
    with GalleryRecords(path, CONTRACT, read_only=True) as records:
        with pytest.raises(RuntimeError), records.transaction():
            records.remove("Ann")
        with pytest.raises(RuntimeError):
            records.add("Bo", [template(2)])
    assert read(path) == [("Ann", 1)]


class TestAnotherUser:
    """Root may do anything, so the reader is a process that has become nobody."""

    @pytest.fixture
    def folder(self) -> Iterator[Path]:
        if os.geteuid() != 0:
            pytest.skip("only root can become another user")
        folder = Path(tempfile.mkdtemp())
        folder.chmod(0o755)
        yield folder
        shutil.rmtree(folder)

    def as_nobody(self, path: Path, do: Callable[[Path], object] = read) -> object:
        read(Path(shutil.copy(STORED, path.with_name("other.db"))))
        path.with_name("other.db").unlink()
        context = multiprocessing.get_context("fork")  # the modules lie where nobody may not look
        ours, theirs = context.Pipe()
        process = context.Process(target=_as_nobody, args=(path, do, theirs))
        process.start()
        told = ours.recv()
        process.join()
        return told

    def test_a_folder_that_may_not_be_written_to(self, folder: Path) -> None:
        enroll(folder / "gallery.db", ("Ann", 1))
        (folder / "gallery.db").chmod(0o644)
        assert self.as_nobody(folder / "gallery.db") == [("Ann", 1)]
        assert [file.name for file in folder.iterdir()] == ["gallery.db"]

    def test_a_file_that_may_not_be_written_to(self, folder: Path) -> None:
        enroll(folder / "gallery.db", ("Ann", 1))
        (folder / "gallery.db").chmod(0o444)
        folder.chmod(0o777)
        assert self.as_nobody(folder / "gallery.db") == [("Ann", 1)]

    @pytest.mark.parametrize(("file", "place"), [(0o444, 0o777), (0o644, 0o755), (0o444, 0o555)])
    def test_claims_in_one_cannot_be_audited(self, folder: Path, file: int, place: int) -> None:
        enroll(folder / "gallery.db", ("Ann", 1))
        (folder / "gallery.db").chmod(file)
        folder.chmod(place)
        assert self.as_nobody(folder / "gallery.db", note_claim) == 5
        with GalleryRecords(folder / "gallery.db", read_only=True) as records:
            assert list(records.read_entries()) == []
        assert self.as_nobody(folder / "gallery.db") == [("Ann", 1)]

    def test_one_that_may_not_be_read(self, folder: Path) -> None:
        enroll(folder / "gallery.db", ("Ann", 1))
        assert stat.S_IMODE((folder / "gallery.db").stat().st_mode) == 0o600
        assert self.as_nobody(folder / "gallery.db") == 5

    @pytest.mark.parametrize("readable", [True, False])
    def test_a_log_that_holds_something_is_read_or_an_error(self, folder: Path, readable: bool) -> None:
        """Never a gallery without the enrollments that are still in its log."""
        path = folder / "gallery.db"
        with GalleryRecords(path, CONTRACT, create=True) as records:
            with records.transaction():
                records.add("Ann", [template(1)])
            for name in ("gallery.db", "gallery.db-wal", "gallery.db-shm"):
                (folder / name).chmod(0o644 if readable or name == "gallery.db" else 0o600)
            assert self.as_nobody(path) == ([("Ann", 1)] if readable else 5)


def _as_nobody(path: Path, do: Callable[[Path], object], answer: object) -> None:
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    try:
        answer.send(do(path))  # type: ignore[attr-defined]
    except InputOutput as error:
        answer.send(int(error.exit_code))  # type: ignore[attr-defined]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A separate disk, of a given size or read-only; skips if none may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        ran = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False
        )
        if ran.returncode != 0:
            pytest.skip("mounting is not permitted here")
        return place

    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    yield mount
    subprocess.run(["umount", str(place)], capture_output=True, check=False)


def fill_up(folder: Path) -> None:
    handle = os.open(folder / "ballast", os.O_CREAT | os.O_WRONLY)
    with suppress(OSError):
        while True:
            os.write(handle, b"\0" * 4096)
    os.close(handle)


def enroll_until_it_fails(path: Path, acknowledged: list[tuple[str, int]]) -> None:
    with GalleryRecords(path, CONTRACT, create=True) as records:
        for seed in range(10_000):
            with records.transaction():
                records.add(f"p{seed:04d}", [template(seed)])
            acknowledged.append((f"p{seed:04d}", 1))


class TestReadOnlyDisk:
    def make_read_only(self, folder: Path) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)

    def test_is_read(self, disk: Callable[..., Path]) -> None:
        folder = disk("size=1m")
        enroll(folder / "gallery.db", ("Ann", 1))
        shutil.copy(STORED, folder / "old.db")
        self.make_read_only(folder)
        assert read(folder / "gallery.db") == [("Ann", 1)]
        assert read(folder / "old.db") == [("Ann Lee", 2), ("Bob", 1), ("Zoë 李", 3)]

    def test_with_a_log_and_its_index(self, disk: Callable[..., Path]) -> None:
        folder = disk("size=1m")
        enroll_and_be_killed(folder / "gallery.db")
        self.make_read_only(folder)
        assert read(folder / "gallery.db") == [("Ann", 1), ("Bo", 1)]

    def test_a_log_without_its_index_is_an_error(self, disk: Callable[..., Path]) -> None:
        folder = disk("size=1m")
        enroll_and_be_killed(folder / "gallery.db")
        (folder / "gallery.db-shm").unlink()
        self.make_read_only(folder)
        with pytest.raises(InputOutput, match="db-wal cannot be read") as caught:
            read(folder / "gallery.db")
        assert "facekd gallery list" in str(caught.value.fix)

    def test_writers_say_so(self, disk: Callable[..., Path]) -> None:
        folder = disk("size=1m")
        enroll(folder / "gallery.db", ("Ann", 1))
        self.make_read_only(folder)
        with pytest.raises(InputOutput, match="cannot be opened or changed"):
            enroll(folder / "gallery.db", ("Bo", 2))
        with pytest.raises(InputOutput, match="cannot be created"):
            enroll(folder / "new.db", ("Bo", 2))


class TestFullDisk:
    def test_is_read(self, disk: Callable[..., Path]) -> None:
        folder = disk("size=512k")
        enroll(folder / "gallery.db", ("Ann", 1))
        shutil.copy(STORED, folder / "old.db")
        fill_up(folder)
        assert read(folder / "gallery.db") == [("Ann", 1)]
        assert read(folder / "old.db") == [("Ann Lee", 2), ("Bob", 1), ("Zoë 李", 3)]

    def test_with_a_log_that_holds_something(self, disk: Callable[..., Path]) -> None:
        folder = disk("size=512k")
        enroll_and_be_killed(folder / "gallery.db")
        fill_up(folder)
        assert read(folder / "gallery.db") == [("Ann", 1), ("Bo", 1)]

    def test_writing_says_that_it_is_full(self, disk: Callable[..., Path]) -> None:
        folder = disk("size=512k")
        enroll(folder / "gallery.db", ("Ann", 1))
        fill_up(folder)
        with pytest.raises(InputOutput, match="the disk is full"):
            enroll(folder / "gallery.db", ("Bo", 2))
        (folder / "ballast").unlink()
        assert read(folder / "gallery.db") == [("Ann", 1)]

    def test_no_claim_is_audited_on_it(self, disk: Callable[..., Path]) -> None:
        folder = disk("size=512k")
        enroll(folder / "gallery.db", ("Ann", 1))
        fill_up(folder)
        with pytest.raises(InputOutput, match="the disk is full"):
            note_claim(folder / "gallery.db")
        (folder / "ballast").unlink()
        with GalleryRecords(folder / "gallery.db", read_only=True) as records:
            assert list(records.read_entries()) == []

    def test_one_that_fills_up_while_people_are_enrolled(self, disk: Callable[..., Path]) -> None:
        folder = disk("size=640k")
        acknowledged: list[tuple[str, int]] = []
        with pytest.raises(InputOutput, match="the disk is full"):
            enroll_until_it_fails(folder / "gallery.db", acknowledged)
        assert len(acknowledged) > 5
        assert read(folder / "gallery.db") == acknowledged

    def test_a_failed_creation_leaves_nothing(self, disk: Callable[..., Path]) -> None:
        folder = disk("size=512k")
        fill_up(folder)
        with pytest.raises(InputOutput, match="the disk is full"):
            enroll(folder / "gallery.db", ("Ann", 1))
        assert [file.name for file in folder.iterdir()] == ["ballast"]


def test_a_failed_creation_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from facekd.gallery import migrations

    monkeypatch.setattr(migrations, "MIGRATIONS", (migrations.statements("CREATE nonsense"),))
    with pytest.raises(InputOutput, match="nonsense"):
        enroll(path, ("Ann", 1))
    assert list(path.parent.iterdir()) == []


def test_a_file_that_changes_while_it_is_read_is_noticed(disk: Callable[..., Path], tmp_path: Path) -> None:
    """Where SQLite can keep no index, another machine's writing would go unnoticed."""
    folder, beside = disk("size=1m"), tmp_path / "beside"
    enroll(folder / "gallery.db", ("Ann", 1))
    beside.mkdir()
    bound = subprocess.run(["mount", "--bind", str(folder), str(beside)], check=False)
    if bound.returncode != 0:
        pytest.skip("binding is not permitted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(beside)], check=True)
        with GalleryRecords(beside / "gallery.db", read_only=True) as records:
            assert [person.name for person in records.people()] == ["Ann"]
            enroll(folder / "gallery.db", ("Bo", 2))
            with pytest.raises(InputOutput, match="changed while it was being read"):
                records.people()
        assert read(beside / "gallery.db") == [("Ann", 1), ("Bo", 1)]
    finally:
        subprocess.run(["umount", str(beside)], check=True)


def test_an_old_connection_sees_that_nothing_was_migrated(path: Path) -> None:
    """A reader of schema 1 continues while a writer migrates the gallery."""
    shutil.copy(STORED, path)
    with GalleryRecords(path, read_only=True) as records:
        assert len(records.templates("Ann Lee")) == 2
        GalleryRecords(path).close()
        assert len(records.templates("Ann Lee")) == 2
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() != (1,)
    db.close()
