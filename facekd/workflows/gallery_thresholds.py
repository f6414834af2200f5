"""Thresholds that fit a gallery, from the scores between the people enrolled in it, which are kept beside it.

The file (``GALLERY-scores``, readable by its owner only) holds the upper tail of these scores and the numbers
of the two people of each; no embeddings or names. When the gallery has changed, the scores are computed again
if it is small enough for that to take about a second. For a larger one, the old scores are used until
`calibrate_gallery` is called, as long as the number of people is about the same.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from facekd.card import Calibration, Card, SimilarThreshold, TailThreshold
from facekd.errors import InputOutput, UsageError
from facekd.files import cache_folder, read_bounded, real_path, write_atomically
from facekd.gallery import GalleryRecords, Place
from facekd.preprocess import ALIGNER
from facekd.runtime import fuse
from facekd.verification import GalleryTail, fewest_people, tail_of_gallery
from facekd.verification.results import Population, SearchThreshold
from facekd.workflows.thresholds import Threshold

#: pairs of a gallery's people above the card's threshold that are enough to tell that it does not hold there:
#: where half a pair is expected, as of a hundred people at an FPIR of 1e-2, three come in 1.4 % of galleries
FEWEST_PAIRS = 3
#: people whose scores are computed without being asked: 9 million comparisons, about a second
AT_ONCE = 3_000
#: where the card's calibrated thresholds decide, the upper bound by the gallery's own scores may be this many
#: times the requested rate: at an FPIR of 1e-2 that takes 60 people
_MOST_DOUBT = 10
#: relative change in the number of people up to which kept scores are used
_CHANGED = 0.1
_MOST_BYTES = 200_000_000
_SCHEMA = "gallery-scores/1"
_Entry = Calibration | TailThreshold | SimilarThreshold


@dataclass(frozen=True)
class OwnScores:
    """The scores between the ``people`` of a gallery; ``note`` is a caveat about them."""

    tail: GalleryTail
    people: int
    note: str | None = None


def scores_file(gallery: Place) -> Path:
    """Where the scores of a gallery are kept: beside its file; for a gallery on a server, in the cache."""
    if not isinstance(gallery, Path):
        url = hashlib.sha256(str(gallery).encode()).hexdigest()
        return cache_folder() / "galleries" / f"{url}-scores"
    file = real_path(gallery)
    return file.with_name(file.name + "-scores")


def own_scores(records: GalleryRecords) -> OwnScores | None:
    """The scores between the people of a gallery, up to date or nearly so; `None` if there are fewer than two
    people, or so many that `calibrate_gallery` must be called."""
    people = records.count()
    if people < 2:
        return None
    state = records.state()
    kept = _read(records)
    if kept is not None and state is not None and kept.state == state:
        return OwnScores(kept.tail, people)
    if people <= AT_ONCE:
        return OwnScores(calibrate_gallery(records), people)
    if kept is None or abs(people - len(kept.tail.names)) > _CHANGED * people:
        return None
    note = (
        f"the thresholds were measured on {len(kept.tail.names):,} people, before the gallery last "
        "changed; 'facekd gallery calibrate' measures them again"
    )
    return OwnScores(kept.tail, people, note)


def calibrate_gallery(records: GalleryRecords) -> GalleryTail:
    """Compare all people of a gallery with each other, and keep the upper tail beside it if possible. Raises
    `UsageError` for fewer than two people, `Unreadable` for a damaged template."""
    state = records.state()
    everybody = records.everybody()
    if len(everybody.names) < 2:
        raise UsageError(
            f"{records.path}: there is nobody to compare with: {_counted(len(everybody.names))} enrolled"
        )
    fused = np.stack([fuse(list(own)) for own in everybody.of_each()])
    # a new person brings one photo: between two fused templates, scores would be further from zero
    single = bool((everybody.counts == 1).all())
    probes = None if single else everybody.embeddings[everybody.starts[:-1]]
    tail = tail_of_gallery(everybody.names, fused, probes)
    if state is not None and records.state() == state:
        with suppress(InputOutput):  # if the gallery's folder is read-only
            write_atomically(scores_file(records.path), _packed(tail, state, records), mode=0o600)
    return tail


def threshold_for_claims(own: OwnScores, fmr: float, detector: str) -> Threshold | None:
    """The gallery's own threshold at ``fmr``; `None` if it has too few people for that rate."""
    try:
        found = own.tail.threshold_at_fmr(fmr)
    except UsageError:
        return None
    if found.threshold is None:
        return None
    return Threshold(found.threshold, "gallery", fmr, _people(found.enrolled), detector, ALIGNER)


