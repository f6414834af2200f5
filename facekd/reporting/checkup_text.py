"""The result of `facekd doctor` as text. It needs nothing that may be missing from a broken installation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from facekd.verification.results import Checkup, Status

_WIDTH = max(len(status) for status in Status)


def checkup_lines(found: Checkup) -> Iterator[str]:
    """The sections, each with a line for every check and, if needed, one with the fix."""
    for section, checks in itertools.groupby(found.checks, key=lambda check: check.section):
        yield section
        for check in checks:
            yield f"  {check.status:{_WIDTH}}  {check.name}: {check.message}"
            if check.fix:
                yield f"  {'':{_WIDTH}}  {check.fix}"


def checkup_summary(found: Checkup) -> str:
    faults, notes = found.count(Status.FAULT), found.count(Status.NOTE)
    told = "1 note" if notes == 1 else f"{notes} notes"
    if not faults:
        return f"no faults ({told})"
    return ("1 fault" if faults == 1 else f"{faults} faults") + f", {told}"
