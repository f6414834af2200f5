"""Locate the photos of a list in the data."""

from __future__ import annotations

import pytest

from facekd.errors import UsageError
from facekd.workflows.locate_photos import locate


def test_where_photos_are_found() -> None:
    names = ["lfw/A/A_1.jpg", "lfw/B/A_1.png", "x.y/C.jpg", "D/1.jpg", "D/1.png", "XA/A_2.jpg"]
    wanted = ["A/A_1.jpg", "B/A_1.jpg", "x.y/C.webp", "D/1.png", "A/A_2.jpg", "E/1.jpg"]
    assert locate(wanted, names) == ["lfw/A/A_1.jpg", "lfw/B/A_1.png", "x.y/C.jpg", "D/1.png", None, None]
    with pytest.raises(UsageError, match="contains it 2 times"):
        locate(["A/1.jpg"], ["one/A/1.jpg", "two/A/1.jpg"])
    with pytest.raises(UsageError, match="contains it 2 times"):
        locate(["D/1.bmp"], names)
