"""What the OpenAPI document says of failures and of tokens."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from facekd.service import models
from facekd.service.failures import RETRY_AFTER
from facekd.service.gate import OPEN
from facekd.service.settings import ServiceSettings

_TOLD = {
    401: "No known token.",
    403: "Without tokens: a page from elsewhere asked for it.",
    404: "Nobody of that name is enrolled.",
    408: "The request arrived too slowly.",
    409: "The photos are another person's or not this person's, or the gallery belongs to another model.",
    413: "Too many bytes, pixels or photos.",
    415: "Not an image, or no multipart form.",
    422: "No usable face, or a request that cannot be carried out.",
    429: "Too many requests wait already; Retry-After says when to try again.",
    500: "A bug; the log of the service says more.",
    503: "The gallery cannot be used at the moment; Retry-After says when to try again.",
}
_RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "const": RETRY_AFTER}}}
_ASKS = {"WWW-Authenticate": {"description": "The scheme.", "schema": {"type": "string", "const": "Bearer"}}}
_HEADERS = {401: _ASKS, 429: _RETRY, 503: _RETRY}

Responses = dict[int | str, dict[str, Any]]


def failures(*statuses: int) -> Responses:
    """The failures of an operation: ``statuses``, and those that every operation has."""
    found: Responses = {}
    for status in sorted({401, 403, 500, *statuses}):
        found[status] = {"model": models.FailureDocument, "description": _TOLD[status]}
        if status in _HEADERS:
            found[status]["headers"] = _HEADERS[status]
    return found


def describe_tokens(api: FastAPI, settings: ServiceSettings) -> None:
    """Say in the document where a token is needed: not for what anybody may ask, and without tokens nowhere,
    though one may be sent."""
    for path, item in api.openapi()["paths"].items():
        for operation in item.values():
            if path in OPEN:
                del operation["security"], operation["responses"]["401"]
            elif not settings.tokens:
                operation["security"].append({})
