"""The result of searching a gallery for the people in a photo."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from facekd.errors import Exit
from facekd.preprocess import Face

#: "insufficient": no threshold is known for the requested rate
Decision = Literal["found", "nobody", "insufficient"]


@dataclass(frozen=True)
class Population:
    """The people on whom a card's threshold for ``fmr`` was measured, those in ``data``: varied ones, or
    ``similar`` ones, of whom those of ``group`` were most often taken for each other. ``people`` is their
    number, if the card states it."""

    fmr: float
    similar: bool
    data: str
    group: str | None = None
    people: int | None = None

    def __str__(self) -> str:
        if not self.similar:
            return f"FMR {self.fmr:g} on {self.data}"
        return (
            f"FMR {self.fmr:g} among similar people ({self.data}: {self.people:,} people of the worst group, "
            f"{self.group})"
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class SearchThreshold:
    """The lowest score that counts as found. ``source``: "option", "gallery" (its own scores),
    "card", or "none", where ``shortfall`` says what would be needed; ``fpir`` is the false positive
    identification rate at it in a gallery of ``people``, ``low`` and ``high`` its 95 % interval.
    ``population`` says on whom a card's threshold was measured."""

    source: str
    people: int
    value: float | None = None
    fpir: float | None = None
    low: float | None = None
    high: float | None = None
    data: str = ""
    shortfall: str | None = None
    population: Population | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "value": self.value,
            "fpir": self.fpir,
            "people": self.people,
            "low": self.low,
            "high": self.high,
            "data": self.data,
            "population": self.population.to_dict() if self.population else None,
            "insufficient": self.shortfall,
        }


@dataclass(frozen=True)
class Candidate:
    """An enrolled person, and the ``score``, a cosine, of a face with them."""

    name: str
    score: float


@dataclass(frozen=True)
class IdentifiedFace:
    """A face at ``box`` (left, top, right, bottom in pixels of the photo) with its ``candidates``, most
    similar first, and the ``decision``."""

    box: tuple[float, float, float, float]
    quality: float
    candidates: tuple[Candidate, ...]
    decision: Decision
    #: the detection
    detected: Face | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str | None:
        """The name of the person who was found."""
        return self.candidates[0].name if self.decision == "found" else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "decision": self.decision,
            "name": self.name,
            "candidates": [{"name": one.name, "score": one.score} for one in self.candidates],
            "box": list(self.box),
            "quality": self.quality,
        }


@dataclass(frozen=True)
class SearchEngine:
    """By what a gallery was searched: "exact", or the engine of an index that names candidates, who are then
    compared exactly. ``recall_1`` and ``recall_5`` were measured with so many ``probes`` when the index was
    ``built`` of so many ``people``: the share of the exact search's first, and first five, that it found."""

    engine: str = "exact"
    built: str | None = None
    people: int | None = None
    probes: int | None = None
    recall_1: float | None = None
    recall_5: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class SearchFailure:
    """Why a photo could not be searched with: one word for programs, and a sentence."""

    reason: str
    message: str
    fix: str | None
    exit_code: Exit

    def to_dict(self) -> dict[str, Any]:
        return {"reason": self.reason, "message": self.message, "fix": self.fix}


@dataclass(frozen=True)
class TrackSpan:
    """Where in a video somebody is: the ``number`` of their track, the times in seconds at which they are
    seen ``first`` and ``last``, in how many of the frames that were looked at, and how many of these were
    ``used``."""

    number: int
    first: float
    last: float
    frames: int
    used: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "first": round(self.first, 3),
            "last": round(self.last, 3),
            "frames": self.frames,
            "used": self.used,
        }


@dataclass(frozen=True)
class IdentifiedPhoto:
    """The result of a search with a ``photo``: its ``faces``, one unless all were asked for, or the reason
    that there is no answer, the ``failure``. For a person in a video the photo is the video, and ``track``
    gives the time."""

    photo: str
    threshold: SearchThreshold
    faces: tuple[IdentifiedFace, ...] = ()
    failure: SearchFailure | None = None
    notes: tuple[str, ...] = ()
    track: TrackSpan | None = None
    searched_by: SearchEngine = field(default_factory=SearchEngine)

    @property
    def exit_code(self) -> Exit:
        """For a single photo: `DONE` if somebody was found, `DIFFERENT` if nobody was."""
        if self.failure:
            return self.failure.exit_code
        decisions = {face.decision for face in self.faces}
        if "insufficient" in decisions:
            return Exit.USAGE
        return Exit.DONE if "found" in decisions else Exit.DIFFERENT

    def to_dict(self) -> dict[str, Any]:
        """The first face's answer, then all of them."""
        first = self.faces[0].to_dict() if self.faces else {"decision": None, "name": None, "candidates": []}
        return {
            "photo": self.photo,
            **{key: first[key] for key in ("decision", "name", "candidates")},
            "threshold": self.threshold.value,
            "fpir": self.threshold.fpir,
            "people": self.threshold.people,
            "rule": self.threshold.to_dict(),
            "index": self.searched_by.to_dict(),
            "faces": [face.to_dict() for face in self.faces],
            "failure": self.failure.to_dict() if self.failure else None,
            "notes": list(self.notes),
            **({"track": self.track.to_dict()} if self.track else {}),
        }
