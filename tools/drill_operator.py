"""Drills of sections A and B: no wrong answer without a word, no work lost, every error with its reason."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from drill_site import (
    EVALUATE,
    ROOT,
    SAMPLES,
    CannotHold,
    Outcome,
    Ran,
    Site,
    drill,
    fact,
    fill,
    together,
)

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

#: megabytes that no photo may take
MOST = 1024


# whose photo a path is -----------------------------------------------------------------------------


@drill("A1", "enroll one tree as a folder and as a zip with a wrapper", "ann and bob, both ways")
def one_rule_for_folder_and_zip(site: Site) -> Outcome:
    work = _nested(site)
    told = []
    for source in (work / "people", work / "people.zip"):
        gallery = work / f"{source.name}.db"
        ran = site.facekd("enroll", "--from", source, "--model", site.model, "--gallery", gallery)
        told.append(ran.check(0))
        names = sorted(_enrolled(site, gallery))
        told.append(fact(names == ["ann", "bob"], f"enroll {source.name}: {', '.join(names)}"))
        if source.suffix:
            told.append(fact("passed over" in ran.err, "a note says that the wrapper is passed over"))
    return together(*told)


@drill("A1", "evaluate, calibrate and training on the same tree, both ways", "two identities everywhere")
def one_rule_for_all_commands(site: Site) -> Outcome:
    work = _nested(site)
    told = []
    for source in (work / "people", work / "people.zip"):
        ran = site.facekd(
            *EVALUATE, site.model, "--protocol", "people", "--data", source, "--scores", work / "scores.csv"
        )
        told.append(fact(bool(re.search(r"\b2 (people|identities|persons)", ran.out + ran.err)),
                         f"evaluate {source.name}: exit {ran.code}, {_line(ran, 'identit', 'people')}"))  # fmt: skip
        calibrated = site.facekd("calibrate", site.model, "--data", source, "--out", work / "never.onnx")
        told.append(fact(calibrated.code == 2 and "2 people" in calibrated.err + calibrated.out,
                         f"calibrate {source.name}: exit {calibrated.code}, {_line(calibrated, '2 people')}"))  # fmt: skip
        code = "import sys; from facekd.preprocess import open_source, identities_in; " \
            "print(sorted(set(identities_in(open_source(sys.argv[1])).of.values())))"  # fmt: skip
        told.append(fact("['ann', 'bob']" in site.python(code, source).out, f"the rule of {source.name}"))
    return together(*told)


@drill("A1", "enroll from a zip whose sole top folder holds one person's photos", "exit 2, asks for --root",
       short=True)  # fmt: skip
def sole_folder_of_a_zip(site: Site) -> Outcome:
    work = site.new()
    _zipped(work / "ann.zip", {f"ann/{photo.name}": photo for photo in site.ann})
    gallery = work / "g.db"
    ran = site.facekd("enroll", "--from", work / "ann.zip", "--model", site.model, "--gallery", gallery)
    rooted = site.facekd(
        "enroll", "--from", work / "ann.zip", "--root", ".", "--model", site.model, "--gallery", gallery
    )
    return together(ran.check(2, "--root"), rooted.check(0, "enrolled ann"))


@drill("A1", "enroll from a folder of photos that lie in no person's folder",
       "exit 2 or 5, a hint, nobody enrolled", short=True)  # fmt: skip
def photos_of_nobody(site: Site) -> Outcome:
    work = site.new()
    for photo in (*site.ann[:2], *site.bob[:1]):
        shutil.copy(photo, work / f"{photo.parent.name}-{photo.name}")
    ran = site.facekd("enroll", "--from", work, "--model", site.model, "--gallery", work / "g.db")
    return together(ran.check((2, 5), "folder"), _nobody(work / "g.db"))


# a model that is read wrongly ----------------------------------------------------------------------


@drill("A2", "verify, enroll and calibrate with a model without a card", "exit 2, names 'facekd card'",
       short=True)  # fmt: skip
def model_without_a_card(site: Site) -> Outcome:
    return _without_a_card(site, _cardless(site, site.new()))


@drill(
    "A2", "the same with ov_reid_0095, which a guess feeds wrongly", "exit 2, names 'facekd card'", faces=True
)
def real_model_without_a_card(site: Site) -> Outcome:
    assert site.faces is not None
    bare = shutil.copy(site.faces / "models" / "ov_reid_0095.onnx", site.new())
    return _without_a_card(site, Path(bare))


@drill("A2", "write a first card for a network that says the same of everybody",
       "exit 2, implausible_reading", short=True)  # fmt: skip
def constantmade_network(site: Site) -> Outcome:
    model = made_network(site.new() / "constant.onnx", constant=True)
    ran = site.facekd("card", model, "--convention", "insightface", "--json")
    return ran.check(2, "alike", reason="implausible_reading")


@drill(
    "A2", "--check-on people with ov_reid_0095, stated as RGB", "names BGR as the better reading", faces=True
)
def the_better_reading(site: Site) -> Outcome:
    assert site.faces is not None
    bare = Path(shutil.copy(site.faces / "models" / "ov_reid_0095.onnx", site.new()))
    stated = ("input.colour=rgb", "input.mean=0", "input.std=1", "crop=arcface")
    options = [part for one in stated for part in ("--set", one)]
    ran = site.facekd("card", bare, *options, "--check-on", site._portraits)
    return ran.check(0, "another reading is better")


# reads without bound -------------------------------------------------------------------------------


@drill("A3", "verify a photo with /dev/zero", "exit 5, a device, below 500 MB", short=True)
def endless_photo(site: Site) -> Outcome:
    return _verify(site, site.ann[0], "/dev/zero").check(5, "not a regular file", megabytes=500)


@drill("A3", "verify a photo with a pipe", "exit 5 at once", short=True)
def pipe_as_a_photo(site: Site) -> Outcome:
    return _verify(site, site.ann[0], _pipe(site.new() / "a.jpg")).check(5, "a pipe, not a regular file")


@drill("A3", "a pipe as model, gallery, recipe, list of pairs, scores, pack", "exit 5 at once, each")
def pipe_as_any_file(site: Site) -> Outcome:
    work = site.new()
    a, b = site.ann[:2]
    pipe = {
        kind: _pipe(work / f"a.{kind}") for kind in ("onnx", "toml", "csv", "zip", "db", "rec", "bin", "txt")
    }
    calls: tuple[tuple[object, ...], ...] = (
        ("verify", a, b, "--model", pipe["onnx"]),
        ("verify", a, b, "--model", pipe["toml"]),
        ("verify", a, "--claim", "ann", "--model", site.model, "--gallery", pipe["db"]),
        ("gallery", "list", "--gallery", pipe["db"]),
        ("recipe", "check", pipe["toml"]),
        ("card", pipe["onnx"]),
        (*EVALUATE, site.model, "--protocol", "pairs", "--data", site.tree, "--pairs", pipe["csv"]),
        (*EVALUATE, "--from-scores", pipe["csv"]),
        (*EVALUATE, site.model, "--protocol", "people", "--data", site.tree, "--groups", pipe["csv"]),
        (*EVALUATE, site.model, "--protocol", "people", "--data", site.tree, "--without", pipe["txt"]),
        (*EVALUATE, site.model, "--protocol", "bin", "--data", pipe["bin"]),
        ("calibrate", site.model, "--data", pipe["zip"]),
        ("align", pipe["zip"], work / "crops"),
        ("data", "convert", pipe["rec"], work / "crops"),
        ("enroll", "--from", pipe["zip"], "--model", site.model, "--gallery", work / "new.db"),
    )  # fmt: skip
    return together(
        *(_named(site.facekd(*call, seconds=60).check(5, "not a regular file"), call) for call in calls)
    )


@drill(
    "A3", "enroll --from and align a folder with a pipe and a socket in it", "the photos, exit 0", short=True
)
def pipe_in_a_folder(site: Site) -> Outcome:
    work = site.new()
    shutil.copytree(site.tree / "ann", work / "people" / "ann")
    _pipe(work / "people" / "ann" / "pipe.jpg")
    gallery = work / "g.db"
    enrolled = site.facekd("enroll", "--from", work / "people", "--model", site.model, "--gallery", gallery)
    aligned = site.facekd("align", work / "people", work / "crops", "--jobs", 1)
    return together(enrolled.check(0, "enrolled ann: 2 new"), aligned.check(0, "2 photos: 2 with a face"))


@drill("A3", "read /dev/zero as model, gallery, pack and list", "exit 5, below 600 MB, each")
def endless_files(site: Site) -> Outcome:
    a, b = site.ann[:2]
    zero = "/dev/zero"
    calls: tuple[tuple[object, ...], ...] = (
        ("verify", a, b, "--model", zero),
        ("gallery", "list", "--gallery", zero),
        ("calibrate", site.model, "--data", zero),
        (*EVALUATE, "--from-scores", zero),
        ("recipe", "check", zero),
    )
    return together(*(
        _named(site.facekd(*call, seconds=60).check((2, 5), megabytes=600, never=("internal error",)), call)
        for call in calls
    ))  # fmt: skip


# long photos ---------------------------------------------------------------------------------------


@drill("A4", "verify with photos of 1080 x 60000 and 60000 x 1080 pixels", "an answer below 1 GiB")
def long_photos(site: Site) -> Outcome:
    work = site.new()
    told = []
    for name, size in (("tall", (1080, 60000)), ("wide", (60000, 1080))):
        photo = _blank(work / f"{name}.jpg", *size)
        told.append(_verify(site, site.ann[0], photo).check(3, "no face", megabytes=MOST))
    return together(*told)


@drill("A4", "verify with photos of 90000 x 1000 and 1 x 90000000 pixels", "exit 5, too_large, below 1 GiB",
       short=True)  # fmt: skip
def too_long_photos(site: Site) -> Outcome:
    work = site.new()
    photos = (
        write_png(work / "wide.png", 90_000, 1000),
        write_png(work / "thread.png", 1, 90_000_000),
        write_png(work / "line.png", 90_000_000, 1),
    )
    return together(*(
        _verify(site, site.ann[0], photo, "--json").check(5, reason="too_large", megabytes=MOST) for photo in photos
    ))  # fmt: skip


@drill("A4", "enroll --from with such photos among good ones", "everybody with a good photo, below 1 GiB")
def long_photos_stop_no_import(site: Site) -> Outcome:
    work = site.new()
    shutil.copytree(site.tree, work / "people")
    write_png(work / "people" / "ann" / "0.png", 1, 90_000_000)
    write_png(work / "people" / "ann" / "1.png", 90_000, 1000)
    _blank(work / "people" / "bob" / "0.jpg", 1080, 60000)
    ran = site.facekd("enroll", "--from", work / "people", "--model", site.model, "--gallery", work / "g.db")
    names = sorted(_enrolled(site, work / "g.db"))
    return together(
        ran.check(0, "2 of 2 people enrolled", "2 too_large", megabytes=MOST),
        fact(names == ["ann", "bob"], ", ".join(names)),
    )


@drill("A4", "verify with a photo of 100 million pixels with a face in its middle", "an answer below 1 GiB")
def large_photo(site: Site) -> Outcome:
    import cv2

    photo = cv2.imread(str(site.ann[1]))
    large = cv2.resize(photo, (9990, 9990))
    cv2.imwrite(str(site.new() / "large.jpg"), large)
    path = site.folder / f"work-{site._named}" / "large.jpg"
    return _verify(site, site.ann[0], path).check(0, "same person", megabytes=MOST)


# sideways and upside-down --------------------------------------------------------------------------


@drill("A5", "verify a photo with itself turned by 90, 180 and 270 degrees, MTCNN",
       "same person or exit 3, never 'different'")  # fmt: skip
def turned_photos(site: Site) -> Outcome:
    return _turned(site, "mtcnn")


@drill("A5", "the same with YuNet and SCRFD", "same person or exit 3, never 'different'", faces=True)
def turned_photos_by_other_detectors(site: Site) -> Outcome:
    assert site.faces is not None
    detectors = site.faces / "detectors"
    return together(
        _turned(site, f"yunet:{detectors / 'yunet_2023mar.onnx'}"),
        _turned(site, f"scrfd:{detectors / 'scrfd_500m.onnx'}"),
    )


@drill("A5", "enroll from photos that lie on their side and upside down",
       "templates like the upright photo's, or refused as turned")  # fmt: skip
def nothing_turned_is_enrolled(site: Site) -> Outcome:
    work = site.new()
    told = []
    for turns in (1, 2, 3):
        photo = _turn(site.ann[0], work / f"{turns}.png", turns)
        gallery = work / f"{turns}.db"
        ran = site.facekd("enroll", "ann", photo, "--model", site.model, "--gallery", gallery, "--json")
        if ran.code == 3:
            told.append(ran.check(3, reason="turned"))
            continue
        claim = site.facekd(
            "verify", site.ann[0], "--claim", "ann", "--model", site.model, "--gallery", gallery
        )
        told.append(claim.check(0, "same person"))
    return together(*told)


# enrollment ----------------------------------------------------------------------------------------


@drill("A6", "enroll another person's photo under ann's name", "exit 3, not_this_person; nothing added",
       short=True)  # fmt: skip
def another_person_under_a_name(site: Site) -> Outcome:
    gallery = site.new() / "g.db"
    _enroll(site, gallery, "ann", *site.ann[:2])
    ran = _enroll(site, gallery, "ann", site.bob[2], "--json")
    kept = _enrolled(site, gallery)["ann"]
    return together(ran.check(3, reason="not_this_person"), fact(kept == 2, f"ann has {kept} photos"))


@drill("A6", "enroll ann's new photo as somebody else", "exit 3, other_person", short=True)
def one_person_under_two_names(site: Site) -> Outcome:
    gallery = site.own_gallery()
    ran = _enroll(site, gallery, "Eve", site.ann[2], "--json")
    return together(
        ran.check(3, reason="other_person"), fact("Eve" not in _enrolled(site, gallery), "no Eve")
    )


@drill("A6", "the same with --force", "taken, and the audit says 'force'")
def force_is_noted(site: Site) -> Outcome:
    gallery = site.own_gallery()
    ran = _enroll(site, gallery, "Eve", site.ann[2], "--force")
    forced = _rows(gallery, "SELECT templates FROM audit WHERE action = 'force'")
    return together(ran.check(0, "enrolled Eve"), fact(forced == [(1,)], f"audit: force {forced}"))


@drill(
    "A6", "enroll ann's first photo, the same file, as Eve, with --force", "exit 3, other_person", short=True
)
def same_file_under_two_names(site: Site) -> Outcome:
    gallery = site.own_gallery()
    return _enroll(site, gallery, "Eve", site.ann[0], "--force", "--json").check(3, reason="other_person")


@drill("A6", "enroll A.jpg B.jpg without a name", "exit 2; no gallery is made", short=True)
def photos_in_the_place_of_a_name(site: Site) -> Outcome:
    gallery = site.new() / "g.db"
    ran = _enroll(site, gallery, site.ann[0], site.ann[1])
    return together(ran.check(2, "is a file"), _nobody(gallery))


@drill("A6", "names of invisible characters, in one command each", "exit 2", short=True)
def invisible_names(site: Site) -> Outcome:
    gallery = site.new() / "g.db"
    names = ("\u200b", "Ann\u200bLee", "\u2060", " ", "Ann\x1b[31m")
    return together(*(_enroll(site, gallery, name, site.ann[0]).check(2) for name in names), _nobody(gallery))


@drill("A6", "'Ann Lee' with two spaces, a no-break space, and as NFD 'Zoë'", "one person each")
def names_are_normalised(site: Site) -> Outcome:
    gallery = site.new() / "g.db"
    told = [_enroll(site, gallery, "Ann Lee", site.ann[0]).check(0)]
    for name, photo in (("Ann  Lee", site.ann[1]), ("Ann\u00a0Lee", site.ann[2])):
        told.append(_enroll(site, gallery, name, photo).check(0))
    told.append(_enroll(site, gallery, "Zoe\u0308", site.bob[0]).check(0))
    told.append(_enroll(site, gallery, "Zoë", site.bob[1]).check(0))
    found = _enrolled(site, gallery)
    return together(*told, fact(found == {"Ann Lee": 3, "Zoë": 2}, str(found)))


@drill("A6", "enroll with a model without calibration", "enrolled; says that the guard is off")
def no_guard_is_said(site: Site) -> Outcome:
    work = site.new()
    model = _uncalibrated(site, work)
    ran = site.facekd("enroll", "ann", site.ann[0], "--model", model, "--gallery", work / "g.db")
    return ran.check(0, "was never calibrated")


# two writers ---------------------------------------------------------------------------------------


@drill("A7", "two commands enroll one photo under two names at once, three times", "one name each time")
def two_commands_at_once(site: Site) -> Outcome:
    told = []
    for _ in range(3):
        gallery = site.new() / "g.db"
        _enroll(site, gallery, "bob", site.bob[0])
        command = [sys.executable, "-m", "facekd", "enroll"]
        rest = [str(site.ann[0]), "--model", str(site.model), "--gallery", str(gallery)]
        both = [
            site.start([*command, name, *rest], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for name in ("Ann", "Eve")
        ]
        codes = sorted(process.wait(180) for process in both)
        found = sorted(set(_enrolled(site, gallery)) - {"bob"})
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


# what verify says ----------------------------------------------------------------------------------


@drill("A8", "verify below a strict threshold though one person is the likelier",
       "exit 1, says so; 'probability that it is one person'")  # fmt: skip
def the_answer_does_not_contradict_itself(site: Site) -> Outcome:
    same = SAMPLES / "person-0001"
    ran = site.facekd(
        "verify",
        same / "0001.jpg",
        same / "0001.jpg",
        "--model",
        site.calibrated,
        "--threshold",
        "1",
        "--json",
    )
    best = _likeliest(site)
    ran = site.facekd("verify", *best, "--model", site.calibrated, "--threshold", "0.999")
    return ran.check(
        1, "different persons", "probability that it is one person", "one person is the likelier"
    )


# reading needs no writing --------------------------------------------------------------------------


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
    gallery.parent.chmod(0o500)
    for file in gallery.parent.iterdir():
        file.chmod(0o400)
    (gallery.parent / "staff.db-shm").unlink(missing_ok=True) if os.access(gallery.parent, os.W_OK) else None
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
        ran = _enroll(site, gallery, "Eve", _another(site, site.ann[2]), "--force")
        told.append(ran.check(5, "the disk is full"))
        told += _read(site, gallery)
    return together(*told)


@drill("A9", "make a gallery on a full disk", "exit 5, 'the disk is full', no file left")
def no_empty_file_is_left(site: Site) -> Outcome:
    with site.small_disk(1) as disk:
        fill(disk)
        ran = _enroll(site, disk / "new.db", "ann", site.ann[0])
        left = sorted(file.name for file in disk.iterdir())
    return together(ran.check(5, "the disk is full"), fact(left == ["filler"], f"left: {', '.join(left)}"))


@drill("A9", "make a gallery where files may have 0 bytes", "exit 5, no file left")
def no_room_in_files(site: Site) -> Outcome:
    gallery = site.new() / "new.db"
    ran = _enroll(site, gallery, "ann", site.ann[0], file_size=0)
    left = sorted(file.name for file in gallery.parent.iterdir())
    return together(ran.check(5, never=("internal error",)), fact(not left, f"left: {left or 'nothing'}"))


@drill("A9", "list a gallery of schema 1", "its people; the file's bytes stay", short=True)
def schema_1_is_read_as_it_is(site: Site) -> Outcome:
    gallery = _of_schema_1(site)
    before = gallery.read_bytes()
    ran = site.facekd("gallery", "list", "--gallery", gallery)
    return together(ran.check(0, "3 enrolled"), fact(gallery.read_bytes() == before, "not a byte changed"))


# checksums -----------------------------------------------------------------------------------------


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
    told = []
    for statement in (
        "UPDATE templates SET photo = replace(photo, substr(photo, 1, 1), 'e') WHERE person = 1",
        "UPDATE templates SET person = 3 - person",
    ):
        gallery = site.own_gallery()
        _sql(gallery, statement)
        ran = _claim(site, gallery, "--json")
        told.append(ran.check(5 if "photo" in statement else (1, 5)))
    gallery = site.own_gallery()
    _change_embeddings(gallery, _one_bit)
    return together(*told, _claim(site, gallery, "--json").check(5, reason="unreadable"))


@drill(
    "A10",
    "enroll into a gallery of schema 1",
    "migrated to the latest; everybody kept; a copy killed is whole",
)
def schema_1_is_migrated(site: Site) -> Outcome:
    gallery = _of_schema_1(site)
    before = _rows(gallery, "SELECT person, photo, embedding FROM templates ORDER BY id")
    model = ROOT / "tests" / "stored" / "0.1.0" / "model.onnx"
    ran = site.facekd("enroll", "New", site.bob[0], "--force", "--model", model, "--gallery", gallery)
    after = _rows(gallery, "SELECT person, photo, embedding FROM templates ORDER BY id")
    schema = _rows(gallery, "PRAGMA user_version")[0][0]
    return together(
        ran.check(0, "enrolled New: 1 new"),
        fact(
            schema >= 2 and after[: len(before)] == before, f"schema {schema}, {len(before)} templates kept"
        ),
    )


# files ---------------------------------------------------------------------------------------------


@drill(
    "A11", "write a card into a model of mode 0600 behind a symbolic link", "mode and link stay", short=True
)
def mode_and_link_are_kept(site: Site) -> Outcome:
    work = site.new()
    real = Path(shutil.copy(site.model, work / "real.onnx"))
    real.chmod(0o600)
    (work / "link.onnx").symlink_to("real.onnx")
    before = real.read_bytes()
    ran = site.facekd("card", work / "link.onnx", "--set", "licence=drilled")
    mode = stat.S_IMODE(real.stat().st_mode)
    return together(
        ran.check(0),
        fact((work / "link.onnx").is_symlink() and real.read_bytes() != before, "the link's file is written"),
        fact(mode == 0o600, f"mode {mode:04o}"),
        fact(len(list(work.iterdir())) == 2, "nothing is left beside it"),
    )


@drill("A11", "calibrate --out", "a copy with thresholds; the model's bytes stay")
def calibrate_writes_a_copy(site: Site) -> Outcome:
    before = site.model.read_bytes()
    code = "import sys; from facekd.card import read_card; print(len(read_card(sys.argv[1])[0].calibration))"
    count = site.python(code, site.calibrated).out.strip()
    return together(
        fact(site.model.read_bytes() == before, "the model is as it was"),
        fact(count == "1", f"{count} threshold in the copy"),
    )


@drill("A11", "write a card on a full disk", "exit 5, 'the disk is full', the model's bytes stay")
def card_on_a_full_disk(site: Site) -> Outcome:
    with site.small_disk(8) as disk:
        model = Path(shutil.copy(site.model, disk / "m.onnx"))
        before = model.read_bytes()
        fill(disk)
        ran = site.facekd("card", model, "--set", "licence=drilled")
        same = model.read_bytes() == before
    return together(ran.check(5, "the disk is full"), fact(same, "the model is as it was"))


# statistics ----------------------------------------------------------------------------------------


@drill("A12", "evaluate and benchmark two models on the same pairs", "one interval for their difference")
def one_interval_for_a_difference(site: Site) -> Outcome:
    work = site.new()
    pairs = _pair_list(site, work)
    other = made_network(work / "other.onnx")
    first_card(site, other)
    judged = site.facekd(
        *EVALUATE, site.model, other, "--protocol", "pairs", "--data", site.crops, "--pairs", pairs,
        "--aligned", "--json",
    )  # fmt: skip
    measured = site.facekd(
        "benchmark", "--teacher", site.model, "--student", other, "--protocol", "pairs", "--data", site.crops,
        "--pairs", pairs, "--aligned", "--json",
    )  # fmt: skip
    if judged.code or measured.code:
        return together(judged.check(0), measured.check(0))
    ours, theirs = _intervals(judged.document()), _intervals(measured.document())
    same = {one for one in ours for two in theirs if _equal(one, two)}
    return fact(bool(same), f"evaluate {sorted(ours)}, benchmark {sorted(theirs)}")


@drill("A12", "evaluate people none of whom match falsely",
       "a bound of three over the pairs of identities, and the text says so")  # fmt: skip
def the_bound_counts_identities(site: Site) -> Outcome:
    work = site.new()
    scores = work / "scores.csv"
    people = 12
    crops = _pattern_people(work / "people", people, 6)
    model = made_network(work / "m.onnx")
    first_card(site, model)
    ran = site.facekd(
        *EVALUATE, model, "--protocol", "people", "--data", crops, "--aligned", "--scores", scores
    )
    bound = 3 / (people * (people - 1) / 2)
    text = ran.out + ran.err
    numbers = [float(one) for one in re.findall(r"\d\.?\d*e-\d+|0\.\d+", text)]
    near = [one for one in numbers if abs(one / bound - 1) < 0.02]
    return together(
        ran.check(0, "pairs of identities"), fact(bool(near), f"bound {bound:.2g}: {near or numbers[:8]}")
    )


@drill("A12", "evaluate models named a, a and 'a (1)'", "three results of three names")
def no_model_is_lost(site: Site) -> Outcome:
    work = site.new()
    models = []
    for folder, name in (("1", "a"), ("2", "a"), ("3", "a (1)")):
        (work / folder).mkdir()
        models.append(made_network(work / folder / f"{name}.onnx"))
        first_card(site, models[-1])
    crops = _pattern_people(work / "people", 6, 4)
    ran = site.facekd(*EVALUATE, *models, "--protocol", "people", "--data", crops, "--aligned", "--json")
    names = [one.get("model") or one.get("name") for one in _results(ran.document())]
    return together(ran.check(0), fact(len(set(map(str, names))) == 3 == len(names), f"names {names}"))


@drill("A13", "decode a transparent PNG for training and for evaluation", "the same pixels", short=True)
def one_decoder(site: Site) -> Outcome:
    place = site.new() / "p"
    place.mkdir()
    return site.python(_TWO_DECODERS, place).check(0, "largest difference 0")


_TWO_DECODERS = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from facekd.preprocess import decode
from facekd.training.data import open_crops
place = Path(sys.argv[1])
pixels = np.random.default_rng(0).integers(0, 256, (112, 112, 4), np.uint8)
Image.fromarray(pixels, "RGBA").save(place / "a.png")
trained = open_crops([place.parent]).read(0)
judged = decode(place / "a.png").pixels
print("largest difference", int(np.abs(trained.astype(int) - judged.astype(int)).max()))
"""