def search_threshold(
    card: Card, own: OwnScores | None, people: int, fpir: float, threshold: float | None = None
) -> SearchThreshold:
    """The ``threshold`` that was given, else the one that keeps ``fpir`` in a gallery of ``people``: by its
    own scores if they are enough, else by the card's, unless its own scores show that these do not hold here.

    Of a card that states thresholds for similar people, these are used: the people of a small gallery may be
    similar, and their own scores are too few to tell. Beyond their reach the calibrated ones are used, and
    the interval ends at what the gallery's own scores leave possible (`_confirmed`).

    A search gives a false positive if any of its N comparisons does. By the card, it therefore needs a false
    match rate of at most 1 - (1 - FPIR)^(1/N), assuming independent comparisons.
    """
    if threshold is not None:
        return SearchThreshold("option", people, threshold)
    if not 0 < fpir < 1:
        raise UsageError(f"a false positive identification rate must be between 0 and 1, not {fpir:g}")
    if people < 1:
        return SearchThreshold("none", people, shortfall="nobody is enrolled")
    by_gallery = _of_gallery(own, people, fpir)
    if by_gallery is not None:
        return by_gallery
    by_card = _of_card(card, people, fpir, _measured(card))
    doubt = None if own is None or by_card is None else _contradiction(own.tail, by_card)
    if by_card is None and card.similar is not None and own is not None:
        by_card, doubt = _confirmed(card, own.tail, people, fpir)
    return by_card if by_card and not doubt else _insufficient(card, people, fpir, doubt)


def _of_gallery(own: OwnScores | None, people: int, fpir: float) -> SearchThreshold | None:
    if own is None:
        return None
    try:
        found = own.tail.threshold_at_fpir(fpir)
    except UsageError:
        return None
    if found.threshold is None or found.interval is None:
        return None
    return SearchThreshold(
        "gallery",
        people,
        found.threshold,
        fpir,
        found.interval.low,
        found.interval.high,
        _people(found.enrolled),
    )


def _of_card(card: Card, people: int, fpir: float, entries: Sequence[_Entry]) -> SearchThreshold | None:
    """By the highest sufficient rate of ``entries``; never interpolated or extrapolated."""
    needed = float(-np.expm1(np.log1p(-fpir) / people)) * (1 + 1e-9)
    kept = max((e for e in entries if e.fmr <= needed), key=lambda e: e.fmr, default=None)
    if kept is None:
        return None
    low, high = (float(-np.expm1(people * np.log1p(-min(end, 1 - 1e-9)))) for end in (kept.low, kept.high))
    population = _population(card, kept)
    return SearchThreshold(
        "card", people, kept.threshold, fpir, low, high, str(population), population=population
    )


def _confirmed(
    card: Card, tail: GalleryTail, people: int, fpir: float
) -> tuple[SearchThreshold | None, str | None]:
    """By the thresholds measured on varied people, if the gallery's own scores show that its people are
    varied, too: the stated interval ends at the upper bound of the FPIR by these scores, if it is higher.

    No rule if that bound is more than `_MOST_DOUBT` times the requested rate; nor if the scores contradict
    the card, with the reason.
    """
    rule = _of_card(card, people, fpir, _calibrated(card))
    if rule is None or rule.value is None or rule.high is None:
        return None, None
    doubt = _contradiction(tail, rule)
    if doubt is not None:
        return None, doubt
    if rule.value <= tail.floor:  # too low a threshold for the kept scores to tell
        return None, None
    _, interval = tail.searches_at(rule.value)
    if interval.high > _MOST_DOUBT * fpir:
        return None, None
    told = f"{rule.data}, as far as {_people(tail.counted)} can tell"
    return replace(rule, high=max(rule.high, interval.high), data=told), None


def _population(card: Card, entry: _Entry) -> Population:
    if isinstance(entry, SimilarThreshold):
        assert card.similar is not None  # it is one of its thresholds
        return Population(entry.fmr, True, card.similar.data, entry.group, entry.people)
    strictest = card.at()
    if strictest is None:
        return Population(entry.fmr, False, "unknown data")
    people = strictest.sample.people if strictest.sample else None
    return Population(entry.fmr, False, strictest.data, people=people)


