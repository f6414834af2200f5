"""Several writers of a gallery in PostgreSQL at once: locks, waits and their limits."""

from __future__ import annotations

import multiprocessing
import threading
import time
from typing import Any

import pytest
from made_galleries import CONTRACT, enroll, template

from facekd.errors import InputOutput
from facekd.gallery import GalleryRecords
from facekd.gallery.postgres import connecting


class TestAtOnce:
    def test_one_photo_under_two_names_is_refused_to_the_second(self, url: str) -> None:
        """Two hosts look whose a photo is, and then enroll it, each in its transaction."""
        enroll(url, ("Zoe", 99))
        start = multiprocessing.get_context("spawn")
        barrier, answers = start.Barrier(2), start.Queue()
        hosts = [
            start.Process(target=_enroll_unless_held, args=(url, name, barrier, answers))
            for name in ("Ann", "Bo")
        ]
        for host in hosts:
            host.start()
        told = sorted(answers.get(timeout=120) for _ in range(2 * _PHOTOS))
        for host in hosts:
            host.join(60)
        once = [(what, photo) for what in ("enrolled", "refused") for photo in range(_PHOTOS)]
        assert told == once
        with GalleryRecords(url, read_only=True) as records:
            assert all(len(records.holders(f"{photo:064x}")) == 1 for photo in range(_PHOTOS))

    def test_who_waits_sees_what_the_first_did(self, url: str) -> None:
        enroll(url, ("Ann", 1))
        seen: list[list[str]] = []

        def look() -> None:
            with GalleryRecords(url, CONTRACT) as records, records.transaction():
                seen.append(records.holders(f"{2:064x}"))

        with GalleryRecords(url, CONTRACT) as records:
            with records.transaction():
                other = threading.Thread(target=look)
                other.start()
                time.sleep(0.5)
                assert seen == []
                records.add("Ann", [template(2)])
            other.join(30)
        assert seen == [["Ann"]]

    def test_a_writer_that_does_not_end_is_an_error_not_a_hang(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connecting, "LOCK_SECONDS", 0.2)
        enroll(url, ("Ann", 1))
        with GalleryRecords(url) as first, GalleryRecords(url, CONTRACT) as second:
            with first.transaction():
                with pytest.raises(InputOutput, match="another program is writing"), second.transaction():
                    pass
                assert second.names() == ["Ann"]  # whoever reads waits for nobody
            with second.transaction():
                second.add("Bo", [template(2)])
            assert first.names() == ["Ann", "Bo"]

    def test_a_change_that_stands_still_is_given_up(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connecting, "IDLE_SECONDS", 0.3)
        enroll(url, ("Ann", 1))
        with GalleryRecords(url, CONTRACT) as stopped:

            def stand_still() -> None:
                with stopped.transaction():
                    stopped.add("Bo", [template(2)])
                    time.sleep(1.5)
                    with GalleryRecords(url, CONTRACT) as other, other.transaction():
                        other.add("Cy", [template(3)])
                    stopped.add("Bo", [template(4)])

            with pytest.raises(InputOutput):
                stand_still()
            assert stopped.names() == ["Ann", "Cy"]


_PHOTOS = 12


def _enroll_unless_held(url: str, name: str, barrier: Any, answers: Any) -> None:
    with GalleryRecords(url, CONTRACT) as records:
        for photo in range(_PHOTOS):
            barrier.wait(60)
            with records.transaction():
                held = records.holders(f"{photo:064x}")
                if not held:
                    records.add(name, [template(photo)])
            answers.put(("refused" if held else "enrolled", photo))
