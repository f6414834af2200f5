"""The audit of an open gallery: record changes and reads in it, list its entries, prune it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from facekd.gallery import audit
from facekd.gallery.audit import AuditEntry, ReadEntry
from facekd.gallery.engine import Engine
from facekd.gallery.migrations import ASKERS_SINCE, READS_SINCE


class AuditNotes:
    """The audit of the gallery in the open ``file``; new entries are recorded as requested ``by`` somebody
    (the name of a token), or by nobody known."""

    def __init__(self, file: Engine, by: str | None) -> None:
        self._file, self._by = file, by

    def note(self, action: str, person: int, templates: int) -> None:
        """Record that ``action`` was applied to ``templates`` of the person with this number."""
        audit.note(self._file.db, action, person, templates, self._by)

    def note_reads(self, entries: Sequence[ReadEntry]) -> None:
        """As `GalleryRecords.note_reads`."""
        with self._file.noting():
            audit.note_reads(self._file.db, entries, self._by)

    def prune(self, before: str, reads_only: bool) -> int:
        """As `GalleryRecords.prune_audit`."""
        self._file.must_change()
        return audit.prune(self._file.db, before, self._by, reads_only)

    def entries(self, since: str) -> Iterator[AuditEntry]:
        """As `GalleryRecords.audit_entries`."""
        by = "asked_by" if self._file.schema >= ASKERS_SINCE else "''"
        query = f"SELECT date, action, person, templates, {by} FROM audit WHERE date >= ? ORDER BY id"
        for row in self._file.stream(query, since):
            self._file.check_types(row, (str, str, int, int, str))
            date, action, person, templates, asker = row
            yield AuditEntry(date, action, person, templates, asker or None)

    def read_entries(self, since: str) -> Iterator[ReadEntry]:
        """As `GalleryRecords.read_entries`."""
        if self._file.schema < READS_SINCE:
            return
        rates = "coalesce(fmr, -1.0), coalesce(fpir, -1.0)"
        columns = f"action, person, result, model, space, reason, {rates}, asked_by, date"
        query = f"SELECT {columns} FROM audit_reads WHERE date >= ? ORDER BY id"
        for row in self._file.stream(query, since):
            self._file.check_types(row, (str, int, str, str, str, str, float, float, str, str))
            action, person, result, model, space, reason, fmr, fpir, asker, date = row
            yield ReadEntry(
                action, person, result, model, space, reason or None,
                fmr if fmr >= 0 else None, fpir if fpir >= 0 else None, asker or None, date,
            )  # fmt: skip
