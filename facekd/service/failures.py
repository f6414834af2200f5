"""Failures as a status and a document, the one that ``--json`` prints."""

from __future__ import annotations

from typing import Any

from facekd.errors import (
    CannotSay,
    FacekdError,
    InputOutput,
    Misfit,
    NoKey,
    NotFound,
    NotThisPerson,
    TooLarge,
    UsageError,
    WrongKey,
)
from facekd.workflows import Enrolled

#: seconds after which a client whose request was refused may try again
RETRY_AFTER = 5

_UNREADABLE, _TOO_LARGE, _UNPROCESSABLE, _CONFLICT = 415, 413, 422, 409
#: statuses of photos that were not enrolled, by reason; 422 for all others
_OF_REASON = {
    "unreadable": _UNREADABLE,
    "io": _UNREADABLE,
    "too_large": _TOO_LARGE,
    "other_person": _CONFLICT,
    "not_this_person": _CONFLICT,
}


class Refused(FacekdError):
    """A request that is refused without being processed."""

    def __init__(self, status: int, reason: str, cause: str, fix: str | None = None) -> None:
        super().__init__(cause, fix)
        self.status, self.reason = status, reason


class NobodyEnrolled(FacekdError):
    """None of the photos that were sent was enrolled."""

    def __init__(self, entry: Enrolled) -> None:
        told = "; ".join(failure.message for failure in entry.failures)
        super().__init__(told)
        self.failures = [
            {"photo": one.photo, "reason": one.reason, "message": one.message} for one in entry.failures
        ]
        # the most serious one, as for the exit code of a command
        gravest = max(entry.failures, key=lambda one: one.exit_code)
        self.reason = gravest.reason
        self.photo = gravest.photo if len(entry.failures) == 1 else None


def status_of(error: FacekdError) -> int:
    """The HTTP status of ``error``. An input or output failure that is not a photo's is the gallery's, which
    may be available again in a moment."""
    match error:
        case Refused():
            return error.status
        case NobodyEnrolled():
            return _OF_REASON.get(error.reason, _UNPROCESSABLE)
        case NotFound():
            return 404
        case Misfit() | NotThisPerson():
            return _CONFLICT
        case TooLarge() if error.photo:
            return _TOO_LARGE
        case InputOutput() if error.photo:
            return _UNREADABLE
        case InputOutput() | NoKey():
            return 503
        case CannotSay() | UsageError():
            return _UNPROCESSABLE
        case _:
            return 500


def failure_document(error: FacekdError) -> dict[str, Any]:
    """The document of ``error``, with the photo that caused it, if one did."""
    failure = {"reason": error.reason, "message": error.cause, "fix": error.fix, "photo": error.photo}
    if isinstance(error, NoKey | WrongKey):  # clients must not learn where the key is kept
        failure |= {"message": "the service does not have the key of its gallery", "fix": None}
    document: dict[str, Any] = {"schema": "failure/1", "failure": failure}
    if isinstance(error, NobodyEnrolled):
        document["failures"] = error.failures
    return document
