"""What a run reports while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from facekd.training import Progress, RunFolder


@dataclass(frozen=True)
class Report:
    """What a run reports while it works; every field is called with a text or with counts. ``kept`` counts
    the views that are stored decoded."""

    say: Callable[[str], None]
    labelled: Callable[[int, int], None]
    trained: Callable[[Progress], None]
    kept: Callable[[int, int], None] = lambda done, total: None


SILENT = Report(lambda text: None, lambda done, total: None, lambda progress: None)


def also_noted(say: Callable[[str], None], run: RunFolder) -> Callable[[str], None]:
    """``say``, which also writes a line to the run's ``train.log``."""

    def both(text: str) -> None:
        run.note(text)
        say(text)

    return both