def _contradiction(tail: GalleryTail, rule: SearchThreshold) -> str | None:
    """What the scores between the gallery's people say against the card's threshold in ``rule``: that more of
    them find each other at it than newcomers may find anybody. `None` if they are in keeping with it."""
    assert rule.value is not None  # as in every rule by a card
    assert rule.fpir is not None
    # if the kept scores end above it, at least these reach it
    pairs, interval = tail.searches_at(max(rule.value, float(np.nextafter(tail.floor, 2))))
    if pairs < FEWEST_PAIRS or interval.low <= rule.fpir:
        return None
    assert rule.population is not None
    least = "at least " if rule.value <= tail.floor else ""
    return (
        f"the FMR {rule.population.fmr:g} of the card does not hold for these people: {least}{pairs:,} pairs "
        f"of them reach its threshold {rule.value:.4f}, so that the FPIR is {interval.low:.2g} to "
        f"{interval.high:.2g} ('facekd gallery dedupe' shows whether somebody is enrolled twice)"
    )


def _measured(card: Card) -> list[_Entry]:
    """The entries of the card by which a search of a gallery of any size may decide."""
    return list(card.similar.thresholds) if card.similar else _calibrated(card)


def _calibrated(card: Card) -> list[_Entry]:
    """The entries of the card that were measured on varied people."""
    return [*card.calibration, *card.upper_tail]


def _insufficient(card: Card, people: int, fpir: float, doubt: str | None = None) -> SearchThreshold:
    entries = _measured(card)
    told = [f"{fewest_people(fpir, None):,} people in the gallery would be enough for its own scores to tell"]
    if doubt:
        told.insert(0, doubt)
    elif entries:
        lowest = min(entry.fmr for entry in entries)
        reach = int(np.log1p(-fpir) / np.log1p(-lowest))
        among = " among similar people" if card.similar else ""
        told.append(f"the card of {card.name} reaches to FMR {lowest:g}{among}, enough for {reach:,} people")
        if card.similar and card.calibration:
            lowest = min(entry.fmr for entry in _calibrated(card))
            reach = int(np.log1p(-fpir) / np.log1p(-lowest))
            told.append(f"to FMR {lowest:g} for up to {reach:,} whose own scores show that they are varied")
    else:
        told.append(f"{card.name} is not calibrated")
    lax = _lowest_kept(card, people, doubt is None)
    if lax is not None and lax > fpir:
        told.append(f"with {people:,} people, --fpir {lax:g} is possible")
    return SearchThreshold(
        "none", people, fpir=fpir,
        shortfall=f"FPIR {fpir:g} with {people:,} people: insufficient data; {'; '.join(told)}",
    )  # fmt: skip


def _lowest_kept(card: Card, people: int, by_card: bool) -> float | None:
    """The lowest of a few round rates that a gallery of ``people`` can keep by its own scores, or by those of
    the ``card`` for similar people, if they may be used."""
    return next(
        (
            rate
            for rate in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
            if fewest_people(rate, None) <= people
            or (by_card and card.similar and _of_card(card, people, rate, _measured(card)) is not None)
        ),
        None,
    )


def _counted(people: int) -> str:
    return "1 person is" if people == 1 else f"{people} people are"


def _people(count: int) -> str:
    return f"the gallery's own {count:,} people"


@dataclass(frozen=True)
class _Kept:
    tail: GalleryTail
    state: str


def _packed(tail: GalleryTail, state: str, records: GalleryRecords) -> bytes:
    told = {
        "schema": _SCHEMA, "state": state, "space": records.contract.space, "people": len(tail.names),
        "floor": tail.floor if np.isfinite(tail.floor) else None,
    }  # fmt: skip
    content = io.BytesIO()
    np.savez(content, told=np.array(json.dumps(told)), scores=tail.scores, people=tail.people)
    return content.getvalue()


def _read(records: GalleryRecords) -> _Kept | None:
    """The kept scores of this gallery; `None` if there are none, or they are damaged or another gallery's."""
    file = scores_file(records.path)
    if not file.is_file():
        return None
    try:
        with np.load(io.BytesIO(read_bounded(file, _MOST_BYTES)), allow_pickle=False) as found:
            told = json.loads(str(found["told"]))
            if told["schema"] != _SCHEMA or told["space"] != records.contract.space:
                return None
            saved = {
                "people": [str(number) for number in range(int(told["people"]))], "floor": told["floor"],
                "scores": found["scores"], "compared": found["people"],
            }  # fmt: skip
            return _Kept(GalleryTail.from_dict(saved), str(told["state"]))
    except Exception:  # zipfile and numpy raise all kinds of errors for damaged files
        return None