@drill("A13", "search the docs for ema.safetensors, which nothing writes", "not there", short=True)
def docs_speak_of_files_that_are_written(site: Site) -> Outcome:
    found = [str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")
             if "ema.safetensors" in path.read_text(encoding="utf-8")]  # fmt: skip
    return fact(not found, ", ".join(found) or "not there")


@drill("A13", "evaluate 1:N over 130 people with --json", "a CMC of 100 ranks")
def a_hundred_ranks(site: Site) -> Outcome:
    work = site.new()
    people = _pattern_people(work / "all", 140, 2)
    for folder, names, photo in (
        ("gallery", range(130), "1"),
        ("probe", range(130), "2"),
        ("unknown", range(130, 140), "1"),
    ):
        for number in names:
            target = work / "sets" / folder / f"P{number:03d}"
            target.mkdir(parents=True)
            shutil.copy(people / f"P{number:03d}" / f"{photo}.png", target)
    model = made_network(work / "m.onnx")
    first_card(site, model)
    ran = site.facekd(
        *EVALUATE, model, "--protocol", "identification", "--data", work / "sets", "--aligned", "--json"
    )
    lengths = sorted({len(one) for one in _lists(ran.document(), "cmc")})
    return together(ran.check(0), fact(bool(lengths) and max(lengths) <= 100, f"CMC of {lengths} ranks"))


