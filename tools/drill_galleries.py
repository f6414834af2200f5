"""Drills of A6, A7, A9 and A10: enrolled people, and the gallery file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from drill_list import Outcome, drill, fact, together
from drill_material import (
    cardless,
    change_rows,
    claim_ann,
    enroll,
    first_card,
    nobody_in,
    people_in,
    pixels_of,
    rows_of,
)
from drill_site import ROOT, Site, fill


@drill("A6", "enroll another person's photo under ann's name", "exit 3, not_this_person; nothing added")
def another_person_under_a_name(site: Site) -> Outcome:
    gallery = site.new() / "g.db"
    enroll(site, gallery, "ann", *site.ann[:2])
    ran = enroll(site, gallery, "ann", site.bob[2], "--json")
    kept = people_in(site, gallery)["ann"]
    return together(ran.check(3, reason="not_this_person"), fact(kept == 2, f"ann has {kept} photos"))


@drill("A6", "enroll ann's new photo as somebody else", "exit 3, other_person", short=True)
def one_person_under_two_names(site: Site) -> Outcome:
    gallery = site.own_gallery()
    ran = enroll(site, gallery, "Eve", site.ann[2], "--json")
    return together(
        ran.check(3, reason="other_person"), fact("Eve" not in people_in(site, gallery), "no Eve")
    )


@drill("A6", "the same with --force", "taken, and the audit says 'force'")
def force_is_noted(site: Site) -> Outcome:
    gallery = site.own_gallery()
    ran = enroll(site, gallery, "Eve", site.ann[2], "--force")
    forced = rows_of(gallery, "SELECT templates FROM audit WHERE action = 'force'")
    return together(ran.check(0, "enrolled Eve"), fact(forced == [(1,)], f"audit: force {forced}"))


@drill(
    "A6", "enroll ann's first photo, the same file, as Eve, with --force", "exit 3, other_person", short=True
)
def same_file_under_two_names(site: Site) -> Outcome:
    gallery = site.own_gallery()
    return enroll(site, gallery, "Eve", site.ann[0], "--force", "--json").check(3, reason="other_person")


@drill("A6", "enroll A.jpg B.jpg without a name", "exit 2; no gallery is made", short=True)
def photos_in_the_place_of_a_name(site: Site) -> Outcome:
    gallery = site.new() / "g.db"
    ran = enroll(site, gallery, site.ann[0], site.ann[1])
    return together(ran.check(2, "is a file"), nobody_in(gallery))


@drill("A6", "names of invisible characters, in one command each", "exit 2")
def invisible_names(site: Site) -> Outcome:
    gallery = site.new() / "g.db"
    names = ("\u200b", "Ann\u200bLee", "\u2060", " ", "Ann\x1b[31m")
    return together(
        *(enroll(site, gallery, name, site.ann[0]).check(2) for name in names), nobody_in(gallery)
    )


@drill("A6", "'Ann Lee' with two spaces, a no-break space, and as NFD 'Zoë'", "one person each")
def names_are_normalised(site: Site) -> Outcome:
    gallery = site.new() / "g.db"
    told = [enroll(site, gallery, "Ann Lee", site.ann[0]).check(0)]
    for name, photo in (("Ann  Lee", site.ann[1]), ("Ann\u00a0Lee", site.ann[2])):
        told.append(enroll(site, gallery, name, photo).check(0))
    told.append(enroll(site, gallery, "Zoe\u0308", site.bob[0]).check(0))
    told.append(enroll(site, gallery, "Zoë", site.bob[1]).check(0))
    found = people_in(site, gallery)
    return together(*told, fact(found == {"Ann Lee": 3, "Zoë": 2}, str(found)))


@drill("A6", "enroll with a model without calibration", "enrolled; says that the guard is off")
def no_guard_is_said(site: Site) -> Outcome:
    work = site.new()
    model = _uncalibrated(site, work)
    ran = site.facekd("enroll", "ann", site.ann[0], "--model", model, "--gallery", work / "g.db")
    return ran.check(0, "is not calibrated")


@drill("A7", "two commands enroll one photo under two names at once, three times", "one name each time")
def two_commands_at_once(site: Site) -> Outcome:
    told = []
    for _ in range(3):
        gallery = site.new() / "g.db"
        enroll(site, gallery, "bob", site.bob[0])
        command = [sys.executable, "-m", "facekd", "enroll"]
        rest = [str(site.ann[0]), "--model", str(site.model), "--gallery", str(gallery)]
        both = [
            site.start([*command, name, *rest], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for name in ("Ann", "Eve")
        ]
        codes = sorted(process.wait(180) for process in both)
        found = sorted(set(people_in(site, gallery)) - {"bob"})
        told.append(fact(codes == [0, 3] and len(found) == 1, f"exits {codes}, {', '.join(found)}"))
    return together(*told)


@drill(
    "A7", "two connections: the second checks before the first commits", "the second is refused", short=True
)
def two_connections(site: Site) -> Outcome:
    ran = site.python(_TWO_CONNECTIONS, site.own_gallery())
    return ran.check(0, "the second waited and found the first one's")


_TWO_CONNECTIONS = """
import sys, threading
from pathlib import Path
import numpy as np
from facekd.gallery import GalleryRecords, Template
path = Path(sys.argv[1])
with GalleryRecords(path, read_only=True) as records:
    contract = records.contract
