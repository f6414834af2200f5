"""Identify: search everybody enrolled for the person in a photo."""

from __future__ import annotations

from dataclasses import dataclass, field

from facekd.card import SimilarPeople
from facekd.errors import CannotSay, FacekdError, InputOutput, UsageError
from facekd.gallery import GalleryRecords, PeopleSearch, SearchChoice, people_search
from facekd.preprocess import PhotoLike
from facekd.verification.results import (
    Candidate,
    Decision,
    IdentifiedFace,
    IdentifiedPhoto,
    SearchEngine,
    SearchFailure,
    SearchThreshold,
)
from facekd.workflows.gallery_thresholds import own_scores, search_threshold
from facekd.workflows.named_photos import NamedPhoto
from facekd.workflows.photo_notes import notes_of
from facekd.workflows.read_audit import ReadAudit
from facekd.workflows.recognizer import Recognised, Recognizer
from facekd.workflows.thresholds import Threshold

#: default false positive identification rate of a search
FPIR = 1e-2


@dataclass(frozen=True)
class Search:
    """An open gallery with what a search needs: the recognizer, the threshold, the audit of reads, and notes
    for every answer."""

    recognizer: Recognizer
    index: PeopleSearch
    threshold: SearchThreshold
    audit: ReadAudit
    notes: tuple[str, ...] = ()
    engine: SearchEngine = field(default_factory=SearchEngine)


def open_search(
    recognizer: Recognizer, records: GalleryRecords, fpir: float = FPIR, threshold: float | None = None
) -> Search:
    """Prepare to search ``records``, opened by `Recognizer.open_gallery`.

    Raises `UsageError` for a rate outside (0, 1), for a ``threshold`` that is not a cosine, and if none is
    given and the gallery belongs to another space, for which none is known; `Unreadable` if a template is
    damaged, and as `people_search`.
    """
    if threshold is not None and not -1 <= threshold <= 1:
        raise UsageError(f"--threshold: {threshold:g} is not a cosine, from -1 to 1")
    if threshold is None and not recognizer.shares_space(records.contract):
        raise UsageError(
            f"no threshold is known between {recognizer.embedder.name} and {records.contract.model}, which "
            f"{records.path} was made with",
            "Give --threshold, as measured by facekd compatibility MODEL OTHER.",
        )
    index, choice = people_search(records)
    people = records.count()
    own = own_scores(records) if threshold is None else None
    chosen = search_threshold(recognizer.embedder.card, own, people, fpir, threshold)
    notes = [f"{records.path} was {one}" for one in recognizer.differences(records.contract)]
    if own is not None and own.note and chosen.source == "gallery":
        notes.append(own.note)
    if chosen.source == "card":
        similar = recognizer.embedder.card.similar
        notes += recognizer.doubts(threshold_of(similar, chosen) if similar else None)
    audit = ReadAudit.of(recognizer, records)
    return Search(recognizer, index, chosen, audit, tuple(notes), search_engine(choice))


def threshold_of(similar: SimilarPeople, chosen: SearchThreshold) -> Threshold:
    """The threshold ``chosen`` for searches, with how it was measured."""
    assert chosen.value is not None  # a card gave it
    fmr = chosen.population.fmr if chosen.population else None
    return Threshold(chosen.value, "card", fmr, similar.data, similar.detector, similar.aligner)


def search_engine(choice: SearchChoice | None) -> SearchEngine:
    """What an answer says of the index that was chosen for a gallery."""
    if choice is None:
        return SearchEngine()
    return SearchEngine(
        choice.engine, choice.built, choice.people, choice.probes, choice.recall_1, choice.recall_5
    )


def identify_photo(
    search: Search, photo: PhotoLike, *, top: int = 5, all_faces: bool = False, name: str = ""
) -> IdentifiedPhoto:
    """Search for the face in ``photo`` (of several the largest near the centre), or for all faces; lists
    ``top`` candidates for each. ``name`` is the photo's name, by default its path. If the records audit
    reads, the result is durably recorded when this returns or raises.

    Raises what `Recognizer.recognise` raises, and `InputOutput` if the result cannot be recorded.
    """
    try:
        found = _searched_photo(search, photo, top, all_faces, name)
    except FacekdError as error:
        search.audit.note_searches((_failed(search, name, error),))
        raise
    search.audit.note_searches((found,))
    return found


def _searched_photo(
    search: Search, photo: PhotoLike, top: int, all_faces: bool, name: str
) -> IdentifiedPhoto:
    recognizer = search.recognizer
    faces = recognizer.recognise_all(photo, name) if all_faces else (recognizer.recognise(photo, name),)
    fmr = search.threshold.fpir if search.threshold.source != "option" else None
    told = () if all_faces else tuple(notes_of(faces[0], fmr, "FPIR"))
    found = tuple(searched(search, face, top) for face in faces)
    return IdentifiedPhoto(
        name or faces[0].photo,
        search.threshold,
        found,
        notes=(*search.notes, *told),
        searched_by=search.engine,
    )


def identify_or_say_why(
    search: Search, named: NamedPhoto, *, top: int = 5, all_faces: bool = False
) -> IdentifiedPhoto:
    """As `identify_photo`, for one of many photos: a failure of the photo is an answer too. Raises
    `InputOutput` if the result cannot be recorded."""
    try:
        found = _searched_photo(search, named.photo.read(), top, all_faces, named.name)
    except (CannotSay, InputOutput) as error:
        found = _failed(search, named.name, error)
    search.audit.note_searches((found,))
    return found


def _failed(search: Search, name: str, error: FacekdError) -> IdentifiedPhoto:
    failure = SearchFailure(error.reason, error.cause, error.fix, error.exit_code)
    return IdentifiedPhoto(name, search.threshold, failure=failure, searched_by=search.engine)


def searched(search: Search, face: Recognised, top: int) -> IdentifiedFace:
    """The result of a search for a face that is already recognised."""
    matches = search.index.search(face.embedding[None], top)
    pairs = zip(matches.names[0], matches.scores[0].tolist(), strict=True)
    candidates = tuple(Candidate(name, score) for name, score in pairs)
    left, upper, right, lower = (float(value) for value in face.face.box)
    limit = search.threshold.value
    decision: Decision = "nobody"
    if candidates and limit is None:
        decision = "insufficient"
    elif candidates and limit is not None and candidates[0].score >= limit:
        decision = "found"
    return IdentifiedFace((left, upper, right, lower), face.quality, candidates, decision, face.face)
