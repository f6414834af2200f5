"""Verify many pairs of photos with one model, processing each photo once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from facekd.csv_rows import CsvRows
from facekd.errors import CannotSay, InputOutput, Unreadable, UsageError
from facekd.preprocess import Source, open_source
from facekd.verification.results import ComparedPair, PairFailure, PairSetting
from facekd.workflows.listing import Listing
from facekd.workflows.photo_notes import notes_of
from facekd.workflows.photos_given import PhotoFile
from facekd.workflows.recognizer import Recognised, Recognizer, cosine
from facekd.workflows.thresholds import Threshold, evidence

#: photos whose embeddings are kept while a list is processed: 20 to 40 MB
KEPT_PHOTOS = 10_000
#: the formats of a list of pairs
_FORMS = (
    "A list of pairs begins with a,b (further columns are ignored), or has "
    '{"a": "...", "b": "..."} on each line.'
)

_Look = Callable[[PhotoFile], Recognised | PairFailure]


@dataclass(frozen=True)
class PhotoPair:
    """Two photos to compare, ``a`` and ``b``, named as in their list."""

    a: str
    b: str
    photos: tuple[PhotoFile, PhotoFile]


def pairs_listed(listing: Listing) -> list[PhotoPair]:
    """The pairs in the columns ``a`` and ``b`` of a CSV, or in JSON lines with these keys.

    Raises `Unreadable`, with the line, for an invalid list, `InputOutput` if it contains no pair.
    """
    folder = open_source(listing.folder)
    begins = listing.text.lstrip()[:1]
    found = _json_lines(listing) if begins == "{" else _csv_lines(listing)
    pairs = [PhotoPair(a, b, (_photo(folder, a), _photo(folder, b))) for a, b in found]
    if not pairs:
        raise InputOutput(f"{listing.name}: contains no pairs")
    return pairs


def every_pair(folder: Path, most: int) -> list[PhotoPair]:
    """Every pair of photos in a folder or pack, once.

    Raises `UsageError` for more than ``most`` pairs, `InputOutput` for fewer than two photos.
    """
    source = open_source(folder)
    names = source.names()
    count = len(names) * (len(names) - 1) // 2
    if not count:
        raise InputOutput(f"{folder}: contains {len(names)} photos, but at least two are needed")
    if count > most:
        raise UsageError(
            f"{folder}: {len(names):,} photos are {count:,} pairs, more than {most:,}",
            f"--max-pairs {count} compares them anyway.",
        )
    photos = [PhotoFile(source, name) for name in names]
    return [PhotoPair(a.name, b.name, (a, b)) for a, b in itertools.combinations(photos, 2)]


def compare_pairs(
    recognizer: Recognizer, pairs: Iterable[PhotoPair], kept: int | None = KEPT_PHOTOS
) -> Iterator[ComparedPair]:
    """Compare the photos of each pair, in order. A photo that cannot be used is the answer of its pairs and
    does not affect the others.

    The embeddings of the last ``kept`` photos (`None`: of all) are kept in memory, so that a photo in many
    pairs is processed once. If both photos of a pair fail, the more serious failure is reported.
    """
    embedder, threshold = recognizer.embedder, recognizer.threshold
    setting = PairSetting(
        threshold.value, threshold.fmr, embedder.name, embedder.space, recognizer.detector.name
    )
    general = tuple(recognizer.doubts())

    @lru_cache(kept)
    def look(photo: PhotoFile) -> Recognised | PairFailure:
        try:
            return recognizer.recognise(photo.read(), photo.shown)
        except (CannotSay, InputOutput) as error:
            # the error would keep the photo's pixels in memory, through its traceback
            return PairFailure(photo.shown, error.reason, error.cause, error.fix, error.exit_code)

    for pair in pairs:
        yield _compared(recognizer, pair, threshold, setting, general, look)


def _compared(
    recognizer: Recognizer,
    pair: PhotoPair,
    threshold: Threshold,
    setting: PairSetting,
    general: tuple[str, ...],
    look: _Look,
) -> ComparedPair:
    found = [look(photo) for photo in pair.photos]
    failed = [one for one in found if isinstance(one, PairFailure)]
    if failed:
        gravest = max(failed, key=lambda failure: failure.exit_code)
        return ComparedPair(pair.a, pair.b, setting, failure=gravest, notes=general)
    first, second = (one for one in found if isinstance(one, Recognised))
    score = cosine(first.embedding, second.embedding)
    said = evidence(recognizer.embedder.card, score)
    notes = dict.fromkeys(note for photo in (first, second) for note in notes_of(photo, threshold.fmr))
    return ComparedPair(
        pair.a,
        pair.b,
        setting,
        same=score >= threshold.value,
        score=score,
        probability=said.probability if said else None,
        log_likelihood_ratio=said.log_likelihood_ratio if said else None,
        notes=(*general, *notes),
    )


def _csv_lines(listing: Listing) -> Iterator[tuple[str, str]]:
    rows = CsvRows(listing.text, listing.name)
    if "a" not in rows.head or "b" not in rows.head:
        raise rows.wrong_head(_FORMS)
    places = rows.head.index("a"), rows.head.index("b")
    for line, fields in rows:
        # spreadsheets write an empty row as commas
        if not any(fields):
            continue
        if len(fields) != len(rows.head):
            raise rows.fault(line, f"expected {len(rows.head)} columns, found {len(fields)}")
        a, b = (fields[place] for place in places)
        if not a or not b:
            raise rows.fault(line, "expected two photos")
        yield a, b


def _json_lines(listing: Listing) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(listing.text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"{listing.name}, line {number}: not JSON ({error})") from error
        a, b = (entry.get(key) if isinstance(entry, dict) else None for key in ("a", "b"))
        if not (isinstance(a, str) and isinstance(b, str) and a and b):
            raise Unreadable(f"{listing.name}, line {number}: expected two photos", _FORMS)
        yield a, b


def _photo(folder: Source, path: str) -> PhotoFile:
    return PhotoFile(folder, path.replace("\\", "/"))