# B: messages, exit codes, JSON ---------------------------------------------------------------------


@drill("B1", "every command with what it cannot use, with --json",
       "one document each, valid UTF-8, a reason, the right exit code")  # fmt: skip
def failures_are_documents(site: Site) -> Outcome:
    work = site.new()
    (work / "text.txt").write_text("not what it should be\n[[[")
    (work / "empty").mkdir()
    text, folder, none = work / "text.txt", work / "empty", work / "not there"
    model = site.model
    gone = ("--gallery", none)
    cases: tuple[tuple[tuple[object, ...], int, str], ...] = (
        (("verify", none, none, "--model", model), 5, "io"),
        (("verify", text, text, "--model", model), 5, "unreadable"),
        (("verify", text, "--model", model), 2, "usage"),
        (("verify", text, text, "--model", none), 2, "usage"),
        (("verify", text, text, "--model", text), 5, "unreadable"),
        (("verify", text, "--claim", "ann", "--model", model, *gone), 5, "io"),
        (("enroll", "ann", none, "--model", model, "--gallery", work / "g.db"), 5, "io"),
        (("enroll", "ann", "--model", model), 2, "usage"),
        (("gallery", "list", *gone), 5, "io"),
        (("gallery", "list", "--gallery", text), 5, "unreadable"),
        (("gallery", "remove", "ann", "--yes", *gone), 5, "io"),
        (("align", folder, work / "crops"), 5, "io"),
        (("card", text), 5, "unreadable"),
        (("calibrate", model, "--data", folder), 5, "io"),
        (("calibrate", model, "--data", none), 2, "usage"),
        ((*EVALUATE, model), 2, "usage"),
        ((*JUDGE_SCORES_FROM, text), 5, "unreadable"),
        (("benchmark", "--teacher", model, "--student", text), 5, "unreadable"),
        (("degrade", text, "--data", folder), 2, "usage"),
        (("data", "check", folder, "--against", folder, "--model", model), 5, "io"),
        (("export", none), 5, "io"),
        (("distill", text), 2, "recipe"),
        (("train", text), 2, "recipe"),
        (("recipe", "check", text), 2, "recipe"),
        (("nonsense",), 2, "usage"),
    )
    return together(*(
        _named(site.facekd(*call, "--json", space=24 << 30).check(code, reason=reason), call)
        for call, code, reason in cases
    ))  # fmt: skip


