"""Documents as responses."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from facekd.errors import FacekdError, InputOutput
from facekd.json_text import json_text
from facekd.service.failures import RETRY_AFTER, Refused, failure_document, status_of


def answered(document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json_text(document), status, headers, "application/json")


def failed(error: Exception, headers: dict[str, str] | None = None) -> Response:
    """The response to ``error``, with ``headers``. An unexpected error is reported without details."""
    if isinstance(error, MemoryError):
        error = Refused(503, "out_of_memory", "there is not enough memory for this", "Send smaller photos.")
    if not isinstance(error, FacekdError):
        error = Refused(500, "internal", "internal error", "See the log of the service.")
    status = status_of(error)
    headers = dict(headers or {})
    if status in (429, 503):
        headers["retry-after"] = str(RETRY_AFTER)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return answered(failure_document(error), status, headers)


def without_paths(error: InputOutput) -> Refused:
    """A failure of the gallery, as clients see it: the gallery's path is only in the log."""
    return Refused(
        503, error.reason, "the gallery is unavailable", "Try again, or ask the operator of the service."
    )
