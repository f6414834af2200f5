"""Archives of galleries: a hostile file does nothing."""

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from archived_galleries import Lines, put, rows, vector, written
from made_galleries import CONTRACT, embedding

from facekd.errors import FacekdError, InputOutput, Misfit, TooLarge, Unreadable
from facekd.gallery import GalleryRecords
from facekd.gallery import archive as archive_module
from facekd.workflows import check_archive, import_archive

HOSTILE: dict[str, Callable[[Lines], object]] = {
    "not a number": vector(np.full(64, np.nan)),
    "infinite": vector(np.full(64, np.inf)),
    "zeros": vector(np.zeros(64)),
    "too long": vector(embedding(1) * 1.01),
    "float64": vector(embedding(1), "<f8"),
    "float16": vector(embedding(1), "<f2"),
    "big-endian": vector(embedding(1), ">f4"),
    "of another length": vector(embedding(1, 32)),
    "another vector under this checksum": put("embedding", "AAAA" * 85 + "AA=="),
    "no base64": put("embedding", "?" * 344),
    "an embedding that is a list": put("embedding", [0.1] * 64),
    "no text in an embedding": put("embedding", "é" * 344),
    "checksum": put("checksum", "0" * 64),
    "checksum of another type": put("checksum", None),
    "photo": put("template", "../../etc/passwd"),
    "photo in capitals": put("template", "A" * 64),
    "quality above 1": put("quality", 1.01),
    "quality below 0": put("quality", -0.01),
    "quality that is true": put("quality", True),
    "quality that is a text": put("quality", "0.5"),
    "quality that is huge": put("quality", 10**400),
    "date": put("enrolled", "yesterday"),
    "date that is long": put("enrolled", "2024-05-06T07:08:09+00:00" + "0" * 100),
    "date of control characters": put("enrolled", "\x1b[31m2024"),
    "another key": put("extra", 1),
    "no key": lambda lines: lines[2].pop("quality"),
    "uid": put("person", "'; DROP TABLE people", 1),
    "uid that is a number": put("person", 7, 1),
    "name of control characters": put("name", "Ann\x1b[31m", 1),
    "name of a line break": put("name", "Ann\nBo", 1),
    "name that reorders": put("name", "Ann\u202e", 1),
    "name that is half a character": put("name", "\ud800", 1),
    "name that is empty": put("name", " ", 1),
    "name that is long": put("name", "x" * 201, 1),
    "name that is a list": put("name", ["Ann"], 1),
    "the same person twice": put("person", None, 5),
    "the same name twice": put("name", " Ann ", 5),
    "the same photo twice": lambda lines: lines.insert(3, lines[2]),
    "a person without a template": lambda lines: lines.insert(1, {"person": "e" * 32, "name": "Eve"}),
    "a person without a template at the end": lambda lines: lines.append({"person": "e" * 32, "name": "Eve"}),
    "a template of nobody": lambda lines: lines.insert(1, lines[2]),
    "a template after a removal": lambda lines: lines.insert(
        2, {"removed": "e" * 32, "date": "2024-01-01", "merged_into": None}
    ),
    "removed and there": lambda lines: lines.append(
        {"removed": lines[1]["person"], "date": "2024-01-01", "merged_into": None}
    ),
    "removed twice": lambda lines: lines.extend(
        [{"removed": "e" * 32, "date": "2024-01-01", "merged_into": None}] * 2
    ),
    "merged into a path": lambda lines: lines.append(
        {"removed": "e" * 32, "date": "2024-01-01", "merged_into": "/etc/passwd"}
    ),
    "fewer people than it says": put("people", 9, 0),
    "more people than it says": put("people", 2, 0),
    "more templates than it says": put("templates", 4, 0),
    "counts that are none": put("people", -1, 0),
    "counts that are text": put("people", "3", 0),
    "another format": put("format", "tar", 0),
    "another version": put("version", 2, 0),
    "a version that is text": put("version", "1\x1b[31m", 0),
    "no contract": put("contract", None, 0),
    "a contract of another length": put("contract", vars(CONTRACT) | {"dim": 32}, 0),
    "a contract of no length": put("contract", vars(CONTRACT) | {"dim": 0}, 0),
    "a contract of a huge length": put("contract", vars(CONTRACT) | {"dim": 2**31}, 0),
    "a contract of a true length": put("contract", vars(CONTRACT) | {"dim": True}, 0),
    "a contract whose space is a path": put("contract", vars(CONTRACT) | {"space": "../" * 20 + "abcd"}, 0),
    "a contract of control characters": put("contract", vars(CONTRACT) | {"model": "\x1b[31m"}, 0),
    "a contract with more": put("contract", vars(CONTRACT) | {"path": "/etc/passwd"}, 0),
    "a line that is a list": lambda lines: lines.insert(1, ["person"]),  # type: ignore[arg-type]
    "a line that is a number": lambda lines: lines.insert(1, 7),  # type: ignore[arg-type]
    "a line that is empty": lambda lines: lines.insert(1, ""),  # type: ignore[arg-type]
    "a line of another kind": lambda lines: lines.insert(1, {"pickle": "gASV"}),
    "a line that is deep": lambda lines: lines.insert(1, "[" * 60_000),  # type: ignore[arg-type]
    "a line of NaN": lambda lines: lines.insert(1, '{"person": NaN, "name": "x"}'),  # type: ignore[arg-type]
    "a line with a key twice": lambda lines: lines.insert(
        1, '{"person": "%s", "person": "%s", "name": "x"}' % ("e" * 32, "f" * 32)  # type: ignore[arg-type] # noqa: UP031
    ),
    "a line that is no UTF-8": lambda lines: lines.insert(1, "\udcff"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_whole(gallery: Path, archive: Path, tmp_path: Path, what: str) -> None:
    """Into a new gallery and into one in use: neither changes, whatever stood before the bad line."""
    lines = [json.loads(line) for line in archive.read_text().splitlines()[:-1]]
    uid = lines[1]["person"]
    HOSTILE[what](lines)
    if what == "the same person twice":
        lines[5]["person"] = uid
    bad, kept = written(tmp_path / "bad.jsonl", lines), tmp_path / "kept.db"
    GalleryRecords(kept, CONTRACT, create=True).close()
    before = kept.read_bytes()
    for target in (kept, tmp_path / "new.db"):
        with pytest.raises((Unreadable, Misfit)) as caught:
            import_archive(bad, target)
        assert caught.value.exit_code == 5
        assert str(caught.value).replace("\n", "").isprintable()
    assert kept.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {
        "gallery.db", "archive.jsonl", "bad.jsonl", "kept.db"
    }  # fmt: skip


def test_what_is_checked_is_what_an_unchanged_archive_passes(archive: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in archive.read_text().splitlines()[:-1]]
    assert check_archive(written(tmp_path / "same.jsonl", lines)).templates == 5


def test_every_cut_and_every_changed_byte_is_noticed(archive: Path, tmp_path: Path) -> None:
    whole, bad = archive.read_bytes(), tmp_path / "bad.jsonl"
    for place in range(0, len(whole) - 1, 37):
        bad.write_bytes(whole[:place])
        with pytest.raises(Unreadable):
            check_archive(bad)
        changed = bytearray(whole)
        changed[place] ^= 1
        bad.write_bytes(bytes(changed))
        with pytest.raises(FacekdError):
            check_archive(bad)
    bad.write_bytes(whole + b"\n")
    with pytest.raises(Unreadable, match="something follows"):
        check_archive(bad)


class TestLimits:
    def test_a_line_that_never_ends(self, archive: Path, tmp_path: Path) -> None:
        bad = tmp_path / "bad.jsonl"
        with bad.open("wb") as file:
            file.write(archive.read_bytes().splitlines(keepends=True)[0])
            file.truncate(20_000_000_000)  # a hole: no disk is used
        tracemalloc.start()
        with pytest.raises(TooLarge, match="line 2 is longer"):
            check_archive(bad)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
        tracemalloc.stop()

    @pytest.mark.parametrize(("key", "limit"), [("people", "MAX_PEOPLE"), ("templates", "MAX_TEMPLATES")])
    def test_rows(self, archive: Path, tmp_path: Path, monkeypatch, key: str, limit: str) -> None:
        lines = [json.loads(line) for line in archive.read_text().splitlines()[:-1]]
        lines[0][key] = 10**9
        with pytest.raises(TooLarge, match="limit"):
            check_archive(written(tmp_path / "bad.jsonl", lines))
        monkeypatch.setattr(archive_module, limit, 2)
        with pytest.raises(TooLarge, match="limit is 2"):
            check_archive(archive)

    def test_removals(self, archive: Path, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(archive_module, "MAX_REMOVED", 2)
        lines = [json.loads(line) for line in archive.read_text().splitlines()[:-1]]
        lines += [{"removed": f"{i:032x}", "date": "2024-01-01", "merged_into": None} for i in range(3)]
        with pytest.raises(TooLarge, match="more than 2 removals"):
            check_archive(written(tmp_path / "bad.jsonl", lines))

    def test_other_files(self, tmp_path: Path) -> None:
        (tmp_path / "zip").write_bytes(b"PK\x03\x04" + b"\x00" * 1000)
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "empty").touch()
        for name in ("zip", "pipe", "empty", "absent", "."):
            with pytest.raises(InputOutput):
                import_archive(tmp_path / name, tmp_path / "new.db")
        assert not (tmp_path / "new.db").exists()

    def test_removals_that_point_in_a_circle(self, archive: Path, tmp_path: Path) -> None:
        lines = [json.loads(line) for line in archive.read_text().splitlines()[:-1]]
        ring = ["e" * 32, "f" * 32]
        for one, other in (ring, ring[::-1]):
            lines.append({"removed": one, "date": "2024-01-01", "merged_into": other})
        import_archive(written(tmp_path / "ring.jsonl", lines), tmp_path / "new.db")
        assert rows(tmp_path / "new.db", "SELECT uid, merged_into FROM removed_people ORDER BY uid") == [
            (uid, None) for uid in ring
        ]
