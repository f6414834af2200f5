"""One process at a time trains in a run folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import make_place, recipe, run

from facekd.errors import InputOutput, UsageError
from facekd.training import RunFolder, locked_run


def test_a_run_in_progress_is_neither_replaced_nor_joined(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    chosen = recipe(place)
    run(place, "run", chosen, stop_after=4)
    before = sorted(p.relative_to(place) for p in (place / "run").rglob("*"))
    with locked_run(place / "run"):
        for how in ({"force": True}, {"resume": True}, {}):
            with pytest.raises(UsageError, match="run is in use: another process trains in it"):
                run(place, "run", chosen, **how)
    assert sorted(p.relative_to(place) for p in (place / "run").rglob("*")) == before
    run(place, "run", chosen, force=True, stop_after=1)
    assert not RunFolder(place / "run").has("last")


def test_a_lock_leaves_other_folders_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with locked_run(tmp_path / "photos"), pytest.raises(UsageError, match="exists already"):
        RunFolder.create(tmp_path / "photos")
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["a.jpg"]
    with locked_run(tmp_path / "new"), pytest.raises(InputOutput, match="not a run folder"):
        RunFolder.open(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    with locked_run(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()
