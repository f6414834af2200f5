"""The application: its routes, and their descriptions in its OpenAPI document."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from facekd.errors import FacekdError, InputOutput
from facekd.service import models
from facekd.service.admission import Admission
from facekd.service.answers import answered, failed, without_paths
from facekd.service.description import describe_tokens, failures
from facekd.service.failures import Refused
from facekd.service.gate import Gate
from facekd.service.metrics import Metrics
from facekd.service.page import page_response
from facekd.service.settings import ServiceSettings
from facekd.service.uploads import read_form
from facekd.service.work import Change, Work
from facekd.version import __version__

LOG = logging.getLogger("facekd.service")

_OF_PHOTOS = (408, 409, 413, 415, 422, 429, 503)
_OF_RECORDS = (409, 422, 429, 503)
_Name = Annotated[str, Path(description="The person's name.", examples=["Ann Lee"])]


@dataclass(frozen=True)
class Made:
    """The application wrapped in the gate, the application itself, and its admission."""

    app: ASGIApp
    api: FastAPI
    admission: Admission


def make_app(work: Work, settings: ServiceSettings) -> Made:
    """The application that does ``work``, ready to be run by a server."""
    admission = Admission(settings.workers, settings.queue)
    metrics = Metrics(admission)
    api = FastAPI(
        title="facekd",
        version=__version__,
        description="Enroll people, verify claims and search a gallery, by face.",
        # the framework's pages of documentation load scripts from other hosts
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Security(HTTPBearer(auto_error=False, description="Required if tokens are set."))],
    )
    _handle_failures(api, work)
    _add_state(api, work, admission, metrics)
    _add_photos(api, work, admission, settings)
    _add_people(api, work, admission)
    describe_tokens(api, settings)
    return Made(Gate(api, settings, metrics), api, admission)


def _handle_failures(api: FastAPI, work: Work) -> None:
    async def told(request: Request, error: Exception) -> Response:
        match error:
            case InputOutput() if not error.photo:
                LOG.warning("the gallery failed: %s", error.cause)
                return failed(without_paths(error))
            case FacekdError():
                error.cause = work.discreet(error.cause)
                return failed(error)
            case RequestValidationError():
                places = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
                return failed(Refused(422, "usage", places))
            case HTTPException(status_code=405):
                refused = Refused(405, "method", str(error.detail))
                return failed(refused, {"allow": _methods_of(api, request) or (error.headers or {})["Allow"]})
            case HTTPException():
                reason = "not_found" if error.status_code == 404 else "usage"
                return failed(Refused(error.status_code, reason, str(error.detail)))
        # the gate logs it
        return failed(error)

    for kind in (FacekdError, RequestValidationError, HTTPException, Exception):
        api.add_exception_handler(kind, told)


def _methods_of(api: FastAPI, request: Request) -> str:
    """The methods allowed on the path of a request, as a header; the framework names those of one route
    only. Empty if the path is no operation of the service."""
    path = getattr(request.scope.get("route"), "path", None)
    routes = [route for route in api.routes if isinstance(route, APIRoute) and route.path == path]
    return ", ".join(sorted({method for route in routes for method in route.methods or ()}))


def _add_state(api: FastAPI, work: Work, admission: Admission, metrics: Metrics) -> None:
    looking = asyncio.Lock()

    @api.get("/", include_in_schema=False)
    async def page() -> Response:
        return page_response()

    @api.get(
        "/healthz", response_model=models.State, responses=failures(), tags=["state"], operation_id="health"
    )
    async def health() -> Response:
        """Tell whether the service is running."""
        return answered({"status": "ok"})

    @api.get(
        "/readyz", response_model=models.State, responses=failures(409, 503), tags=["state"],
        operation_id="ready",
    )  # fmt: skip
    async def ready() -> Response:
        """Tell whether the gallery can be used."""
        # one at a time: no token is needed, and these requests must not take the places of others
        async with looking:
            await admission.run(work.check)
        return answered({"status": "ready"})

    @api.get(
        "/metrics", response_class=Response, tags=["state"], operation_id="metrics",
        responses=failures() | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )  # fmt: skip
    async def measured() -> Response:
        """Return counts and durations in the format of Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_photos(api: FastAPI, work: Work, admission: Admission, settings: ServiceSettings) -> None:
    photo = models.photo_file("An image file: JPEG, PNG or another format that facekd reads.")

    @api.post(
        "/v1/verify", response_model=models.Verification, responses=failures(404, *_OF_PHOTOS),
        tags=["photos"], operation_id="verify",
        openapi_extra=models.form(
            ["photo"], photo=photo, other=models.photo_file("The photo to compare it with."),
            name={"type": "string", "description": "Or the name of the person to compare it with.",
                  "examples": ["Ann Lee"]},
        ),
    )  # fmt: skip
    async def verify(request: Request) -> Response:
        """Verify that two photos, or a photo and an enrolled person, are the same person."""
        with admission.place():
            sent = await read_form(request, settings, {"photo", "other"})
            first, others = sent.photos_of("photo"), sent.photos_of("other")
            name = sent.fields.pop("name", None)
            _check_fields(sent.fields)
            if len(first) != 1 or len(others) + (name is not None) != 1:
                raise Refused(422, "usage", "send one photo, and either another photo or a name")
            if name is not None:
                return answered(await admission.run(work.verify_claim, first[0], name, _by(request)))
            return answered(await admission.run(work.verify, first[0], others[0]))

    @api.post(
        "/v1/identify", response_model=models.Identification, responses=failures(*_OF_PHOTOS),
        tags=["photos"], operation_id="identify", openapi_extra=models.form(["photo"], photo=photo),
    )  # fmt: skip
    async def identify(
        request: Request,
        top: Annotated[int, Query(ge=1, le=1000, description="Candidates to list.")] = 5,
        all_faces: Annotated[bool, Query(description="Search for every face in the photo.")] = False,
    ) -> Response:
        """Search everybody enrolled for the person in a photo."""
        with admission.place():
            sent = await read_form(request, settings, {"photo"})
            _check_fields(sent.fields)
            photos = sent.photos_of("photo")
            if len(photos) != 1:
                raise Refused(422, "usage", "send one photo")
            return answered(await admission.run(work.identify, photos[0], top, all_faces, _by(request)))

    @api.post(
        "/v1/people/{name:path}/photos", response_model=models.Enrollment, responses=failures(*_OF_PHOTOS),
        tags=["people"], operation_id="enroll",
        openapi_extra=models.form(["photos"], photos={"type": "array", "minItems": 1, "items": photo}),
    )  # fmt: skip
    async def enroll(
        request: Request,
        name: _Name,
        on_many: Annotated[
            Literal["dominant", "best", "largest", "central", "skip"],
            Query(description="Which of several faces to keep; dominant refuses if none clearly dominates."),
        ] = "dominant",
        force: Annotated[
            bool, Query(description="Accept photos that look like another person; the audit records it.")
        ] = False,
    ) -> Response:
        """Enroll a person from photos; photos reported as added are stored durably."""
        with admission.place():
            sent = await read_form(request, settings, {"photos"})
            _check_fields(sent.fields)
            photos = sent.photos_of("photos")
            if not photos:
                raise Refused(422, "usage", "send at least one photo")
            return _changed(
                request, await admission.run(work.enroll, name, photos, on_many, force, _by(request))
            )


