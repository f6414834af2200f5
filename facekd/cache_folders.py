"""Where what can be made again is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where targets and converted networks are kept: ``FACEKD_CACHE``, else the user's cache."""
    import platformdirs

    return Path(os.environ.get("FACEKD_CACHE") or platformdirs.user_cache_dir("facekd"))


def target_folder() -> Path:
    """Where teachers' targets and kept views lie."""
    return cache_folder() / "targets"
