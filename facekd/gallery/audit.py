"""The audit: what was done, when and to whom, by number and without names of people, and by whom, as the name
of a token. Changes are always recorded, claims and searches (reads) on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from facekd.errors import UsageError
from facekd.gallery.engine import Connection
from facekd.gallery.template import now

#: the number that stands for nobody, used for changes of the audit itself
NOBODY = 0


@dataclass(frozen=True)
class AuditEntry:
    """``action`` was applied to ``templates`` templates of the person with the number ``person`` at ``date``
    (UTC, ISO 8601). Numbers are never reused; 0 is nobody's. ``by`` is the name of the token of the request;
    `None` if none was needed."""

    date: str
    action: str
    person: int
    templates: int
    by: str | None = None


@dataclass(frozen=True)
class ReadEntry:
    """A "claim" or a "search" (``action``) at ``date``, and its ``result``: "same" or "different"; "found",
    "nobody" or "insufficient"; or "failed", with the ``reason`` of a `FacekdError`. ``person`` is the number
    of the person claimed or found, 0 if there was none.

    ``model`` and ``space`` (its first 12 digits) identify the model; ``fmr`` or ``fpir`` is the rate of the
    threshold, `None` if it is unknown, as for a given threshold. ``by`` is as in `AuditEntry`. The score is
    left out: it is biometric, and the audit has to state the answer, not how close it was.
    """

    action: str
    person: int
    result: str
    model: str
    space: str
    reason: str | None = None
    fmr: float | None = None
    fpir: float | None = None
    by: str | None = None
    date: str = field(default_factory=now)


def moment(text: str) -> str:
    """A date or a time (in UTC if no zone is given), as the audit writes it. Raises `UsageError`."""
    try:
        given = datetime.fromisoformat(text)
        return given.replace(tzinfo=given.tzinfo or UTC).astimezone(UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!a} is not a date", "Write it as 2026-01-31, or 2026-01-31T12:00:00 for a time in UTC."
        ) from None


def note(db: Connection, action: str, person: int, templates: int, by: str | None) -> None:
    row = (now(), action, person, templates, by or "")
    db.execute("INSERT INTO audit (date, action, person, templates, asked_by) VALUES (?, ?, ?, ?, ?)", row)


def note_reads(db: Connection, entries: Sequence[ReadEntry], by: str | None) -> None:
    db.executemany(
        "INSERT INTO audit_reads (date, action, person, result, reason, model, space, fmr, fpir, asked_by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (e.date, e.action, e.person, e.result, e.reason or "", e.model, e.space, e.fmr, e.fpir, by or "")
            for e in entries
        ],
    )


def prune(db: Connection, before: str, by: str | None, reads_only: bool = False) -> int:
    """Delete the entries before a moment, and record their number."""
    tables = ("audit_reads",) if reads_only else ("audit_reads", "audit")
    pruned = sum(db.execute(f"DELETE FROM {table} WHERE date < ?", (before,)).rowcount for table in tables)
    if pruned:
        note(db, "prune", NOBODY, pruned, by)
    return pruned
