"""Measure thresholds within groups of similar people, and write them into a model's card."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from facekd.card import Sample, SimilarPeople, read_card
from facekd.errors import UsageError
from facekd.preprocess import NAMING, Identities, identities_in, open_source
from facekd.verification import SIMILAR_FMRS, read_groups, similar_groups
from facekd.verification.results import SimilarCalibrated
from facekd.workflows.calibrate import check_request, refuse_trained_on, training_notes, write_measured
from facekd.workflows.photo_acquisition import UNSTATED, Advance, CropOrigin, PhotoSet, embed_photos
from facekd.workflows.photo_copies import content_digest, copies_to_leave_out


@dataclass(frozen=True)
class GroupedPeople:
    """One photo of each person: ``photos`` [N] of the ``people`` [N] in the ``groups`` [N]. ``left_out`` are
    the other photos, each with the reason."""

    photos: tuple[str, ...]
    people: tuple[str, ...]
    groups: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    digest: str
    note: str | None = None


def calibrate_similar(
    model: Path,
    data: Path,
    groups: Path,
    fmrs: Collection[float] = SIMILAR_FMRS,
    *,
    detector: str | None = "mtcnn",
    device: str = "cpu",
    origin: CropOrigin = UNSTATED,
    root: str | None = None,
    out: Path | None = None,
    advance: Advance = lambda done: None,
) -> SimilarCalibrated:
    """Measure false match rates within groups of similar people, and the thresholds at which the worst group
    has ``fmrs``, and write them into the card of ``model``; its calibration is left as it is.

    ``data`` is a folder or pack with a folder per person, of whom the first photo is used; ``groups`` a CSV
    file with the group of each photo. ``out``, ``detector`` and ``origin`` are as in `calibrate_model`.

    Raises `NoCard` if the model does not state its input; `UsageError` if the arguments or the data are
    unsuitable, a photo in ``groups`` is not in the data, or no rate can be measured; `InputOutput`,
    `Unreadable` or `Misfit` for a file that cannot be used. Nothing is written then.
    """
    check_request(model, fmrs, out)
    card, _ = read_card(model, need_card=True)
    refuse_trained_on(card, data)
    photos = PhotoSet(data, detector, device, origin)
    shown = photos.detector_name()
    chosen = grouped_people(data, groups, root)
    advance(len(chosen.left_out))
    embedded = embed_photos(photos, chosen.photos, [model], advance=advance)
    rows = embedded.embeddings[0]
    there = np.isfinite(rows).all(axis=1)
    compared = similar_groups(
        rows[there], np.array(chosen.people)[there].tolist(), np.array(chosen.groups)[there].tolist()
    )
    similar = SimilarPeople(
        thresholds=compared.thresholds(fmrs, [*card.calibration, *card.upper_tail]),
        groups=compared.measured(card.calibration),
        data=data.resolve().name.removesuffix(".zip"),
        sample=Sample(people=len(chosen.people), photos=len(chosen.photos), digest=chosen.digest),
        detector=shown,
        aligner=photos.aligner,
        date=datetime.date.today().isoformat(),
    )
    return SimilarCalibrated(
        file=out or model,
        card=write_measured(model, out or model, card, {"similar": similar}),
        similar=similar,
        failures=embedded.failures,
        left_out=chosen.left_out,
        replaced=card.similar if out is None else None,
        notes=(*([chosen.note] if chosen.note else []), *training_notes(card, data, chosen.left_out)),
    )


def grouped_people(data: Path, groups: Path, root: str | None = None) -> GroupedPeople:
    """The first photo of each person in ``data`` that has a group in the CSV file ``groups``.

    A file in the folders of two people is left out. Raises `UsageError` for a photo in ``groups`` that is
    not in the data, or not in a person's folder; as `read_groups` and `open_source` otherwise.
    """
    source, group_of = open_source(data), read_groups(groups)
    found = identities_in(source, root)
    _check_photos(data, groups, list(group_of), found)
    first: dict[str, str] = {}
    left_out = {}
    for photo, person in found.of.items():
        if photo not in group_of:
            left_out[photo] = "no group"
        elif person is not None and first.setdefault(person, photo) != photo:
            left_out[photo] = f"one photo of a person is used, {first[person]}"
    owners = {photo: person for person, photo in first.items()}
    contents = {photo: content_digest(partial(source.read, photo)) for photo in owners}
    left_out |= copies_to_leave_out(owners, contents)
    kept = [photo for photo in owners if photo not in left_out]
    listing = "".join(f"{photo}\n{contents[photo]}\n" for photo in kept)
    return GroupedPeople(
        tuple(kept),
        tuple(owners[photo] for photo in kept),
        tuple(group_of[photo] for photo in kept),
        tuple(left_out.items()),
        hashlib.sha256(listing.encode()).hexdigest(),
        found.note,
    )


def _check_photos(data: Path, groups: Path, named: Sequence[str], found: Identities) -> None:
    """Raise `UsageError` unless the photos ``named`` in ``groups`` are in the folders of people."""
    if not named:
        raise UsageError(f"{groups}: names no photo")
    unknown = [photo for photo in named if photo not in found.of]
    if unknown:
        others = f", nor are {len(unknown) - 1:,} others" if len(unknown) > 1 else ""
        raise UsageError(
            f"{groups}: {unknown[0]} is not among the photos of {data}{others}",
            "Name each photo by its path in the data.",
        )
    nobodys = next((photo for photo in named if found.of[photo] is None), None)
    if nobodys is not None:
        raise UsageError(f"{data}: {nobodys} is not in a person's folder", NAMING)
