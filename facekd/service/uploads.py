"""Read photos from a request: up to a size, in memory only, within a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from facekd.service.failures import Refused
from facekd.service.settings import ServiceSettings

#: bytes of a field that is not a file: a name has at most 200 characters
_FIELD_BYTES = 4096
_FIELDS = 8


@dataclass(frozen=True)
class Form:
    """The ``photos`` of a request in order, each with the name of its field, and the other ``fields``."""

    photos: tuple[tuple[str, bytes], ...]
    fields: dict[str, str]

    def photos_of(self, field: str) -> list[bytes]:
        return [content for name, content in self.photos if name == field]


class _InMemory(MultiPartParser):
    """Keeps files in memory: photos must not be written to the disk, where they could be recovered."""

    def __init__(self, request: Request, stream: AsyncGenerator[bytes, None], settings: ServiceSettings):
        super().__init__(
            request.headers, stream,
            max_files=settings.max_photos, max_fields=_FIELDS, max_part_size=_FIELD_BYTES,
        )  # fmt: skip
        # larger than any body that is accepted
        self.spool_max_size = settings.max_upload + 1


async def read_form(request: Request, settings: ServiceSettings, photo_fields: set[str]) -> Form:
    """The form in ``request``; files are accepted in ``photo_fields``.

    Raises `Refused`: 413 for too many bytes (before reading them if the request states their number) or
    photos; 415 for another type of body, or a compressed one; 408 if it takes too long; 422 if it is not a
    form.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refused(415, "media_type", "the body is not multipart/form-data", "Send the photo as a file.")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "media_type", "the body is compressed", "Send it uncompressed.")
    _check_length(request, settings.max_upload)
    try:
        async with asyncio.timeout(settings.upload_seconds):
            return await _parse(request, settings, photo_fields)
    except TimeoutError:
        raise Refused(
            408, "too_slow", f"the request did not arrive within {settings.upload_seconds:g} seconds"
        ) from None
    except ClientDisconnect:
        raise Refused(400, "incomplete", "the request ended before it was complete") from None


async def _parse(request: Request, settings: ServiceSettings, photo_fields: set[str]) -> Form:
    stream = _bounded(request, settings.max_upload)
    try:
        form = await _InMemory(request, stream, settings).parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise Refused(
                413, "too_many", f"more than {settings.max_photos} photos", "Send them in several requests."
            ) from error
        raise Refused(422, "usage", f"the form cannot be read: {error.message}") from error
    photos, fields = [], {}
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile) != (name in photo_fields):
                what = "must be a file" if name in photo_fields else "must not be a file"
                raise Refused(422, "usage", f"{name[:40]!a} {what}")
            if isinstance(value, UploadFile):
                photos.append((name, await value.read()))
            elif name in fields:
                raise Refused(422, "usage", f"the field {name[:40]!a} is given twice")
            else:
                fields[name] = value
    finally:
        await form.close()
    return Form(tuple(photos), fields)


def _check_length(request: Request, limit: int) -> None:
    stated = request.headers.get("content-length", "0")
    if not stated.isdecimal() or int(stated[:20]) > limit:
        raise _too_large(limit)


async def _bounded(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The body in parts, bounded whatever its stated length."""
    read = 0
    async for part in request.stream():
        read += len(part)
        if read > limit:
            raise _too_large(limit)
        yield part


def _too_large(limit: int) -> Refused:
    return Refused(413, "too_large", f"the request exceeds {limit:,} bytes", "Send smaller photos.")
