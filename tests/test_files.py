"""Where files that can be made again are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from facekd.files import cache_folder, target_folder


def test_the_cache_lies_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for told, folder in (
        (str(tmp_path / "disk"), tmp_path / "disk"),
        ("~/cache of mine", tmp_path / "cache of mine"),
    ):
        monkeypatch.setenv("FACEKD_CACHE", told)
        assert (cache_folder(), target_folder()) == (folder, folder / "targets")
    monkeypatch.setenv("FACEKD_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder().name == "facekd"
    assert tmp_path in cache_folder().parents
