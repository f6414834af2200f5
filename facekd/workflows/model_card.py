"""Write a model's card, after checking on faces that the model can be used as it states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import onnx

from facekd.card import (
    BoxCrop,
    Card,
    CropSpec,
    InputSpec,
    LandmarkCrop,
    arcface_crop,
    card_of,
    change_card,
    first_card,
    load_onnx,
    renewed_card,
    stored_card,
    write_card,
)
from facekd.errors import ImplausibleReading, Misfit, Unreadable, UsageError
from facekd.geometry import Pixels
from facekd.preprocess import Face, cut
from facekd.runtime import embedder_under
from facekd.samples import draw, landmarks, person, person_seed
from facekd.verification import (
    MOST_PHOTOS,
    Separation,
    Shortfall,
    all_pairs,
    check_enough,
    sampled,
    separation_of,
    shortfall,
)
from facekd.verification.results import ComparedReadings, Reading
from facekd.weights import refuse_to_change
from facekd.workflows.calibrate import find_people
from facekd.workflows.photo_acquisition import Advance, PhotoSet, crop_photos

#: with the right input, four models gave synthetic people a median cosine of 0.46 to 0.55; with a wrong
#: scale, 0.94 or more
MOST_ALIKE = 0.8
_DRAWN, _SIDE = 16, 160
#: where the readings' FNMR is shown
READING_FMR = 1e-2
#: how often the right reading may be called worse than another
_LEVEL = 0.05
#: mean and std in use: pixels to [-1, 1], to [0, 1], as they are
_SCALES = ((127.5, 127.5), (0.0, 255.0), (0.0, 1.0))
#: reference landmarks of Open Model Zoo's face-reidentification-retail-0095, in fractions of the crop
_OPEN_MODEL_ZOO = (
    (0.31556875, 0.4615741071428571),
    (0.6826229166666667, 0.4615741071428571),
    (0.5002624999999999, 0.6405053571428571),
    (0.34947187500000004, 0.8246919642857142),
    (0.6534364583333333, 0.8232508928571428),
)


@dataclass(frozen=True)
class WrittenCard:
    """The ``card`` now in ``file``. ``before`` is the space that the file had, `None` if this is its first
    card; ``alike`` the median cosine of synthetic people, `None` if the space did not change and no check
    was needed."""

    file: Path
    card: Card
    before: str | None
    alike: float | None
    compared: ComparedReadings | None


def write_model_card(
    file: Path,
    settings: Sequence[str] = (),
    *,
    convention: bool = False,
    renew: bool = False,
    out: Path | None = None,
    check_on: Path | None = None,
    detector: str = "mtcnn",
    advance: Advance = lambda done: None,
) -> WrittenCard:
    """Write a card into ``file``, or into a copy ``out``: the file's own with ``settings``; a first card
    (``convention`` states what the settings omit); or, with ``renew``, the one that belonged to another
    network.

    If the space is new, the model is tried on synthetic faces as the card states. For ``check_on`` see
    `compare_readings`, which compares the new card. Raises `UsageError` for invalid settings,
    `ImplausibleReading` if the model finds everybody alike, and what `load_onnx` and `card_of` raise; nothing
    is written then.
    """
    refuse_to_change(out or file)
    model = load_onnx(file)
    stored = stored_card(model, file.stem)
    if renew:
        card = _renewed(model, file, stored, settings)
    elif stored is None:
        card = first_card(model, file.stem, settings, convention)
    elif convention:
        raise UsageError(f"{file} has a card", "Change it with --set KEY=VALUE.")
    else:
        card = change_card(card_of(model, file.stem)[0], settings)
    before = None if stored is None else stored.space
    kept = before is not None and card.with_digest(card.digest).space == before
    alike = None if kept else check_reading(file, card)
    compared = compare_readings(file, card, check_on, detector, advance) if check_on else None
    return WrittenCard(out or file, write_card(model, card, out or file), before, alike, compared)


def _renewed(model: onnx.ModelProto, file: Path, stored: Card | None, settings: Sequence[str]) -> Card:
    if stored is None:
        raise UsageError(f"{file} has no card to renew", "Write a first one: facekd card FILE --set ...")
    try:
        card_of(model, file.stem)
    except (Misfit, Unreadable):
        return renewed_card(model, file.stem, stored, settings)
    raise UsageError(
        f"{file}: its card matches its network, so there is nothing to renew", "Change it with --set."
    )


def check_reading(file: Path, card: Card) -> float:
    """The median cosine between synthetic people when the model in ``file`` is used as ``card`` states.

    It reveals a wrong scale and a constant output, but not a wrong colour order or template, with which
    synthetic people remain different. Raises `ImplausibleReading` above `MOST_ALIKE`, or if there are no
    embeddings; `Misfit` if the model cannot take this input.
    """
    shown = Reading(card.input, card.crop, f"{card.crop.kind} crop").words
    fix = (
        "Check input.mean and input.std: networks expect pixels as they are, or in [0, 1], or in [-1, 1]. "
        f"To compare them on photos of people: facekd card {file} --check-on PEOPLE"
    )
    try:
        rows = embedder_under(card, file).embed(_drawn_crops(card.crop))
    except Unreadable as error:
        raise ImplausibleReading(f"{file}, read as stated ({shown}): {error.cause}", fix) from error
    alike = float(np.median((rows @ rows.T)[np.triu_indices(_DRAWN, 1)]))
    if alike > MOST_ALIKE:
        raise ImplausibleReading(
            f"{file}, read as stated ({shown}), finds different people alike: the median cosine of "
            f"{_DRAWN} synthetic people is {alike:.2f}; a recogniser stays below {MOST_ALIKE:g}",
            fix,
        )
    return alike


def _drawn_crops(spec: CropSpec) -> Pixels:
    """A crop uint8 RGB [N, S, S, 3] of each of a few synthetic people."""
    return np.stack([
        cut(pixels, Face(_box_around(points), 1.0, points), spec) for pixels, points in _drawn()
    ])  # fmt: skip


@cache
def _drawn() -> list[tuple[Pixels, np.ndarray]]:
    """Photos of the synthetic people, with the landmarks [5, 2] of each."""
    people = [person(person_seed(0, number)) for number in range(_DRAWN)]
    return [(draw(who, 0, _SIDE), landmarks(who, 0, _SIDE)) for who in people]


def _box_around(points: np.ndarray) -> np.ndarray:
    """Approximately the box [4] that a detector gives to a face with landmarks ``points`` [5, 2]: 2.4 eye
    distances wide, from the forehead to the chin."""
    eyes = float(np.linalg.norm(points[1] - points[0]))
    (x, y), wide, tall = points.mean(0), 1.2 * eyes, 1.5 * eyes
    return np.array([x - wide, y - tall, x + wide, y + tall], np.float32)


def compare_readings(
    file: Path,
    card: Card,
    data: Path,
    detector: str = "mtcnn",
    advance: Advance = lambda done: None,
) -> ComparedReadings:
    """Judge the plausible readings of the model in ``file``: both colour orders, the usual scales, the usual
    templates, and what ``card`` states.

    The best is the one with the largest `separation_of`. All are judged on the same photos, and a
    reading is worse than the best if its `shortfall` has a p-value below 0.05 after Bonferroni's correction
    for the number of other readings, any of which may seem the best by chance: the right reading is called
    worse in at most one of twenty cases. This takes for granted that a model separates people most widely
    if fed as it was trained. The FNMR at `READING_FMR` is shown beside it; on so few photos it often differs
    by single comparisons.

    ``data`` is a folder or pack of photos, with a folder per person; at most 500 photos are used, of people
    with several. ``advance`` is called for each reading that is done. Raises `UsageError` if there is too
    little data.
    """
    labels, faces, failed = _looked_at(data, detector, dict(_crops(card)))
    judged = []
    for reading in plausible_readings(card):
        judged.append(_judge(file, card, reading, faces[reading.template], labels))
        advance(1)
    ranked = _ranked(judged)
    place = next(
        n for n, one in enumerate(ranked) if (one.reading.input, one.reading.crop) == (card.input, card.crop)
    )
    counts = Counter(labels).values()
    mated = sum(count * (count - 1) for count in counts) // 2
    return ComparedReadings(
        data=data.resolve().name,
        fmr=READING_FMR,
        people=len(counts),
        photos=len(labels),
        failed=failed,
        mated=mated,
        non_mated=len(labels) * (len(labels) - 1) // 2 - mated,
        readings=tuple(one.reading for one in ranked),
        stated=ranked[place].reading,
        people_needed=_people_needed(ranked, place),
        most_photos=MOST_PHOTOS,
    )


def _looked_at(
    data: Path, detector: str, crops: dict[str, CropSpec]
) -> tuple[list[str], dict[str, Pixels], int]:
    """The people whose photos gave a face [N], their crops [N, S, S, 3] by the name of the crop, and the
    number of photos without a face."""
    people = find_people(data)
    several = {label for label, count in Counter(people.labels).items() if count > 1}
    places = sampled([label if label in several else None for label in people.labels])
    names = [people.photos[place] for place in places]
    found = crop_photos(PhotoSet(data, detector), names, list(crops.values()))
    there = [
        (people.labels[place], photo.crops) for place, photo in zip(places, found, strict=True) if photo.crops
    ]
    labels = [label for label, _ in there]
    same = sum(count**2 for count in Counter(labels).values())
    if same == len(labels):
        raise UsageError(f"{data}: no two usable photos of one person", "Give several photos per person.")
    check_enough((len(labels) ** 2 - same) // 2, READING_FMR)
    cut_by = {name: np.stack([cut[spec] for _, cut in there]) for name, spec in crops.items()}
    return labels, cut_by, len(places) - len(labels)


def plausible_readings(card: Card) -> tuple[Reading, ...]:
    """The readings that `compare_readings` judges."""
    return tuple(_readings(card, dict(_crops(card))))


def count_readings(card: Card) -> int:
    """How many readings `compare_readings` judges."""
    return len(plausible_readings(card))


def _crops(card: Card) -> Iterator[tuple[str, CropSpec]]:
    """The plausible crops with their names, the card's first; duplicates are left out."""
    size, seen = card.input.size, [card.crop]
    yield ("its box crop" if isinstance(card.crop, BoxCrop) else "its template"), card.crop
    zoo = tuple((round(x * size, 4), round(y * size, 4)) for x, y in _OPEN_MODEL_ZOO)
    for name, crop in (
        ("ArcFace's template", arcface_crop(size)),
        ("Open Model Zoo's template", LandmarkCrop(size=size, template=zoo)),  # type: ignore[arg-type]
    ):
        if not any(_same_crop(crop, other) for other in seen):
            yield name, crop


