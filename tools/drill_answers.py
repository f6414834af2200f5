"""Drills of A1 to A5 and A8: no silent wrong answer, and no unbounded reading."""

from __future__ import annotations

import os
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
from drill_list import Outcome, drill, fact, together
from drill_material import (
    cardless,
    line_with,
    made_network,
    named_by_call,
    nobody_in,
    people_in,
    pixels_of,
    verify,
    zip_of,
)
from drill_site import EVALUATE, EVALUATE_SCORES, SAMPLES, Ran, Site

#: megabytes that no photo may take
MOST = 1024


@drill("A1", "enroll one tree as a folder and as a zip with a wrapper", "ann and bob, both ways")
def one_rule_for_folder_and_zip(site: Site) -> Outcome:
    work = _nested(site)
    told = []
    for source in (work / "people", work / "people.zip"):
        gallery = work / f"{source.name}.db"
        ran = site.facekd("enroll", "--from", source, "--model", site.model, "--gallery", gallery)
        told.append(ran.check(0))
        names = sorted(people_in(site, gallery))
        told.append(fact(names == ["ann", "bob"], f"enroll {source.name}: {', '.join(names)}"))
        if source.suffix:
            told.append(fact("top folder" in ran.err, "a note names the top folder"))
    return together(*told)


@drill("A1", "evaluate, calibrate and training on the same tree, both ways", "two identities everywhere")
def one_rule_for_all_commands(site: Site) -> Outcome:
    work = _nested(site)
    told = []
    for source in (work / "people", work / "people.zip"):
        ran = site.facekd(*EVALUATE, site.model, "--protocol", "people", "--data", source)
        two = re.search(r"\b2 (people|identities|people)", ran.out + ran.err)
        told.append(fact(two is not None, f"evaluate: {line_with(ran, 'identit', 'people')}"))
        calibrated = site.facekd("calibrate", site.model, "--data", source, "--out", work / "never.onnx")
        told.append(calibrated.check(2, "among 4 non-mated comparisons"))  # 2 by 2 photos
        code = "import sys; from facekd.preprocess import open_source, identities_in; " \
            "print(sorted(set(identities_in(open_source(sys.argv[1])).of.values())))"  # fmt: skip
        told.append(fact("['ann', 'bob']" in site.python(code, source).out, f"the rule of {source.name}"))
    return together(*told)


@drill("A1", "enroll from a zip whose sole top folder holds one person's photos", "exit 2, asks for --root")
def sole_folder_of_a_zip(site: Site) -> Outcome:
    work = site.new()
    zip_of(work / "ann.zip", {f"ann/{photo.name}": photo for photo in site.ann})
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
    return together(ran.check((2, 5), "folder"), nobody_in(work / "g.db"))


@drill("A2", "verify two people's photos with a model without a card", "exit 2, no_card", short=True)
def verify_without_a_card(site: Site) -> Outcome:
    bare = cardless(site, site.new())
    ran = site.facekd("verify", site.ann[0], site.bob[0], "--model", bare, "--threshold", "0.3", "--json")
    return ran.check(2, "facekd card", reason="no_card")


@drill("A2", "verify, enroll and calibrate with a model without a card", "exit 2, names 'facekd card'")
def model_without_a_card(site: Site) -> Outcome:
    return _without_a_card(site, cardless(site, site.new()))


@drill(
    "A2", "the same with ov_reid_0095, which a guess feeds wrongly", "exit 2, names 'facekd card'", faces=True
)
def real_model_without_a_card(site: Site) -> Outcome:
    assert site.faces is not None
    bare = shutil.copy(site.faces / "models" / "ov_reid_0095.onnx", site.new())
    return _without_a_card(site, Path(bare))


@drill("A2", "write a first card for a network that says the same of everybody",
       "exit 2, implausible_reading")  # fmt: skip
def constant_network(site: Site) -> Outcome:
    model = made_network(site.new() / "constant.onnx", constant=True)
    ran = site.facekd("card", model, "--convention", "insightface", "--json")
    return ran.check(2, "alike", reason="implausible_reading")


@drill(
    "A2",
    "--check-on people with ov_reid_0095, stated as RGB",
    "BGR from 0 to 255 is the best of the readings",
    faces=True,
)
def the_better_reading(site: Site) -> Outcome:
    assert site.faces is not None
    bare = Path(shutil.copy(site.faces / "models" / "ov_reid_0095.onnx", site.new()))
    stated = ("input.colour=rgb", "input.mean=0", "input.std=1", "crop=arcface")
    options = [part for one in stated for part in ("--set", one)]
    ran = site.facekd("card", bare, *options, "--check-on", site._portraits)
    return ran.check(
        0, "other input settings are better", "(rgb, (x - 0) / 1, its template): bgr, (x - 0) / 1, "
    )


@drill("A3", "verify a photo with /dev/zero", "exit 5, a device, below 500 MB", short=True)
def endless_photo(site: Site) -> Outcome:
    return verify(site, site.ann[0], "/dev/zero").check(5, "not a regular file", megabytes=500)


@drill("A3", "verify a photo with a pipe", "exit 5 at once", short=True)
def pipe_as_a_photo(site: Site) -> Outcome:
    return verify(site, site.ann[0], _pipe(site.new() / "a.jpg")).check(5, "a pipe, not a regular file")


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
        (*EVALUATE_SCORES, pipe["csv"]),
        (*EVALUATE, site.model, "--protocol", "people", "--data", site.tree, "--groups", pipe["csv"]),
        (*EVALUATE, site.model, "--protocol", "people", "--data", site.tree, "--without", pipe["txt"]),
        (*EVALUATE, site.model, "--protocol", "bin", "--data", pipe["bin"]),
        ("calibrate", site.model, "--data", pipe["zip"]),
        ("align", pipe["zip"], work / "crops"),
        ("data", "convert", pipe["rec"], work / "crops"),
        ("enroll", "--from", pipe["zip"], "--model", site.model, "--gallery", work / "new.db"),
    )  # fmt: skip
    return together(
        *(
            named_by_call(site.facekd(*call, seconds=60).check(5, "not a regular file"), call)
            for call in calls
        )
    )


