"""The documents as OpenAPI describes them. `workflows.documents` makes the documents; tests hold it to these
models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_ANN = {"name": "Ann Lee", "templates": 2, "first": "2026-01-31T12:00:00+00:00",
        "last": "2026-01-31T12:00:00+00:00"}  # fmt: skip


class _Document(BaseModel):
    """A document whose ``schema`` states what it is and the version of its keys."""

    model_config = ConfigDict(populate_by_name=True)


class Failure(BaseModel):
    reason: str = Field(description="One word, for programs.", examples=["no_face"])
    message: str = Field(description="A sentence, for people.", examples=["the photo: no face was found"])
    fix: str | None = Field(description="What to do about it, if known.")
    photo: str | None = Field(description="The photo that caused it, if one did.", examples=["photo 2"])


class PhotoFailure(BaseModel):
    photo: str = Field(examples=["photo 1"])
    reason: str = Field(examples=["several_faces"])
    message: str


class FailureDocument(_Document):
    """Why there is no answer."""

    schema_: Literal["failure/1"] = Field(alias="schema")
    failure: Failure
    failures: list[PhotoFailure] | None = Field(None, description="When enrolling: each photo that failed.")


class Threshold(BaseModel):
    value: float
    source: str = Field(examples=["card"])
    fmr: float | None = Field(description="False match rate.")
    data: str | None


class Model(BaseModel):
    name: str
    space: str


class ComparedPhoto(BaseModel):
    path: str = Field(description="The name of the photo in messages.")
    faces: int
    box: list[float] = Field(description="Left, top, right, bottom, in pixels.")
    quality: float
    faults: list[str]


class Verification(_Document):
    """Whether two photos, or a photo and an enrolled person, show the same person."""

    schema_: Literal["verify/1"] = Field(alias="schema")
    same: bool
    score: float = Field(description="Cosine, from -1 to 1.")
    probability: float | None
    log_likelihood_ratio: float | None
    failure: None = None
    prior: float
    threshold: Threshold
    model: Model
    detector: str
    claim: str | None
    templates: int | None
    photos: list[ComparedPhoto]
    notes: list[str]


class Candidate(BaseModel):
    name: str
    score: float


class SearchPopulation(BaseModel):
    """On whom the model card's threshold was measured."""

    fmr: float = Field(description="False match rate among these people.")
    similar: bool = Field(description="Whether they are similar people, of one group.")
    data: str
    group: str | None
    people: int | None


class SearchRule(BaseModel):
    source: str
    value: float | None
    fpir: float | None = Field(description="False positive identification rate.")
    people: int
    low: float | None
    high: float | None
    data: str
    population: SearchPopulation | None
    insufficient: str | None


class SearchEngine(BaseModel):
    """How the gallery was searched, and the recall of an index, measured when it was built."""

    engine: str
    built: str | None
    people: int | None
    probes: int | None
    recall_1: float | None = Field(description="Share of the exact search's first that it found first.")
    recall_5: float | None = Field(description="Share of the exact search's first five that it found.")


_Decision = Literal["found", "nobody", "insufficient"]


class SearchedFace(BaseModel):
    decision: _Decision
    name: str | None
    candidates: list[Candidate]
    box: list[float]
    quality: float


class Identification(_Document):
    """Who is in a photo, by a search of all people enrolled."""

    schema_: Literal["identify/1"] = Field(alias="schema")
    photo: str
    decision: _Decision
    name: str | None
    candidates: list[Candidate]
    threshold: float | None
    fpir: float | None
    people: int
    rule: SearchRule
    index: SearchEngine
    faces: list[SearchedFace]
    failure: None = None
    notes: list[str]


class Guard(BaseModel):
    others: int
    not_this_person: float | None
    other_person: float | None
    looks_like: float | None


class Enrollment(_Document):
    """The result of a person's photos; at least one of them is in the gallery."""

    schema_: Literal["enroll/1"] = Field(alias="schema")
    name: str
    added: int
    present: int
    templates: int
    failures: list[PhotoFailure]
    enrolled: bool
    warnings: list[PhotoFailure]
    forced: int
    guard: Guard | None
    notes: list[str]


class Entry(BaseModel):
    name: str
    templates: int
    first: str
    last: str


class People(_Document):
    """The people who are enrolled."""

    schema_: Literal["gallery-list/1"] = Field(alias="schema")
    gallery: str
    model: str
    space: str
    dim: int
    detector: str
    aligner: str
    people: list[Entry] = Field(examples=[[_ANN]])


class EnrolledPhoto(BaseModel):
    id: str
    sha256: str
    enrolled: str
    quality: float


class Person(_Document):
    """The photos of one person; the audit identifies people by number."""

    schema_: Literal["gallery-show/1"] = Field(alias="schema")
    name: str
    number: int
    photos: list[EnrolledPhoto]


class Removal(_Document):
    """Who was removed. While erasure is pending, the last bytes are not erased yet: another program is
    reading the gallery, or in PostgreSQL this user may not rewrite its tables."""

    schema_: Literal["gallery-remove/1"] = Field(alias="schema")
    name: str
    templates: int
    erasure: Literal["done", "pending"]


class State(BaseModel):
    status: Literal["ok", "ready"]


def form(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    """The body of a request with photos, for OpenAPI."""
    schema = {"type": "object", "required": required, "properties": properties, "additionalProperties": False}
    kinds = {name: {"contentType": "image/*"} for name, one in properties.items() if _is_of_files(one)}
    content = {"multipart/form-data": {"schema": schema, "encoding": kinds}}
    return {"requestBody": {"required": True, "content": content}}


def photo_file(told: str) -> dict[str, Any]:
    return {"type": "string", "format": "binary", "description": told}


def _is_of_files(schema: dict[str, Any]) -> bool:
    return "binary" in (schema.get("format"), schema.get("items", {}).get("format"))
