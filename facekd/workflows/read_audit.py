"""The audit of claims and searches: each is recorded in the gallery before it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from facekd.errors import FacekdError, InputOutput, NotFound
from facekd.gallery import GalleryRecords, ReadEntry
from facekd.verification.results import IdentifiedPhoto
from facekd.workflows.recognizer import Recognizer, Verification

#: the number that stands for nobody, and the characters that identify a space
_NOBODY, _DIGITS = 0, 12


@dataclass(frozen=True)
class ReadAudit:
    """Records the comparisons of ``model``, of a ``space``, with the gallery ``records``; does nothing unless
    they audit reads. Raises `InputOutput` if a record cannot be written: then there must be no answer."""

    records: GalleryRecords
    model: str
    space: str

    @classmethod
    def of(cls, recognizer: Recognizer, records: GalleryRecords) -> ReadAudit:
        return cls(records, recognizer.embedder.name, recognizer.embedder.space[:_DIGITS])

    def note_claim(self, decision: Verification) -> None:
        if self.records.audits_reads:
            result, fmr = "same" if decision.same else "different", decision.threshold.fmr
            self.records.note_reads([self._entry("claim", self._number(decision.claim), result, fmr=fmr)])

    def note_failed_claim(self, name: str, error: FacekdError, fmr: float | None) -> None:
        if not self.records.audits_reads:
            return
        person = _NOBODY
        with suppress(FacekdError):  # for a name that nobody has, or several people may have
            person = self.records.number_of(name)
        self.records.note_reads([self._entry("claim", person, "failed", error.reason, fmr=fmr)])

    def note_searches(self, answers: Sequence[IdentifiedPhoto]) -> None:
        """Record each face that was searched for, and each photo or video without one."""
        if not self.records.audits_reads:
            return
        entries = []
        for answer in answers:
            fpir = answer.threshold.fpir
            if answer.failure:
                entries.append(self._entry("search", _NOBODY, "failed", answer.failure.reason, fpir=fpir))
            for face in answer.faces:
                entries.append(self._entry("search", self._number(face.name), face.decision, fpir=fpir))
        self.records.note_reads(entries)

    def _entry(
        self, action: str, person: int, result: str, reason: str | None = None,
        fmr: float | None = None, fpir: float | None = None,
    ) -> ReadEntry:  # fmt: skip
        return ReadEntry(action, person, result, self.model, self.space, reason, fmr, fpir)

    def _number(self, name: str | None) -> int:
        if name is None:
            return _NOBODY
        try:
            return self.records.number_of(name)
        except NotFound:
            raise InputOutput(
                f"{self.records.path}: it changed while it was being read", "Try again."
            ) from None