def _same_crop(one: LandmarkCrop, other: CropSpec) -> bool:
    """Whether templates agree to a fifth of a pixel."""
    return isinstance(other, LandmarkCrop) and bool(
        np.allclose(np.array(one.template), np.array(other.template), atol=0.2)
    )


def _readings(card: Card, crops: dict[str, CropSpec]) -> Iterator[Reading]:
    scales = dict.fromkeys(((card.input.mean, card.input.std), *_SCALES))
    for (template, crop), (mean, std), colour in product(crops.items(), scales, ("rgb", "bgr")):
        fed = InputSpec.model_validate({"size": card.input.size, "colour": colour, "mean": mean, "std": std})
        yield Reading(fed, crop, template)


@dataclass(frozen=True)
class _Judged:
    """A ``reading``, with ``separation`` if the model gives embeddings under it, and its ``shortfall``
    against the best."""

    reading: Reading
    separation: Separation | None
    shortfall: Shortfall | None = None


def _judge(file: Path, card: Card, reading: Reading, crops: Pixels, labels: Sequence[str]) -> _Judged:
    """``reading`` with its rates on ``crops``."""
    fed = card.model_copy(update={"input": reading.input, "crop": reading.crop})
    try:
        rows = embedder_under(fed, file).embed(crops)
    except Unreadable:
        return _Judged(reading, None)
    point = all_pairs(rows, labels).operating_point(READING_FMR)
    low, high = (point.fnmr_interval.low, point.fnmr_interval.high) if point.fnmr_interval else (None, None)
    apart = separation_of(rows, labels)
    return _Judged(replace(reading, fnmr=point.fnmr, low=low, high=high, separation=apart.value), apart)


def _ranked(judged: Sequence[_Judged]) -> list[_Judged]:
    """The readings by their separation, each held against the largest; last those without embeddings."""
    usable = sorted(
        ((one.separation, one.reading) for one in judged if one.separation), key=lambda one: -one[0].value
    )
    tests = max(1, len(usable) - 1)
    ranked = []
    for place, (apart, reading) in enumerate(usable):
        lacks = shortfall(usable[0][0], apart)
        p_value = lacks.p_value(tests) if place else 1.0
        ranked.append(_Judged(replace(reading, p_value=p_value, as_good=p_value >= _LEVEL), apart, lacks))
    return [*ranked, *(one for one in judged if one.separation is None)]


def _people_needed(ranked: Sequence[_Judged], stated: int) -> int | None:
    """As `ComparedReadings.people_needed`, where the reading at the place ``stated`` is in the card."""
    usable = sum(one.separation is not None for one in ranked)
    tied = [one for one in ranked[1:] if one.reading.as_good and (stated == 0 or one is ranked[stated])]
    needed = [one.shortfall.people_needed(usable - 1, _LEVEL) for one in tied if one.shortfall]
    return max((count for count in needed if count is not None), default=None)
