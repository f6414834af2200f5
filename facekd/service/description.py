"""How the OpenAPI document describes failures and tokens."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from facekd.service import models
from facekd.service.failures import RETRY_AFTER
from facekd.service.gate import OPEN
from facekd.service.settings import ServiceSettings

_TOLD = {
    401: "No known token.",
    403: "Without tokens: a page of another origin sent the request.",
    404: "Nobody of that name is enrolled.",
    408: "The request arrived too slowly.",
    409: "The photos show another person or not this one, or the gallery belongs to another model.",
    413: "Too many bytes, pixels or photos.",
    415: "Not an image, or not a multipart form.",
    422: "No usable face, or a request that cannot be carried out.",
    429: "Too many requests are waiting; Retry-After says when to try again.",
    500: "A bug; see the log of the service.",
    503: "The gallery is unavailable; Retry-After says when to try again.",
}
_RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "const": RETRY_AFTER}}}
_ASKS = {"WWW-Authenticate": {"description": "The scheme.", "schema": {"type": "string", "const": "Bearer"}}}
_HEADERS = {401: _ASKS, 429: _RETRY, 503: _RETRY}

Responses = dict[int | str, dict[str, Any]]


def failures(*statuses: int) -> Responses:
    """Failures of an operation: ``statuses``, and those that every operation has."""
    found: Responses = {}
    for status in sorted({401, 403, 500, *statuses}):
        found[status] = {"model": models.FailureDocument, "description": _TOLD[status]}
        if status in _HEADERS:
            found[status]["headers"] = _HEADERS[status]
    return found


def describe_tokens(api: FastAPI, settings: ServiceSettings) -> None:
    """State in the document where a token is required: not for the `OPEN` paths, and if the service has no
    tokens it is optional everywhere."""
    for path, item in api.openapi()["paths"].items():
        for operation in item.values():
            if path in OPEN:
                del operation["security"], operation["responses"]["401"]
            elif not settings.tokens:
                operation["security"].append({})