row = np.zeros(contract.dim, np.float32); row[0] = 1
photo = Template(row, "f" * 64, 1.0)
began, seen = threading.Event(), []
def second():
    with GalleryRecords(path, contract) as other:
        began.set()
        with other.transaction():
            holders = other.holders(photo.photo)
            seen.append(list(holders))
            if not holders:
                other.add("Eve", [photo])
with GalleryRecords(path, contract) as records:
    with records.transaction():
        assert not records.holders(photo.photo)
        thread = threading.Thread(target=second); thread.start(); began.wait()
        records.add("Ann", [photo])
    thread.join()
    assert seen == [["Ann"]], seen
    assert "Eve" not in [person.name for person in records.people()]
print("the second waited and found the first one's")
"""


@drill("A9", "list and claim in a folder, and of a file, that may not be written to", "answers, exit 0")
def reading_needs_no_writing(site: Site) -> Outcome:
    site.need_modes()
    told = []
    for what in ("folder", "file"):
        gallery = site.own_gallery()
        gallery.chmod(0o400)
        gallery.parent.chmod(0o500 if what == "folder" else 0o700)
        told += _read(site, gallery)
        gallery.parent.chmod(0o700)
    return together(*told)


@drill("A9", "list a read-only folder where a killed writer left a log", "exit 5, or everybody; never fewer")
def a_log_that_cannot_be_read(site: Site) -> Outcome:
    site.need_modes()
    gallery = _killed_writer(site)
    # without the index of the log, reading it needs writing
    (gallery.parent / "staff.db-shm").unlink(missing_ok=True)
    gallery.parent.chmod(0o500)
    for file in gallery.parent.iterdir():
        file.chmod(0o400)
    ran = site.facekd("gallery", "list", "--gallery", gallery, "--json")
    gallery.parent.chmod(0o700)
    if ran.code == 0:
        names = [person["name"] for person in ran.document()["people"]]
        return fact("Late" in names, f"lists {', '.join(names)}")
    return ran.check(5, "cannot be read", reason="io")


@drill("A9", "list and claim on a full disk, then enroll there", "answers; then exit 5, 'the disk is full'")
def a_full_disk(site: Site) -> Outcome:
    with site.small_disk(2) as disk:
        gallery = Path(shutil.copy(site.gallery, disk / "staff.db"))
        fill(disk)
        told = _read(site, gallery)
        ran = enroll(site, gallery, "Eve", _another(site, site.ann[2]), "--force")
        told.append(ran.check(5, "the disk is full"))
        told += _read(site, gallery)
    return together(*told)


@drill("A9", "make a gallery on a full disk", "exit 5, 'the disk is full', no file left")
def no_empty_file_is_left(site: Site) -> Outcome:
    with site.small_disk(1) as disk:
        fill(disk)
        ran = enroll(site, disk / "new.db", "ann", site.ann[0])
        left = sorted(file.name for file in disk.iterdir())
    return together(ran.check(5, "the disk is full"), fact(left == ["filler"], f"left: {', '.join(left)}"))


@drill("A9", "make a gallery where files may have 4096 bytes", "exit 5, no file left")
def no_room_in_files(site: Site) -> Outcome:
    gallery = site.new() / "new.db"
    ran = enroll(site, gallery, "ann", site.ann[0], file_size=4096)
    left = sorted(file.name for file in gallery.parent.iterdir())
    return together(ran.check(5, never=("internal error",)), fact(not left, f"left: {left or 'nothing'}"))


@drill("A9", "list a gallery of schema 1", "its people; the file's bytes stay", short=True)
def schema_1_is_read_as_it_is(site: Site) -> Outcome:
    gallery = _of_schema_1(site)
    before = gallery.read_bytes()
    ran = site.facekd("gallery", "list", "--gallery", gallery)
    return together(ran.check(0, "3 enrolled"), fact(gallery.read_bytes() == before, "not a byte changed"))


@drill(
    "A10",
    "claim ann after her vectors were negated in the file",
    "exit 5 that names her, no score",
    short=True,
)
def negated_vectors(site: Site) -> Outcome:
    gallery = site.own_gallery()
    _change_embeddings(gallery, lambda row: -row)
    ran = site.facekd(
        "verify", site.ann[2], "--claim", "ann", "--model", site.model, "--gallery", gallery, "--json"
    )
    return together(
        ran.check(5, "ann", reason="unreadable"), fact(ran.document().get("score") is None, "no score")
    )


@drill("A10", "claim ann after one bit of her vector, and her photo's digest, changed", "exit 5, each")
def other_damage(site: Site) -> Outcome:
    gallery = site.own_gallery()
    change_rows(
        gallery, "UPDATE templates SET photo = replace(photo, substr(photo, 1, 1), 'e') WHERE person = 1"
    )
    told = [claim_ann(site, gallery, "--json").check(5, reason="unreadable")]
    gallery = site.own_gallery()
    _change_embeddings(gallery, _one_bit)
    return together(*told, claim_ann(site, gallery, "--json").check(5, reason="unreadable"))


@drill(
    "A10",
    "enroll into a gallery of schema 1",
    "migrated to the latest; everybody kept; a copy killed is whole",
)
def schema_1_is_migrated(site: Site) -> Outcome:
    gallery = _of_schema_1(site)
    before = rows_of(gallery, "SELECT person, photo, embedding FROM templates ORDER BY id")
    model = ROOT / "tests" / "stored" / "0.1.0" / "model.onnx"
    ran = site.facekd("enroll", "New", site.bob[0], "--force", "--model", model, "--gallery", gallery)
    after = rows_of(gallery, "SELECT person, photo, embedding FROM templates ORDER BY id")
    schema = rows_of(gallery, "PRAGMA user_version")[0][0]
    return together(
        ran.check(0, "enrolled New: 1 new"),
        fact(
            schema >= 2 and after[: len(before)] == before, f"schema {schema}, {len(before)} templates kept"
        ),
    )


def _read(site: Site, gallery: Path) -> list[Outcome]:
    """That the gallery answers."""
    listed = site.facekd("gallery", "list", "--gallery", gallery)
    return [listed.check(0, "2 enrolled"), claim_ann(site, gallery).check(0, "same person as ann")]


def _change_embeddings(gallery: Path, change: Any) -> None:
    """``change`` every vector in the file, as a program that knows the form of it would."""
    for number, blob in rows_of(gallery, "SELECT id, embedding FROM templates"):
        changed = np.asarray(change(np.frombuffer(blob, "<f4")), "<f4")
        change_rows(gallery, "UPDATE templates SET embedding = ? WHERE id = ?", (changed.tobytes(), number))


def _one_bit(row: Any) -> Any:
    bits = row.copy().view("<u4")
    bits[5] ^= 1
    return bits.view("<f4")


def _of_schema_1(site: Site) -> Path:
    stored = ROOT / "tests" / "stored" / "0.1.0" / "gallery.db"
    return Path(shutil.copy(stored, site.new() / "old.db"))


def _killed_writer(site: Site) -> Path:
    """A gallery whose last enrollment lies in the write-ahead log, its writer killed."""
    gallery = site.own_gallery()
    code = (
        "import os, signal, sys; import numpy as np; from pathlib import Path\n"
        "from facekd.gallery import GalleryRecords, Template\n"
        "path = Path(sys.argv[1])\n"
        "with GalleryRecords(path, read_only=True) as records: contract = records.contract\n"
        "row = np.zeros(contract.dim, np.float32); row[0] = 1\n"
        "records = GalleryRecords(path, contract)\n"
        "with records.transaction(): records.add('Late', [Template(row, 'e' * 64, 1.0)])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    site.python(code, gallery)
    return gallery


def _another(site: Site, photo: Path) -> Path:
    """The photo as another file: decoded and encoded again."""
    import cv2

    path = site.new() / "again.png"
    cv2.imwrite(str(path), pixels_of(photo))
    return path


def _uncalibrated(site: Site, work: Path) -> Path:
    """The student with a card that has no threshold."""
    bare = cardless(site, work)
    first_card(site, bare)
    return bare
