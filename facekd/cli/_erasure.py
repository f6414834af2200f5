"""Report whether the bytes of removed or rewritten data are gone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli.output import say

if TYPE_CHECKING:
    from facekd.gallery import Place


def erasure(pending: bool) -> str:
    return "pending" if pending else "done"


def explain_pending(pending: bool, gallery: Place) -> None:
    if pending and isinstance(gallery, Path):
        say("Another program is reading the gallery. The last bytes are erased when it has finished.")
    elif pending:
        say(
            "Another program has a transaction open, or you may not rewrite the tables. The last bytes are "
            "erased when the owner runs 'facekd gallery erase'."
        )