JUDGE_SCORES_FROM = (*EVALUATE, "--from-scores")


@drill("B1", "a file name that is no UTF-8, with --json", "valid UTF-8, the byte escaped", short=True)
def a_name_that_is_no_utf8(site: Site) -> Outcome:
    name = os.fsencode(site.new()) + b"/\xff\xfe.jpg"
    Path(os.fsdecode(name)).write_bytes(b"no image")
    ran = site.facekd("verify", name, name, "--model", site.model, "--json")
    return together(ran.check(5, reason="unreadable"), fact("\\x" not in ran.out, "stdout is valid UTF-8"))


@drill("B1", "claim and remove somebody who is not enrolled", "exit 2, unknown_person", short=True)
def nobody_of_that_name(site: Site) -> Outcome:
    gallery = site.own_gallery()
    claim = site.facekd(
        "verify", site.ann[0], "--claim", "Zed", "--model", site.model, "--gallery", gallery, "--json"
    )
    remove = site.facekd("gallery", "remove", "Zed", "--yes", "--gallery", gallery, "--json")
    return together(claim.check(2, reason="unknown_person"), remove.check(2, reason="unknown_person"))


@drill("B2", "a file name with control characters", "escaped on stderr", short=True)
def control_characters(site: Site) -> Outcome:
    photo = site.new() / "a\x1b[31m\x07\u202e.jpg"
    photo.write_bytes(b"no image")
    return _verify(site, photo, photo).check(5, "\\x1b[31m\\x07", never=("\x1b", "\x07", "\u202e"))


