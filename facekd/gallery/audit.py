"""The audit: when what was done to whom, by number and without names of people; and who asked for it, by the
name of their token."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from facekd.errors import UsageError
from facekd.gallery.template import now

#: the number of nobody: of what was done to the audit itself
NOBODY = 0


@dataclass(frozen=True)
class AuditEntry:
    """``action`` was done to ``templates`` templates of the person with the number ``person`` at ``date``
    (UTC, ISO 8601). Numbers are never used twice; 0 is nobody's. ``by`` is the name of the token with which
    it was asked for; `None` where none was needed."""

    date: str
    action: str
    person: int
    templates: int
    by: str | None = None


def moment(text: str) -> str:
    """A date or a time, in UTC where it names no zone, as the audit writes it. Raises `UsageError`."""
    try:
        given = datetime.fromisoformat(text)
        return given.replace(tzinfo=given.tzinfo or UTC).astimezone(UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!a} is not a date", "Write it as 2026-01-31, or 2026-01-31T12:00:00 for a time in UTC."
        ) from None


def note(db: sqlite3.Connection, action: str, person: int, templates: int, by: str | None) -> None:
    row = (now(), action, person, templates, by or "")
    db.execute("INSERT INTO audit (date, action, person, templates, asked_by) VALUES (?, ?, ?, ?, ?)", row)


def prune(db: sqlite3.Connection, before: str, by: str | None) -> int:
    """Delete the entries from before a moment, and note how many there were."""
    pruned = db.execute("DELETE FROM audit WHERE date < ?", (before,)).rowcount
    if pruned:
        note(db, "prune", NOBODY, pruned, by)
    return pruned
