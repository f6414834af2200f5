"""Packs, models, galleries, archives and lists that are cut short, of random bytes or hostile: a reason and
the right exit code, and nothing half done."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_galleries import enroll
from photo_bytes import written
from tiny_model import write_tiny_model

from facekd.cli.output import printable
from facekd.preprocess.sources.recordio import Image, write_records

#: reads a pack and all photos in it
EMBED = ("embed", "{file}", "--out", "{new}.npz", "--yes", "--model", "{model}")
#: what each kind of file is read with, and the reasons that a broken one may have; {file} is the file,
#: {model} a sound model, {new} a place for what is made of it
READ_BY: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pack.zip": (EMBED, ("unreadable",)),
    "pack.rec": (EMBED, ("unreadable", "too_large")),
    "pack.bin": (EMBED, ("unreadable",)),
    "model.onnx": (("card", "{file}"), ("unreadable",)),
    "gallery.db": (("gallery", "list", "--gallery", "{file}"), ("unreadable",)),
    "archive.jsonl": (("gallery", "import", "{file}", "--gallery", "{new}"), ("unreadable", "too_large")),
}
Read = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound file of each kind."""
    from facekd.workflows import export_gallery

    folder = tmp_path_factory.mktemp("whole")
    photos = [written(ending) for ending in ("jpg", "png", "webp", "jpg")]
    with zipfile.ZipFile(folder / "pack.zip", "w") as pack:
        for number, photo in enumerate(photos):
            pack.writestr(f"{'ab'[number % 2]}/{number}.jpg", photo)
    write_records(folder / "pack.rec", (Image(photo, "ab"[n // 2]) for n, photo in enumerate(photos)))
    (folder / "pack.rec").with_suffix(".idx").unlink()
    (folder / "pack.bin").write_bytes(pickle.dumps((photos, [True, False]), 4))
    write_tiny_model(folder / "model.onnx")
    enroll(folder / "gallery.db", *((f"Person {n}", n) for n in range(1, 30)))
    export_gallery(folder / "gallery.db", folder / "archive.jsonl")
    return folder


@pytest.fixture
def read(facekd: Callable, whole: Path, tmp_path: Path) -> Read:
    """Read a file by the command of its kind; exit code, and the document or the first failure in it."""

    def run(kind: str, content: bytes) -> tuple[int, dict[str, Any]]:
        (tmp_path / kind).write_bytes(content)
        command, _ = READ_BY[kind]
        places = {"file": tmp_path / kind, "new": tmp_path / "new", "model": whole / "model.onnx"}
        ran = facekd(*(word.format(**places) for word in command), "--json")
        document = json.loads(ran.out)
        assert "Traceback" not in ran.err
        failures = [document["failure"]] if document.get("failure") else document.get("failures")
        assert all(printable(failure["message"].splitlines()[0]) in ran.err for failure in failures or ())
        assert bool(failures) == (ran.code != 0)
        return ran.code, failures[0] if failures else document

    return run


@pytest.mark.parametrize("sixteenths", range(16))
@pytest.mark.parametrize("kind", ["pack.zip", "pack.rec", "pack.bin", "model.onnx", "archive.jsonl"])
def test_a_file_cut_short(read: Read, whole: Path, tmp_path: Path, kind: str, sixteenths: int) -> None:
    content = (whole / kind).read_bytes()
    code, failure = read(kind, content[: len(content) * sixteenths // 16])
    assert (code, failure["reason"]) == (5, "unreadable")
    # of records in a pack, those before the cut are whole
    made = {"new.npz"} if kind == "pack.rec" else set()
    assert {file.name for file in tmp_path.iterdir()} - made == {kind}


@pytest.mark.parametrize("sixteenths", range(16))
def test_a_gallery_cut_short(facekd: Callable, whole: Path, tmp_path: Path, sixteenths: int) -> None:
    """SQLite reads the pages that are there: who is listed is right, or nobody is; `check` tells."""
    content = (whole / "gallery.db").read_bytes()
    (tmp_path / "cut.db").write_bytes(content[: len(content) * sixteenths // 16])
    checked = facekd("gallery", "check", "--gallery", tmp_path / "cut.db", "--json")
    document = json.loads(checked.out)
    assert checked.code == 5
    assert (document.get("failure") or {}).get("reason") == "unreadable" or document["fault_count"] > 0
    listed = facekd("gallery", "list", "--gallery", tmp_path / "cut.db", "--json")
    document = json.loads(listed.out)
    if listed.code == 0:
        assert sorted(p["name"] for p in document["people"]) == sorted(f"Person {n}" for n in range(1, 30))
    else:
        assert (listed.code, document["failure"]["reason"]) == (5, "unreadable")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", READ_BY)
def test_random_bytes(read: Read, kind: str, seed: int) -> None:
    code, failure = read(kind, random.Random(seed).randbytes(4000))
    assert (code, failure["reason"] in READ_BY[kind][1]) == (5, True), failure


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "kind", ["pack.zip", "pack.rec", "pack.bin", "model.onnx", "gallery.db", "archive.jsonl"]
)
def test_bytes_changed_in_the_middle(read: Read, whole: Path, kind: str, seed: int) -> None:
    """What is read may be what the bytes now say, where nothing in the format tells; never a crash."""
    content, chance = bytearray((whole / kind).read_bytes()), random.Random(seed)
    for _ in range(20):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    code, found = read(kind, bytes(content))
    reasons = {0: {None}, 3: {"no_face"}, 4: {"misfit"}, 5: {"unreadable", "too_large", "no_face"}}
    assert found.get("reason") in reasons[code], found


def _record(body: bytes, kind: int = 0) -> bytes:
    return struct.pack("<II", 0xCED7230A, kind << 29 | len(body)) + body.ljust(-(-len(body) // 4) * 4, b"\0")


def _labelled(flag: int, label: float, *labels: float) -> bytes:
    return struct.pack("<IfQQ", flag, label, 1, 0) + struct.pack(f"<{len(labels)}f", *labels) + b"image"


#: RecordIO packs as nobody writes them: first two that fuzzing found
RECORDS = {
    "the beginning of a record and no end": _record(_labelled(0, 1.0), kind=1),
    "a label that is no number": _record(_labelled(0, float("nan"))),
    "an endless label": _record(_labelled(1, 0.0, float("inf"))),
    "more labels than bytes": _record(struct.pack("<IfQQ", 2**31, 0.0, 1, 0)),
    "no label": _record(b""),
    "a length beyond the file": struct.pack("<II", 0xCED7230A, 5000) + b"x" * 100,
    "only middle parts": _record(b"x" * 40, kind=2) * 3,
}


@pytest.mark.parametrize("what", RECORDS)
def test_records_that_nobody_writes(read: Read, what: str) -> None:
    code, failure = read("pack.rec", RECORDS[what])
    assert (code, failure["reason"]) == (5, "unreadable")


@pytest.mark.parametrize(
    "index",
    ["nonsense", "1\t999999999", "1\t-4", "-1\t0", "1 2 3", "9" * 6000 + "\t0", "1\t1", "\0"],
    ids=lambda text: text[:12],
)
def test_an_index_that_leads_nowhere(read: Read, whole: Path, tmp_path: Path, index: str) -> None:
    (tmp_path / "pack.idx").write_text(index)
    code, failure = read("pack.rec", (whole / "pack.rec").read_bytes())
    # an index may say that there is no image
    assert (code, failure["reason"] in ("unreadable", "io")) == (5, True)


#: what a zip pack may not bring into the target, or out of it
OUTSIDE = ("../out.jpg", "a/../../out.jpg", "C:\\out.jpg", "a\\..\\..\\out.jpg")


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("target", ["new", "new.zip"])
def test_a_pack_with_names_that_lead_outside_is_not_copied(
    facekd: Callable, tmp_path: Path, name: str, target: str
) -> None:
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as pack:
        pack.writestr("a/1.jpg", written("jpg"))
        pack.writestr(name, written("jpg"))
    ran = facekd("data", "convert", tmp_path / "evil.zip", tmp_path / "in" / target)
    assert ran.code == 5
    assert "contains a name that points outside the target" in ran.err
    assert list((tmp_path / "in").iterdir()) == []
    assert {file.name for file in tmp_path.iterdir()} == {"in", "evil.zip"}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_pack_with_names_that_lead_outside_is_aligned_without_them(
    facekd: Callable, tmp_path: Path, name: str
) -> None:
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as pack:
        pack.writestr(name, written("jpg"))
    ran = facekd("align", tmp_path / "evil.zip", tmp_path / "in" / "crops", "--jobs", "1", "--json")
    assert ran.code == 3
    assert json.loads(ran.out)["with_face"] == 0
    report = tmp_path / "in" / "crops.report.jsonl"
    assert json.loads(report.read_text().splitlines()[-1])["reason"] == "unreadable"
    assert {file.name for file in tmp_path.iterdir()} == {"in", "evil.zip"}
    assert not list((tmp_path / "in").rglob("*.webp"))


#: names in an archive that lead outside, or are no names, are keys of people and nothing else
@pytest.mark.parametrize(
    ("name", "code"), [("../../etc/passwd", 0), ("/etc/shadow", 0), ("=cmd|' /C calc'!A1", 0), ("a\0b", 5),
                       ("a\nb", 5), ("a\x1b[2J", 5), ("\u202egpj.exe", 5), ("", 5), ("x" * 201, 5),
                       ("\ud800", 5)]
)  # fmt: skip
def test_an_archive_with_names_that_lead_outside(
    facekd: Callable, whole: Path, tmp_path: Path, name: str, code: int
) -> None:
    import hashlib

    lines = (whole / "archive.jsonl").read_bytes().splitlines(keepends=True)[:-1]
    place = next(n for n, line in enumerate(lines) if line.startswith(b'{"person"'))
    lines[place] = json.dumps(json.loads(lines[place]) | {"name": name}).encode() + b"\n"
    total = hashlib.sha256(b"".join(lines)).hexdigest()
    archive, gallery = tmp_path / "in" / "archive.jsonl", tmp_path / "in" / "new.db"
    archive.parent.mkdir()
    archive.write_bytes(b"".join(lines) + json.dumps({"sha256": total}).encode() + b"\n")
    ran = facekd("gallery", "import", archive, "--gallery", gallery, "--json")
    assert ran.code == code, ran.err
    document = json.loads(ran.out)
    if code:
        assert document["failure"]["reason"] == "unreadable"
        assert not gallery.exists()
    else:
        listed = json.loads(facekd("gallery", "list", "--gallery", gallery, "--json").out)
        assert name in [person["name"] for person in listed["people"]]
    assert [file.name for file in tmp_path.iterdir()] == ["in"]


CARD = "facekd.card"


def _with_card(model: Path, card: str, copy: Path) -> Path:
    import onnx

    network = onnx.load(model)
    next(entry for entry in network.metadata_props if entry.key == CARD).value = card
    onnx.save(network, copy)
    return copy


def _card_of(model: Path) -> dict[str, Any]:
    import onnx

    return json.loads(next(e.value for e in onnx.load(model).metadata_props if e.key == CARD))


#: cards that are none, and what they state of a network that it is not
CARDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "empty": lambda card: "",
    "text": lambda card: "no card",
    "half": lambda card: json.dumps(card)[:200],
    "a list": lambda card: "[]",
    "deep": lambda card: "[" * 100_000,
    "an unknown key": lambda card: json.dumps(card | {"run": "rm -rf /"}),
    "no embedding": lambda card: json.dumps({k: v for k, v in card.items() if k != "embedding"}),
    "endless size": lambda card: json.dumps(card | {"crop": card["crop"] | {"size": 10**9}}),
    "no number": lambda card: json.dumps(card | {"input": card["input"] | {"std": [float("nan")] * 3}}),
    "another network": lambda card: json.dumps(card | {"digest": "0" * 64}),
    "another space": lambda card: json.dumps(card | {"space": "0" * 64}),
    "another width": lambda card: json.dumps(card | {"embedding": card["embedding"] | {"dim": 7}}),
}


@pytest.mark.parametrize("what", CARDS)
def test_a_card_that_is_none(facekd: Callable, whole: Path, tmp_path: Path, what: str) -> None:
    model = whole / "model.onnx"
    bad = _with_card(model, CARDS[what](_card_of(model)), tmp_path / "bad.onnx")
    ran = facekd("card", bad, "--json")
    assert (ran.code, json.loads(ran.out)["failure"]["reason"]) == (5, "unreadable"), ran.err


#: lists that are none, by the command that reads them: {list} is the list, {model} a model
PAIRS = ("verify", "--pairs", "{list}", "--model", "{model}", "--threshold", "0.5")
PEOPLE = ("enroll", "--from", "{list}", "--model", "{model}", "--gallery", "{new}.db")
SCORES = ("evaluate-scores", "{list}")
LISTS: dict[str, tuple[tuple[str, ...], bytes]] = {
    "pairs of no UTF-8": (PAIRS, b"a,b\n\xff.jpg,b.jpg\n"),
    "pairs in UTF-16": (PAIRS, "a,b\na.jpg,b.jpg\n".encode("utf-16")),
    "an open quote": (PAIRS, b'a,b\n"a.jpg,b.jpg\n'),
    "a column too many": (PAIRS, b"a,b\na.jpg,b.jpg,c.jpg\n"),
    "a field of megabytes": (PAIRS, b"a,b\n" + b"x" * 2_000_000 + b",b.jpg\n"),
    "no heading": (PAIRS, b"a.jpg,b.jpg\n"),
    "semicolons": (PAIRS, b"a;b\na.jpg;b.jpg\n"),
    "pairs and none": (PAIRS, b""),
    "deep JSON": (PAIRS, b'{"a":' * 50_000),
    "JSON of numbers": (PAIRS, b'{"a": 1, "b": 2}\n'),
    "people of no UTF-8": (PEOPLE, b"name,photo\nAnn,\xff.jpg\n"),
    "people without a name": (PEOPLE, b"name,photo\n,a.jpg\n"),
    "scores of text": (SCORES, b"score,label\nhigh,1\n"),
    "scores without end": (SCORES, b"score,label\ninf,1\n"),
    "another label": (SCORES, b"score,label\n0.5,=1+1\n"),
    "scores and none": (SCORES, b"\0\0\0\0"),
}  # fmt: skip


@pytest.mark.parametrize("what", LISTS)
def test_a_list_that_is_none(facekd: Callable, whole: Path, tmp_path: Path, what: str) -> None:
    command, content = LISTS[what]
    (tmp_path / "list.csv").write_bytes(content)
    places = {"list": tmp_path / "list.csv", "model": whole / "model.onnx", "new": tmp_path / "new"}
    ran = facekd(*(word.format(**places) for word in command), "--json")
    assert ran.code == 5
    assert "Traceback" not in ran.err
    assert json.loads(ran.out)["failure"]["reason"] in ("unreadable", "io")
    assert [file.name for file in tmp_path.iterdir()] == ["list.csv"]


#: photos in a list of pairs that no file can be called
NOWHERE = {
    "a NUL": "a\0b.jpg", "a lone surrogate": "\ud800.jpg", "a name too long": "x" * 300 + ".jpg",
    "a path too long": "x/" * 3000 + "a.jpg", "a folder": ".", "above": "../../../../../../../../etc/passwd",
    "the root": "/", "a formula": "=cmd|' /C calc'!A1", "an address": "http://127.0.0.1:9/a.jpg",
    "a device": "/dev/zero", "a terminal's": "\x1b[2J\x1b]0;title\x07",
}  # fmt: skip


@pytest.mark.parametrize("what", NOWHERE)
def test_a_photo_in_a_list_that_there_cannot_be(
    facekd: Callable, whole: Path, tmp_path: Path, what: str
) -> None:
    (tmp_path / "list.jsonl").write_text(json.dumps({"a": NOWHERE[what], "b": "b.jpg"}) + "\n")
    command = ("verify", "--pairs", tmp_path / "list.jsonl", "--model", whole / "model.onnx")
    for more in ((), ("--json",)):
        ran = facekd(*command, "--threshold", "0.5", *more)
        assert ran.code == 5, ran.err
        assert "Traceback" not in ran.err
        assert not {"\x1b", "\x07", "\0"} & set(ran.err + ran.out)
    failure = json.loads(ran.out)["failure"]
    assert failure["reason"] in ("io", "unreadable")
    assert failure["message"]


@pytest.mark.parametrize("what", sorted(set(NOWHERE) - {"a lone surrogate"}))  # a CSV list is UTF-8
def test_a_photo_of_a_listed_person_that_there_cannot_be(
    facekd: Callable, whole: Path, tmp_path: Path, what: str
) -> None:
    quoted = NOWHERE[what].replace('"', '""')
    (tmp_path / "list.csv").write_text(f'name,photo\nAnn,"{quoted}"\n')
    gallery = tmp_path / "new.db"
    ran = facekd("enroll", "--from", tmp_path / "list.csv", "--model", whole / "model.onnx",
                 "--gallery", gallery, "--json")  # fmt: skip
    assert ran.code == 5, ran.err
    assert "Traceback" not in ran.err
    found = [failure for line in ran.out.splitlines() for failure in json.loads(line)["failures"]]
    assert [failure["reason"] for failure in found] in (["io"], ["unreadable"])
    assert "\x1b" not in ran.err


def test_a_gallery_that_runs_programs_is_read_without_running_them(
    facekd: Callable, whole: Path, tmp_path: Path
) -> None:
    """A schema that somebody changed: a view in the place of a table, a trigger on it."""
    import sqlite3

    for number, statement in enumerate((
        "ALTER TABLE people RENAME TO hidden; "
        "CREATE VIEW people AS SELECT * FROM hidden, (SELECT load_extension('x'))",
        "CREATE TRIGGER grab AFTER INSERT ON people BEGIN DELETE FROM templates; END",
    )):  # fmt: skip
        copy = Path(shutil.copy(whole / "gallery.db", tmp_path / f"{number}.db"))
        db = sqlite3.connect(copy)
        db.executescript(f"PRAGMA legacy_alter_table = ON; {statement}")
        db.close()
        ran = facekd("gallery", "check", "--gallery", copy, "--json")
        assert ran.code == 5
        document = json.loads(ran.out)
        if document.get("failure"):
            assert "load_extension" in document["failure"]["message"]
        else:
            assert "schema" in {fault["kind"] for fault in document["faults"]}
        listed = facekd("gallery", "list", "--gallery", copy, "--json")
        assert listed.code in (0, 5)
        assert "Traceback" not in listed.err