@drill("B2", "a float16 model, one of 112 x 96, one with a 0-dimensional output, one of several outputs",
       "a clear answer each, never 70")  # fmt: skip
def odd_models(site: Site) -> Outcome:
    work = site.new()
    told = []
    for name, settings in (
        ("half", {"half": True}), ("narrow", {"width": 96}), ("scalar", {"scalar": True}),
    ):  # fmt: skip
        model = made_network(work / f"{name}.onnx", **settings)
        for call in (
            ("card", model, "--convention", "insightface"),
            (*EVALUATE, model, "--protocol", "people", "--data", site.tree),
            ("verify", *site.ann[:2], "--model", model, "--threshold", "0.5"),
        ):
            ran = site.facekd(*call)
            told.append(fact(ran.code in (0, 1, 2, 3, 4, 5) and "Traceback" not in ran.err,
                             f"{name}, {call[0]}: exit {ran.code}, {_line(ran, 'facekd:')}"))  # fmt: skip
    return together(*told)


@drill("B2", "claim and list a person whose templates are gone from the file", "exit 5, no 70")
def person_without_templates(site: Site) -> Outcome:
    gallery = site.own_gallery()
    _sql(gallery, "DELETE FROM templates WHERE person = 1")
    listed = site.facekd("gallery", "list", "--gallery", gallery)
    enrolled = _enroll(site, site.own_gallery(), "bob", site.bob[2])
    return together(
        _claim(site, gallery).check((2, 5), never=("internal",)),
        listed.check((0, 5), never=("internal",)),
        enrolled.check(0),
    )


@drill("B2", "claim, list and enroll with flipped bytes anywhere in the gallery",
       "right, or exit 5; never 70, never another answer")  # fmt: skip
def flipped_bytes(site: Site) -> Outcome:
    ran = site.python(_FLIPPED, site.gallery, site.new(), site.model, site.ann[2], seconds=300)
    return ran.check(0, "galleries with flipped bytes")


_FLIPPED = """
import contextlib, io, random, sys
from collections import Counter
from pathlib import Path
from facekd.cli.main import main
gallery, work, model, photo = map(Path, sys.argv[1:])
good, codes = gallery.read_bytes(), Counter()
def run(*arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()) as err:
        code = main([str(a) for a in arguments])
    assert code in (0, 2, 4, 5), (code, arguments, err.getvalue())
    return int(code), out.getvalue()
for seed in range(60):
    damaged = bytearray(good)
    for place in random.Random(seed).sample(range(len(good)), 1 + seed % 40):
        damaged[place] ^= 1 << (seed % 8)
    file = work / f"{seed}.db"
    file.write_bytes(damaged)
    codes[run("gallery", "list", "--gallery", file)[0]] += 1
    if seed % 4 == 0:
        code, said = run("verify", photo, "--claim", "ann", "--model", model, "--gallery", file)
        assert code != 0 or "same person" in said
        codes[code] += 1
print(f"60 galleries with flipped bytes: exits {dict(sorted(codes.items()))}")
"""


