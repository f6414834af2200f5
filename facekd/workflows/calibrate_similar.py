"""Measure thresholds within groups of similar people, and write them into a model's card."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from facekd.card import Sample, SimilarPeople, read_card
from facekd.errors import UsageError
from facekd.preprocess import NAMING, identities_in, open_source
from facekd.verification import SIMILAR_FMRS, read_groups, similar_groups
from facekd.verification.results import SimilarCalibrated
from facekd.workflows.calibrate import check_request, refuse_trained_on, training_notes, write_measured
from facekd.workflows.photo_acquisition import Advance, PhotoSet, embed_photos
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
    root: str | None = None,
    out: Path | None = None,
    advance: Advance = lambda done: None,
) -> SimilarCalibrated:
    """Measure false match rates within groups of similar people, and the thresholds at which the worst group
    has ``fmrs``, and write them into the card of ``model``; its calibration is left as it is.

    ``data`` is a folder or pack with a folder per person, of whom the first photo is used; ``groups`` a CSV
    file with the group of each photo. ``out`` and ``detector`` are as in `calibrate_model`.

    Raises `NoCard` if the model does not state its input; `UsageError` if the arguments or the data are
    unsuitable, a photo in ``groups`` is not in the data, or no rate can be measured; `InputOutput`,
    `Unreadable` or `Misfit` for a file that cannot be used. Nothing is written then.
    """
    check_request(model, fmrs, out)
    card, _ = read_card(model, need_card=True)
    refuse_trained_on(card, data)
    photos = PhotoSet(data, detector, device)
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
        thresholds=compared.thresholds(fmrs),
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
    unknown = [photo for photo in group_of if photo not in found.of]
    if unknown:
        raise UsageError(
            f"{groups}: {unknown[0]} is not among the photos of {data}"
            + (f", nor are {len(unknown) - 1:,} others" if len(unknown) > 1 else ""),
            "Name each photo by its path in the data.",
        )
    owners: dict[str, str] = {}
    for photo in group_of:
        person = found.of[photo]
        if person is None:
            raise UsageError(f"{data}: {photo} is not in a person's folder", NAMING)
        owners[photo] = person
    ordered = [name for name in found.of if name in group_of]
    contents = {name: content_digest(partial(source.read, name)) for name in ordered}
    left_out = dict(_other_photos(found.of, group_of, owners))
    left_out |= copies_to_leave_out(
        {name: owners[name] for name in ordered if name not in left_out},
        {name: contents[name] for name in ordered if name not in left_out},
    )
    kept = [name for name in ordered if name not in left_out]
    listing = "".join(f"{name}\n{contents[name]}\n" for name in kept)
    return GroupedPeople(
        tuple(kept),
        tuple(owners[name] for name in kept),
        tuple(group_of[name] for name in kept),
        tuple(left_out.items()),
        hashlib.sha256(listing.encode()).hexdigest(),
        found.note,
    )


def _other_photos(
    of: Mapping[str, str | None], group_of: Mapping[str, str], owners: Mapping[str, str]
) -> list[tuple[str, str]]:
    """The photos without a group, and all but the first of each person, with the reason."""
    others, first = [], {}
    for photo in of:
        if photo not in group_of:
            others.append((photo, "no group"))
        elif first.setdefault(owners[photo], photo) != photo:
            others.append((photo, f"one photo of a person is used, {first[owners[photo]]}"))
    return others
