"""kill -9 in the middle of removals, merges, renamings and imports: what was acknowledged is done, nothing is
half done, and no byte of what was removed stays. The long form is tools/drill_gallery.py."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import drill_gallery as tool

KINDS = ("remove", "remove --photo", "rename", "merge", "import")


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_moment(kind: str) -> None:
    found = tool.drill(kind, kills=2, seed=0)
    assert found.kills == 2
    assert found.said > 0
    assert (found.lost, found.half, found.faults, found.traces) == (0, 0, 0, 0)


def test_every_kind_is_drilled() -> None:
    assert tuple(tool.CHANGES) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_drill_would_notice(tmp_path: Path, kind: str) -> None:
    """A change that was said to be done and was not; and one that was."""
    change, base = tool.CHANGES[kind], tmp_path / "gallery.db"
    tool.prepare(kind, tmp_path, base)
    found = tool.Found()
    tool.look(change, base, 2, found)
    assert (found.lost, found.half, found.traces) == (2, 0, 0)
    with tool.GalleryRecords(base, tool.CONTRACT) as records:
        for step in range(2):
            change.run(records, tmp_path, step)
    found = tool.Found()
    tool.look(change, base, 2, found)
    assert (found.lost, found.half, found.faults, found.traces) == (0, 0, 0, 0)
    with tool.GalleryRecords(base, tool.CONTRACT) as records, records.transaction():
        one = next(iter(change.after(1) or change.before(2)))
        records.rename(one, "somebody else")
    found = tool.Found()
    tool.look(change, base, 2, found)
    assert found.half + found.lost + found.traces > 0