@drill("B2", "stdout closed, and a reader that goes away", "no traceback, 0 or 5, never 1", short=True)
def closed_output(site: Site) -> Outcome:
    command = f"'{sys.executable}' -m facekd card '{site.model}'"
    closed = site.run(["bash", "-c", f"{command} >&-"])
    gone = site.run(["bash", "-c", f"{command} --json | true; exit ${{PIPESTATUS[0]}}"])
    both = site.run(["bash", "-c", f"{command} >&- 2>&-"])
    return together(closed.check((0, 5)), gone.check((0, 5)), both.check((0, 5)))


@drill("B2", "a photo, model and gallery of mode 000", "exit 5, each", short=True)
def mode_000(site: Site) -> Outcome:
    site.need_modes()
    work = site.new()
    photo, model = Path(shutil.copy(site.ann[0], work)), Path(shutil.copy(site.model, work))
    gallery = site.own_gallery()
    for file in (photo, model, gallery):
        file.chmod(0)
    a, b = site.ann[:2]
    return together(
        _verify(site, photo, a, "--json").check(5, "Permission denied", reason="io"),
        site.facekd("verify", a, b, "--model", model, "--json").check(5, reason="io"),
        _claim(site, gallery, "--json").check(5, reason="io"),
        site.facekd("gallery", "list", "--gallery", gallery, "--json").check(5, reason="io"),
    )


@drill(
    "B2",
    "enroll --from a tree with a subfolder that may not be read",
    "the others are enrolled; exit 5",
    short=True,
)
def unreadable_subfolder(site: Site) -> Outcome:
    site.need_modes()
    work = site.new()
    shutil.copytree(site.tree, work / "people")
    (work / "people" / "ann").chmod(0)
    ran = site.facekd("enroll", "--from", work / "people", "--model", site.model, "--gallery", work / "g.db")
    (work / "people" / "ann").chmod(0o700)
    return ran.check(5, "enrolled bob: 2 new", "ann", "1 of 2 people enrolled")


@drill("B2", "calibrate on missing data, an empty folder and an empty zip", "2, 5 and 5")
def calibrate_on_nothing(site: Site) -> Outcome:
    work = site.new()
    (work / "empty").mkdir()
    _zipped(work / "empty.zip", {})
    return together(
        site.facekd("calibrate", site.model, "--data", work / "none").check(2),
        site.facekd("calibrate", site.model, "--data", work / "empty").check(5),
        site.facekd("calibrate", site.model, "--data", work / "empty.zip").check(5),
        site.facekd(*EVALUATE, site.model, "--protocol", "people", "--data", work / "empty").check(5),
    )


@drill("B2", "Ctrl-C after 0.02 to 2 s of an import, and of a verification", "130 (or done), no traceback")
def ctrl_c_at_any_moment(site: Site) -> Outcome:
    told = []
    for number, delay in enumerate((0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 2.5)):
        work = site.new()
        ran = site.facekd(
            "enroll", "--from", SAMPLES, "--model", site.model, "--gallery", work / "g.db", "--force",
            after=lambda process, delay=delay: _interrupt(process, delay),
        )  # fmt: skip
        told.append(fact(ran.code in (130, -2) and "Traceback" not in ran.err,
                         f"after {delay} s: exit {ran.code}{' ' + ran.err[-300:] if 'Traceback' in ran.err else ''}"))  # fmt: skip
        if number % 3 == 0:
            verify = site.facekd(
                "verify", *site.ann[:2], "--model", site.model,
                after=lambda process, delay=delay: _interrupt(process, delay),
            )  # fmt: skip
            told.append(
                fact(verify.code in (0, 130, -2) and "Traceback" not in verify.err, f"exit {verify.code}")
            )
    return together(*told)


@drill(
    "B3",
    "enroll --from with people who cannot be enrolled",
    "a summary names each with the reason; one hint",
    short=True,
)
def an_import_ends_with_a_summary(site: Site) -> Outcome:
    work = site.new()
    shutil.copytree(site.tree, work / "people")
    for name in ("carl", "dora"):
        (work / "people" / name).mkdir()
        _side_by_side(site, work / "people" / name / "both.png")
    (work / "people" / "emil").mkdir()
    (work / "people" / "emil" / "text.jpg").write_text("no image")
    ran = site.facekd("enroll", "--from", work / "people", "--model", site.model, "--gallery", work / "g.db")
    hints = ran.err.count("--on-many best takes")
    return together(
        ran.check(5, "2 of 5 people enrolled", "not enrolled: carl (1 several_faces)", "not enrolled: dora",
                  "not enrolled: emil (1 unreadable)", "photos that were not enrolled: 2 several_faces"),
        fact(hints == 1, f"{hints} hint"),
    )  # fmt: skip


@drill(
    "B3",
    "enroll a photo with a small bystander, and one of two equal faces",
    "taken; several_faces",
    short=True,
)
def bystanders(site: Site) -> Outcome:
    work = site.new()
    small = _with_bystander(site, work / "small.png")
    equal = _side_by_side(site, work / "equal.png")
    best = _enroll(site, work / "b.db", "ann", equal, "--on-many", "best")
    return together(
        _enroll(site, work / "a.db", "ann", small).check(0, "enrolled ann: 1 new"),
        _enroll(site, work / "c.db", "ann", equal, "--json").check(3, reason="several_faces"),
        best.check(0, "enrolled ann"),
    )


@drill(
    "B4", "verify with a model that was calibrated with another detector", "one note on stderr", short=True
)
def one_note(site: Site) -> Outcome:
    ran = _verify(site, *site.ann[:2])
    notes = [line for line in ran.err.splitlines() if line.startswith("note:")]
    return together(ran.check(0), fact(len(notes) <= 1, f"{len(notes)} note: {' | '.join(notes)[:90]}"))