def _add_people(api: FastAPI, work: Work, admission: Admission) -> None:
    async def in_place(does: Callable[..., Any], *arguments: object) -> Any:
        with admission.place():
            return await admission.run(does, *arguments)

    @api.get(
        "/v1/people", response_model=models.People, responses=failures(*_OF_RECORDS), tags=["people"],
        operation_id="list_people",
    )  # fmt: skip
    async def list_people() -> Response:
        """List everybody who is enrolled."""
        return answered(await in_place(work.people))

    @api.get(
        "/v1/people/{name:path}", response_model=models.Person, responses=failures(404, *_OF_RECORDS),
        tags=["people"], operation_id="show_person",
    )  # fmt: skip
    async def show_person(name: _Name) -> Response:
        """Show the photos that a person is enrolled with."""
        return answered(await in_place(work.person, name))

    @api.delete(
        "/v1/people/{name:path}", response_model=models.Removal, responses=failures(404, *_OF_RECORDS),
        tags=["people"], operation_id="remove_person",
    )  # fmt: skip
    async def remove_person(request: Request, name: _Name) -> Response:
        """Remove a person and all their templates."""
        return _changed(request, await in_place(work.remove, name, _by(request)))


def _by(request: Request) -> str | None:
    """The name of the request's token, for the audit; `None` without tokens."""
    name: str | None = request.scope["by"]
    return name


def _check_fields(left: dict[str, str]) -> None:
    for field in left:
        raise Refused(422, "usage", f"unknown field {field[:40]!a}")


def _changed(request: Request, change: Change) -> Response:
    """The response to a change, which is also logged."""
    request.scope["told"].append(change.told)
    return answered(change.document)
