"""The folder that small runs happen in."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import make_place


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Crops of eight "people" and a tiny teacher."""
    return make_place(tmp_path)