@drill(
    "B4", "verify a HEIC file that cannot be decoded, and a PDF", "exit 5 that names the format", short=True
)
def formats_by_name(site: Site) -> Outcome:
    work = site.new()
    (work / "a.heic").write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200))
    (work / "b.avif").write_bytes(b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1avif" + bytes(200))
    return together(
        _verify(site, site.ann[0], work / "a.heic").check(5, "HEIC"),
        _verify(site, site.ann[0], work / "b.avif").check(5, "AVIF"),
    )


@drill("B4", "a missing model; a decimal comma; 'compare'; one enrolled photo",
       "says where models come from, how to write it, 'verify', '1 photo'", short=True)  # fmt: skip
def helpful_words(site: Site) -> Outcome:
    a, b = site.ann[:2]
    gallery = site.new() / "g.db"
    _enroll(site, gallery, "ann", a)
    return together(
        site.facekd("verify", a, b, "--model", "none.onnx").check(2, "A model is an ONNX file"),
        _verify(site, a, b, "--threshold", "0,4").check(2, "0.4"),
        site.facekd("compare", a, b).check(2, "Did you mean 'verify'"),
        _claim(site, gallery).check(0, "(1 photo)"),
    )


@drill("B4", "the command lists of facekd and of its groups", "whole first sentences", short=True)
def whole_sentences(site: Site) -> Outcome:
    told = []
    for group in ((), ("gallery",), ("data",), ("recipe",)):
        ran = site.facekd(*group, "--help")
        listed = ran.out.partition("Commands:")[2]
        told.append(fact(bool(listed.strip()) and "..." not in listed, f"facekd {' '.join(group)}--help"))
    return together(*told)


def evaluated_people(model: Path, crops: Path) -> tuple[object, ...]:
    """The command that judges ``model`` on all pairs of finished crops."""
    return (*EVALUATE, model, "--protocol", "people", "--data", crops, "--aligned")


# helpers -------------------------------------------------------------------------------------------


def _verify(site: Site, *arguments: object) -> Ran:
    return site.facekd("verify", *arguments, "--model", site.model)


def _enroll(site: Site, gallery: Path, *arguments: object, **settings: Any) -> Ran:
    return site.facekd("enroll", *arguments, "--model", site.model, "--gallery", gallery, **settings)


def _claim(site: Site, gallery: Path, *more: object) -> Ran:
    return site.facekd(
        "verify", site.ann[2], "--claim", "ann", "--model", site.model, "--gallery", gallery, *more
    )


def _read(site: Site, gallery: Path) -> list[Outcome]:
    """That the gallery answers."""
    listed = site.facekd("gallery", "list", "--gallery", gallery)
    return [listed.check(0, "2 enrolled"), _claim(site, gallery).check(0, "same person as ann")]


def _enrolled(site: Site, gallery: Path) -> dict[str, int]:
    ran = site.facekd("gallery", "list", "--gallery", gallery, "--json")
    return {person["name"]: person["templates"] for person in ran.document().get("people", ())}


def _nobody(gallery: Path) -> Outcome:
    count = _rows(gallery, "SELECT count(*) FROM people")[0][0] if gallery.exists() else 0
    return fact(count == 0, "nobody is enrolled" if gallery.exists() else "no gallery is made")


def _line(ran: Ran, *words: str) -> str:
    """The first line that holds one of ``words``."""
    lines = (ran.out + ran.err).splitlines()
    return next((line.strip() for line in lines if any(word in line for word in words)), "")[:120]


def _named(found: Outcome, call: tuple[object, ...]) -> Outcome:
    """``found`` with the command before it."""
    words = " ".join(Path(str(one)).name if "/" in str(one) else str(one) for one in call)
    return Outcome(f"{words}: {found.found}" if not found.ok else found.found.split(",")[0], found.ok)


def _rows(gallery: Path, query: str) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(gallery)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def _sql(gallery: Path, statement: str, values: tuple[Any, ...] = ()) -> None:
    db = sqlite3.connect(gallery)
    db.execute(statement, values)
    db.commit()
    db.close()


def _change_embeddings(gallery: Path, change: Any) -> None:
    """``change`` every vector in the file, as a program that knows the form of it would."""
    for number, blob in _rows(gallery, "SELECT id, embedding FROM templates"):
        changed = np.asarray(change(np.frombuffer(blob, "<f4")), "<f4")
        _sql(gallery, "UPDATE templates SET embedding = ? WHERE id = ?", (changed.tobytes(), number))


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
    cv2.imwrite(str(path), cv2.imread(str(photo)))
    return path


def _interrupt(process: subprocess.Popen[bytes], delay: float) -> None:
    time.sleep(delay)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGINT)


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _zipped(path: Path, members: dict[str, Path]) -> Path:
    with zipfile.ZipFile(path, "w") as pack:
        for name, file in members.items():
            pack.write(file, name)
    return path


def _nested(site: Site) -> Path:
    """people/ann/2019/…, people/ann/…, people/bob/… in a folder, and the same in people.zip."""
    work = site.new()
    members = {
        "people/ann/2019/a.jpg": site.ann[0], "people/ann/b.jpg": site.ann[1],
        "people/bob/2020/a.jpg": site.bob[0], "people/bob/b.jpg": site.bob[1],
    }  # fmt: skip
    for name, photo in members.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, work / name)
    _zipped(work / "people.zip", members)
    return work


def _without_a_card(site: Site, bare: Path) -> Outcome:
    gallery = bare.parent / "g.db"
    a, b = site.ann[0], site.bob[0]
    return together(
        site.facekd("verify", a, b, "--model", bare, "--threshold", "0.3", "--json").check(
            2, "facekd card", reason="no_card"),
        site.facekd("enroll", "ann", a, "--model", bare, "--gallery", gallery, "--json").check(
            2, "facekd card", reason="no_card"),
        site.facekd("calibrate", bare, "--data", site.tree, "--json").check(2, "facekd card", reason="no_card"),
        _nobody(gallery),
    )  # fmt: skip


def _cardless(site: Site, work: Path) -> Path:
    """The student with its card taken out."""
    import onnx

    network = onnx.load(site.model)
    del network.metadata_props[:]
    onnx.save(network, work / "bare.onnx")
    return work / "bare.onnx"


def _uncalibrated(site: Site, work: Path) -> Path:
    """The student with a card that has no threshold."""
    bare = _cardless(site, work)
    first_card(site, bare)
    return bare


def first_card(site: Site, model: Path) -> None:
    """A card by convention, written without the command's trial on drawn faces, which takes seconds and
    which a network that knows patterns alone would not pass."""
    ran = site.python(
        "import sys; from facekd.card import card_of, load_onnx, write_card\n"
        "network = load_onnx(sys.argv[1])\n"
        "from pathlib import Path\n"
        "write_card(network, card_of(network, Path(sys.argv[1]).stem)[0], Path(sys.argv[1]))",
        model,
    )
    if ran.code:
        raise CannotHold(f"no card: {ran.err}")


