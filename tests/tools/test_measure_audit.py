"""tools/measure_audit.py: it times what it states."""

import importlib.util
from pathlib import Path

from made_galleries import enroll

from facekd.gallery import GalleryRecords, ReadEntry

TOOL = Path(__file__).parents[2] / "tools" / "measure_audit.py"
spec = importlib.util.spec_from_file_location("measure_audit", TOOL)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


def test_both_ways_are_asked_in_turns() -> None:
    asked = []
    found = tool.compared({"claim": asked.append}, rounds=3)
    assert asked == [False, True, True, False, False, True]
    assert found["claim"]["adds_p5_ms"] <= found["claim"]["adds_ms"] <= found["claim"]["adds_p95_ms"]


def test_the_entries_are_written_and_deleted(tmp_path: Path) -> None:
    gallery = tmp_path / "gallery.db"
    enroll(gallery, ("Ann", 1))
    entry = ReadEntry("search", 1, "found", "small", "a" * 12, fpir=0.01, date="2024-01-01T00:00:00+00:00")
    found = tool.rotation(gallery, entry, 10_000)
    assert (found["entries"], found["entry_bytes"] > len("searchfoundsmall" + 12 * "a" + entry.date)) == (
        10_000,
        True,
    )
    with GalleryRecords(gallery, read_only=True) as records:
        assert list(records.read_entries()) == []
        last = list(records.audit_entries())[-1]
    assert (last.action, last.templates) == ("prune", 10_000)