@drill("A3", "enroll --from and align a folder with a pipe and a socket in it", "the photos, exit 0")
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
        (*EVALUATE_SCORES, zero),
        ("recipe", "check", zero),
    )
    return together(*(
        named_by_call(site.facekd(*call, seconds=60).check((2, 5), megabytes=600, never=("internal",)), call)
        for call in calls
    ))  # fmt: skip


@drill("A4", "verify with photos of 1080 x 60000 and 60000 x 1080 pixels", "an answer below 1 GiB")
def long_photos(site: Site) -> Outcome:
    work = site.new()
    told = []
    for name, size in (("tall", (1080, 60000)), ("wide", (60000, 1080))):
        photo = _blank(work / f"{name}.jpg", *size)
        told.append(verify(site, site.ann[0], photo).check(3, "no face", megabytes=MOST))
    return together(*told)


@drill("A4", "verify with a photo of 1 x 90000000 pixels", "exit 5, too_large, below 1 GiB", short=True)
def thread_of_a_photo(site: Site) -> Outcome:
    photo = write_png(site.new() / "thread.png", 1, 90_000_000)
    return verify(site, site.ann[0], photo, "--json").check(5, reason="too_large", megabytes=MOST)


@drill("A4", "verify with photos of 90000 x 1000 and 90000000 x 1 pixels", "exit 5, too_large, below 1 GiB")
def too_long_photos(site: Site) -> Outcome:
    work = site.new()
    photos = (
        write_png(work / "wide.png", 90_000, 1000),
        write_png(work / "line.png", 90_000_000, 1),
    )
    return together(*(
        verify(site, site.ann[0], photo, "--json").check(5, reason="too_large", megabytes=MOST)
        for photo in photos
    ))  # fmt: skip


@drill("A4", "enroll --from with such photos among good ones", "everybody with a good photo, below 1 GiB")
def long_photos_stop_no_import(site: Site) -> Outcome:
    work = site.new()
    shutil.copytree(site.tree, work / "people")
    write_png(work / "people" / "ann" / "0.png", 1, 90_000_000)
    write_png(work / "people" / "ann" / "1.png", 90_000, 1000)
    _blank(work / "people" / "bob" / "0.jpg", 1080, 60000)
    ran = site.facekd("enroll", "--from", work / "people", "--model", site.model, "--gallery", work / "g.db")
    names = sorted(people_in(site, work / "g.db"))
    return together(
        ran.check(0, "2 of 2 people enrolled", "2 too_large", megabytes=MOST),
        fact(names == ["ann", "bob"], ", ".join(names)),
    )


@drill("A4", "verify with a photo of 100 million pixels with a face in its middle", "an answer below 1 GiB")
def large_photo(site: Site) -> Outcome:
    import cv2

    photo = pixels_of(site.ann[1])
    large = cv2.resize(photo, (9990, 9990))
    cv2.imwrite(str(site.new() / "large.jpg"), large)
    path = site.folder / f"work-{site._named}" / "large.jpg"
    return verify(site, site.ann[0], path).check(0, "same person", megabytes=MOST)


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


@drill("A8", "verify below a strict threshold although the same person is more likely",
       "exit 1, says so; 'probability of the same person'")  # fmt: skip
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
        1, "different people", "probability of the same person", "the same person is more likely"
    )


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
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
    zip_of(work / "people.zip", members)
    return work


def _without_a_card(site: Site, bare: Path) -> Outcome:
    gallery = bare.parent / "g.db"
    a, b = site.ann[0], site.bob[0]
    return together(
        site.facekd("verify", a, b, "--model", bare, "--threshold", "0.3", "--json").check(
            2, "facekd card", reason="no_card"),
        site.facekd("enroll", "ann", a, "--model", bare, "--gallery", gallery, "--json").check(
            2, "facekd card", reason="no_card"),
        site.facekd("calibrate", bare, "--data", site.tree, "--json").check(
            2, "facekd card", reason="no_card"),
        nobody_in(gallery),
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
    """The photo rotated by this many quarter turns, without EXIF."""
    import cv2

    cv2.imwrite(str(path), np.ascontiguousarray(np.rot90(pixels_of(photo), turns)))
    return path


def _turned(site: Site, detector: str) -> Outcome:
    told = []
    work = site.new()
    for person in ("ann", "bob"):
        for turns in (1, 2, 3):
            photo = site.people[person][0]
            turned = _turn(photo, work / f"{person}-{turns}.png", turns)
            ran = verify(site, photo, turned, "--detector", detector)
            answer = f"{detector.partition(':')[0]} at {90 * turns}: exit {ran.code}{_score(ran)}"
            told.append(fact(ran.code in (0, 3), answer))
    return together(*told)


def _score(ran: Ran) -> str:
    found = re.search(r"score (\S+),", ran.out)
    return f" ({found[1]})" if found else ""


def _likeliest(site: Site) -> tuple[Path, Path]:
    """Two photos of one drawn person that are the most alike by the model."""
    ran = site.python(
        "import sys; from pathlib import Path; import numpy as np; from facekd.workflows import Recognizer\n"
        "r = Recognizer(Path(sys.argv[1]), detector='mtcnn', any_quality=True)\n"
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