def made_network(
    path: Path,
    *,
    seed: int = 0,
    constant: bool = False,
    noise: bool = False,
    half: bool = False,
    width: int = 112,
    scalar: bool = False,
) -> Path:
    """A network of a few kilobytes: means over blocks, projected at random to 16 numbers. Or one that says
    the same of everything, or what is drawn at random (``noise``), works in float16, wants crops of another
    ``width``, gives one number for all."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kind, number = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)
    weights = np.random.default_rng(seed).normal(size=(3 * 14 * (width // 8), 16))
    weights = weights * 0 if constant or noise else weights - weights.mean(axis=0)
    nodes = [
        helper.make_node("AveragePool", ["crops"], ["blocks"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["blocks"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["row" if scalar or noise else "embedding"]),
    ]
    if scalar:
        nodes.append(helper.make_node("ReduceMean", ["row"], ["embedding"], keepdims=0))
    if noise:
        nodes.append(helper.make_node("RandomNormalLike", ["row"], ["drawn"], seed=3.0, dtype=kind))
        nodes.append(helper.make_node("Add", ["row", "drawn"], ["embedding"]))
    graph = helper.make_graph(
        nodes, "made",
        [helper.make_tensor_value_info("crops", kind, ["N", 3, 112, width])],
        [helper.make_tensor_value_info("embedding", kind, [] if scalar else ["N", 16])],
        [numpy_helper.from_array(weights.astype(number), "weights"),
         numpy_helper.from_array((np.arange(16) * constant).astype(number), "bias")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _pattern_people(folder: Path, people: int, photos: int) -> Path:
    """Crops of random patterns, one a person, changed a little in each photo."""
    import cv2

    random = np.random.default_rng(0)
    for person in range(people):
        pattern = random.integers(0, 256, (8, 8, 3))
        (folder / f"P{person:03d}").mkdir(parents=True)
        for number in range(1, photos + 1):
            small = pattern + random.normal(0, 25, (8, 8, 3))
            crop = np.clip(np.kron(small, np.ones((14, 14, 1))), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"P{person:03d}" / f"{number}.png"), crop)
    return folder


def _pair_list(site: Site, work: Path) -> Path:
    """A CSV of mated and non-mated pairs of drawn people's crops, many of each person."""
    people = sorted(site.crops.iterdir())
    rows = ["path1,path2,label"]
    for number, person in enumerate(people):
        mine = sorted(person.iterdir())
        other = sorted(people[(number + 1) % len(people)].iterdir())
        for a, b in zip(mine, mine[1:], strict=False):
            rows.append(f"{a.parent.name}/{a.name},{b.parent.name}/{b.name},1")
        for a, b in zip(mine, other, strict=False):
            rows.append(f"{a.parent.name}/{a.name},{b.parent.name}/{b.name},0")
    (work / "pairs.csv").write_text("\n".join(rows) + "\n")
    return work / "pairs.csv"


def _results(document: dict[str, Any]) -> list[dict[str, Any]]:
    for value in (document.get("results"), document.get("models"), document):
        if isinstance(value, list):
            return [one for one in value if isinstance(one, dict)]
    return [document]


def _lists(value: Any, key: str) -> Iterator[list[Any]]:
    """Every list under ``key``, wherever in a document."""
    if isinstance(value, dict):
        for name, inside in value.items():
            if name == key and isinstance(inside, list):
                yield inside
            yield from _lists(inside, key)
    elif isinstance(value, list):
        for inside in value:
            yield from _lists(inside, key)


def _intervals(value: Any, below: str = "") -> set[tuple[float, float]]:
    """Every interval of a difference in a document: ``low`` and ``high`` below a key that names one."""
    found: set[tuple[float, float]] = set()
    if isinstance(value, dict):
        if (
            {"low", "high"} <= value.keys()
            and "difference" in below
            and None not in (value["low"], value["high"])
        ):
            found.add((round(float(value["low"]), 6), round(float(value["high"]), 6)))
        for name, inside in value.items():
            found |= _intervals(inside, f"{below} {name} {'difference' if 'difference' in value else ''}")
    elif isinstance(value, list):
        for inside in value:
            found |= _intervals(inside, below)
    return found


def _equal(one: tuple[float, float], two: tuple[float, float]) -> bool:
    """Whether two intervals are one, also where a document has them in points or of the difference turned round."""
    turned = (-two[1], -two[0])
    return any(
        all(abs(a - factor * b) < 2e-4 for a, b in zip(one, other, strict=True))
        for other in (two, turned) for factor in (1, 0.01, 100)
    )  # fmt: skip


def _blank(path: Path, width: int, height: int) -> Path:
    """A grey JPEG."""
    import cv2

    cv2.imwrite(str(path), np.full((height, width), 120, np.uint8))
    return path


def write_png(path: Path, width: int, height: int) -> Path:
    """A whole PNG of one bit a pixel, all black, of any size, without holding it."""
    row = b"\0" + bytes((width + 7) // 8)
    packer = zlib.compressobj(1)
    at_once = max(1, (1 << 20) // len(row))
    parts, left = [], height
    while left:
        rows = min(at_once, left)
        parts.append(packer.compress(row * rows))
        left -= rows
    parts.append(packer.flush())
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    chunks = ((b"IHDR", header), (b"IDAT", b"".join(parts)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in chunks
    ))  # fmt: skip
    return path


def _turn(photo: Path, path: Path, turns: int) -> Path:
    """The photo turned by so many quarters, without EXIF."""
    import cv2

    cv2.imwrite(str(path), np.ascontiguousarray(np.rot90(cv2.imread(str(photo)), turns)))
    return path


def _turned(site: Site, detector: str) -> Outcome:
    told = []
    work = site.new()
    for person in ("ann", "bob"):
        for turns in (1, 2, 3):
            photo = site.people[person][0]
            turned = _turn(photo, work / f"{person}-{turns}.png", turns)
            ran = _verify(site, photo, turned, "--detector", detector)
            told.append(fact(ran.code in (0, 3),
                             f"{detector.partition(':')[0]} at {90 * turns}: exit {ran.code}{_score(ran)}"))  # fmt: skip
    return together(*told)


def _score(ran: Ran) -> str:
    found = re.search(r"score (\S+),", ran.out)
    return f" ({found[1]})" if found else ""


def _likeliest(site: Site) -> tuple[Path, Path]:
    """Two photos of one drawn person that are the most alike by the model."""
    ran = site.python(
        "import sys; from pathlib import Path; import numpy as np; from facekd.workflows import Recognizer\n"
        "r = Recognizer.load(Path(sys.argv[1]), 'mtcnn', 'cpu', True)\n"
        "best = (-1, '', '')\n"
        "for person in sorted(Path(sys.argv[2]).iterdir())[:4]:\n"
        "    files = sorted(person.iterdir())\n"
        "    e = np.stack([r.recognise(f).embedding for f in files]); s = np.triu(e @ e.T, 1)\n"
        "    k = np.unravel_index(s.argmax(), s.shape)\n"
        "    best = max(best, (s[k], str(files[k[0]]), str(files[k[1]])))\n"
        "print(best[1]); print(best[2])",
        site.calibrated, SAMPLES,
    )  # fmt: skip
    first, second = ran.out.split()
    return Path(first), Path(second)


def _side_by_side(site: Site, path: Path) -> Path:
    """Two faces, neither of which dominates."""
    import cv2

    one = cv2.imread(str(site.ann[0]))
    cv2.imwrite(str(path), np.concatenate([one, one[:, ::-1]], axis=1))
    return path


def _with_bystander(site: Site, path: Path) -> Path:
    """Ann large in the middle, bob small at the border."""
    import cv2

    ann = cv2.resize(cv2.imread(str(site.ann[0])), (400, 400))
    bob = cv2.resize(cv2.imread(str(site.bob[0])), (120, 120))
    canvas = np.full((400, 800, 3), 128, np.uint8)
    canvas[:, 200:600] = ann
    canvas[280:, 20:140] = bob
    cv2.imwrite(str(path), canvas)
    return path
