"""A gallery that is made when somebody is enrolled, and not before."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from made_galleries import CONTRACT, enroll, template

from facekd.errors import InputOutput, Misfit
from facekd.gallery import GalleryRecords, as_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


def late(path: Path, **how) -> GalleryRecords:
    return GalleryRecords(path, CONTRACT, create=True, late=True, **how)


def test_until_then_nobody_is_in_it_and_nothing_on_the_disk(path: Path) -> None:
    with late(path) as records:
        assert (records.is_made, records.names(), records.people(), records.holders("ab")) == (
            False,
            [],
            [],
            [],
        )
        assert records.everybody().names == ()
        assert records.contract == CONTRACT
        assert list(path.parent.iterdir()) == []
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("key", [None, bytes(range(32))])
def test_the_first_change_makes_it(path: Path, key: bytes | None) -> None:
    source = None if key is None else as_key(key)
    with late(path, key=source) as records:
        with records.transaction():
            assert records.add("Ann", [template(1)]) == 1
        assert (records.is_made, records.names()) == (True, ["Ann"])
    with GalleryRecords(path, read_only=True, key=source) as records:
        assert records.templates("Ann")[0].photo == template(1).photo
        assert (records.encryption is None) == (key is None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_another_programs_is_taken(path: Path) -> None:
    with late(path) as records:
        before = records.version()
        enroll(path, ("Bo", 2))
        assert records.names() == []
        with records.transaction():
            assert records.names() == ["Bo"]
            assert records.holders(template(2).photo) == ["Bo"]
            records.add("Ann", [template(1)])
        assert records.version() != before
    with GalleryRecords(path, read_only=True) as records:
        assert records.names() == ["Ann", "Bo"]


def test_another_programs_for_another_model_is_not(path: Path) -> None:
    with late(path) as records:
        GalleryRecords(path, replace(CONTRACT, space="b" * 64), create=True).close()
        for _ in range(2):  # and still is not when it is tried again
            with pytest.raises(Misfit), records.transaction():
                raise AssertionError("nothing is added")
        assert not records.is_made


def test_where_no_file_can_be_that_is_said_at_once(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputOutput, match="cannot be created"):
        late(tmp_path / "no" / "gallery.db")
    path.touch()
    with late(path) as records:  # as ever, an empty file becomes a gallery
        assert records.is_made
