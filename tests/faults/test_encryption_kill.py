"""kill -9 in the middle of encrypting a gallery, giving it another key and decrypting it: it is as before or
as after, and an encrypted one holds no template in the clear. The long form is tools/drill_encryption.py."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("cryptography")
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import drill_encryption as tool


def test_killed_at_any_moment() -> None:
    found = tool.drill(kills=4, seed=0)
    assert found.kills == 4
    assert (found.lost, found.half, found.faults, found.traces) == (0, 0, 0, 0)


def test_what_the_drill_would_notice(tmp_path: Path) -> None:
    """A change that was said to be done and was not; templates of others; and one in the clear."""
    gallery = tmp_path / "gallery.db"
    tool.fill(gallery)
    tool.change(gallery, 0)
    found = tool.Found()
    tool.look(gallery, 1, found)
    assert (found.said, found.lost, found.half, found.faults, found.traces) == (1, 0, 0, 0, 0)
    found = tool.Found()
    tool.look(gallery, 2, found)
    assert found.lost == 1
    beside = tmp_path / "gallery.db-beside"
    beside.write_bytes(tool.embedding(5).tobytes())
    with tool.GalleryRecords(gallery, key=tool.key_of(1)) as records, records.transaction():
        records.remove(tool.name(7))
    found = tool.Found()
    tool.look(gallery, 1, found)
    assert (found.half > 0, found.traces) == (True, 1)
