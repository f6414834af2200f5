"""The audit of claims and searches."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from made_up_searches import (
    CONTRACT,
    MadeUp,
    enroll,
    made_card,
    opened,
)

from facekd.errors import InputOutput, NoFace, NotFound
from facekd.gallery import GalleryRecords, Matches, ReadEntry
from facekd.workflows.identify import identify_or_say_why, identify_photo, open_search
from facekd.workflows.named_photos import NamedPhoto
from facekd.workflows.photos_given import PhotoInHand
from facekd.workflows.thresholds import Threshold
from facekd.workflows.verify import verify_claim


class TestAuditedReads:
    """Claims and searches of a gallery that audits them."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        enroll(tmp_path / "gallery.db", {"Ann Lee": 2, "Bo": 1})
        return tmp_path / "gallery.db"

    def audited(self, path: Path, by: str | None = None) -> GalleryRecords:
        return GalleryRecords(path, CONTRACT, by=by, audit_reads=True)

    def entries(self, path: Path) -> list[tuple]:
        with opened(path) as records:
            found = list(records.read_entries())
        assert {(entry.model, entry.space) for entry in found} <= {("made-up", "a" * 12)}
        assert all(entry.date[:4].isdigit() for entry in found)
        told = [(e.action, e.person, e.result, e.reason, e.fmr, e.fpir, e.by) for e in found]
        assert all(entry[0] in ("claim", "search") for entry in told)
        return told

    def test_each_result_of_a_claim(self, path: Path) -> None:
        recognizer, card = MadeUp(made_card(1e-2)), Threshold(0.4, "card", 1e-2)
        with self.audited(path, "door") as records:
            assert verify_claim(recognizer, records, "Ann Lee", b"Ann 9", Threshold(-1.0, "option")).same
            assert not verify_claim(recognizer, records, "Ann Lee", b"Cy 9", card).same
            with pytest.raises(NoFace):
                verify_claim(recognizer, records, "Bo", b"wall", card)
            with pytest.raises(NotFound):
                verify_claim(recognizer, records, "Cy", b"Cy 9", card)
        assert self.entries(path) == [
            ("claim", 1, "same", None, None, None, "door"),
            ("claim", 1, "different", None, 1e-2, None, "door"),
            ("claim", 2, "failed", "no_face", 1e-2, None, "door"),
            ("claim", 0, "failed", "unknown_person", 1e-2, None, "door"),
        ]

    def test_each_result_of_a_search(self, path: Path) -> None:
        recognizer = MadeUp(made_card(1e-2))
        with self.audited(path) as records:
            search = open_search(recognizer, records, threshold=0.6)
            identify_photo(search, b"Bo 9")
            identify_photo(search, b"Cy 9")
            identify_photo(search, b"Bo 8+Bo 9+Cy 9", all_faces=True)
            with pytest.raises(NoFace):
                identify_photo(search, b"wall")
            identify_or_say_why(search, NamedPhoto("wall", PhotoInHand(b"wall", "wall")))
            identify_or_say_why(search, NamedPhoto("Bo", PhotoInHand(b"Bo 9", "Bo")))
            # the card's false match rate of 1e-2 is too high for a search
            identify_photo(open_search(recognizer, records, 1e-3), b"Bo 9")
            identify_photo(open_search(recognizer, records, 0.1), b"Bo 9")
        bo, nobody = (("search", 2, "found", None, None, None, None), ("search", 0, "nobody", *[None] * 4))
        failed = ("search", 0, "failed", "no_face", None, None, None)
        assert self.entries(path)[:8] == [bo, nobody, bo, bo, nobody, failed, failed, bo]
        assert self.entries(path)[8:] == [
            ("search", 0, "insufficient", None, None, 1e-3, None),
            ("search", 2, "found", None, None, 0.1, None),
        ]

    def test_no_name_photo_or_score_is_in_it(self, path: Path) -> None:
        with self.audited(path) as records:
            score = verify_claim(MadeUp(made_card()), records, "Bo", b"Bo 9", Threshold(0.1, "option")).score
        with closing(sqlite3.connect(path)) as db:
            (row,) = db.execute("SELECT * FROM audit_reads").fetchall()
        assert score not in row
        assert [value for value in row if isinstance(value, str) and value] == [
            row[1], "claim", "same", "made-up", "a" * 12,
        ]  # fmt: skip

    def test_others_note_nothing_and_write_nothing(self, path: Path) -> None:
        before = path.read_bytes()
        with opened(path) as records:
            verify_claim(MadeUp(made_card()), records, "Bo", b"Bo 9", Threshold(0.1, "option"))
            identify_photo(open_search(MadeUp(made_card()), records, threshold=0.5), b"Bo 9")
        assert path.read_bytes() == before
        assert self.entries(path) == []

    def test_who_is_enrolled_is_not_changed_by_it(self, path: Path) -> None:
        """So what was kept to search them, and their scores, still holds."""
        kept = path.with_name(path.name + "-search")
        with self.audited(path) as records:
            state = records.state()
            kept.write_bytes(b"kept")
            identify_photo(open_search(MadeUp(made_card()), records, threshold=0.5), b"Bo 9")
            assert (records.state(), kept.read_bytes()) == (state, b"kept")

    def test_what_cannot_be_noted_is_not_answered(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("facekd.gallery.database.BUSY_SECONDS", 0.02)
        recognizer, limit = MadeUp(made_card()), Threshold(0.1, "option")
        photo = NamedPhoto("Bo", PhotoInHand(b"Bo 9", "Bo"))
        with self.audited(path) as records, closing(sqlite3.connect(path, isolation_level=None)) as other:
            search = open_search(recognizer, records, threshold=0.5)
            other.execute("BEGIN IMMEDIATE")
            for ask in (
                lambda: verify_claim(recognizer, records, "Bo", b"Bo 9", limit),
                lambda: verify_claim(recognizer, records, "Bo", b"wall", limit),
                lambda: verify_claim(recognizer, records, "Nobody", b"Bo 9", limit),
                lambda: identify_photo(search, b"Bo 9"),
                lambda: identify_photo(search, b"wall"),
                lambda: identify_or_say_why(search, photo),
            ):
                with pytest.raises(InputOutput, match="another program is writing"):
                    ask()
            # who does not audit is not kept waiting
            with opened(path) as unaudited:
                assert verify_claim(recognizer, unaudited, "Bo", b"Bo 9", limit).same
            other.execute("ROLLBACK")
            assert verify_claim(recognizer, records, "Bo", b"Bo 9", limit).same
        assert [entry[:3] for entry in self.entries(path)] == [("claim", 2, "same")]

    def test_somebody_who_goes_meanwhile(self, path: Path) -> None:
        """They were in the templates that were searched, and have no number any more."""
        with self.audited(path) as records:
            search = open_search(MadeUp(made_card()), records, threshold=0.5)
            search.index.search = lambda *_: Matches((("Gone",),), np.array([[0.9]], np.float32))
            with pytest.raises(InputOutput, match="changed while"):
                identify_photo(search, b"Bo 9")
        assert self.entries(path) == []

    def test_a_gallery_that_is_only_read_takes_no_entry(self, path: Path) -> None:
        with opened(path) as records, pytest.raises(RuntimeError):
            records.note_reads([ReadEntry("claim", 1, "same", "made-up", "a" * 12)])
