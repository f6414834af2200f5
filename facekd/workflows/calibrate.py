"""Calibrate a model: measure thresholds, a score map and photo limits on people, and write them into its
card."""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from facekd.card import (
    ARCFACE_CROP,
    Calibration,
    Card,
    card_of,
    load_onnx,
    read_card,
    write_card,
)
from facekd.errors import InputOutput, Misfit, UsageError
from facekd.geometry import Pixels
from facekd.preprocess import NAMING, AcquiredPhoto, identities_in, open_source
from facekd.runtime import load_embedder
from facekd.verification import (
    CALIBRATED_FMRS,
    HIGHEST_FMR,
    AllPairs,
    Conditions,
    FittedMap,
    all_pairs,
    calibration_at,
    check_enough,
    find_limits,
    fit_map,
    sampled,
    upper_tail,
)
from facekd.verification.results import Calibrated, People, Refused
from facekd.weights import refuse_to_change
from facekd.workflows.photo_acquisition import (
    UNSTATED,
    Advance,
    CropOrigin,
    Embeddings,
    PhotoSet,
    crop_photos,
    embed_photos,
)
from facekd.workflows.photo_copies import content_digest, copies_to_leave_out
from facekd.workflows.training_data import is_training_pack, named_in_training


def calibrate_model(
    model: Path,
    data: Path,
    fmrs: Sequence[float] = CALIBRATED_FMRS,
    *,
    detector: str | None = "mtcnn",
    device: str = "cpu",
    origin: CropOrigin = UNSTATED,
    root: str | None = None,
    out: Path | None = None,
    advance: Advance = lambda done: None,
) -> Calibrated:
    """Measure thresholds at ``fmrs``, a score map and photo limits on the people in ``data``, a folder or
    pack with a folder per person, and write them into the card of ``model``, replacing earlier ones. With
    ``out``, a copy of the model gets the new card, and ``model`` is left unchanged.

    With ``detector`` `None` the images are finished 112-pixel ArcFace crops, of the ``origin`` that the card
    is to state. A rate for which there is too little data is `Refused`, and the others are written. The
    network, and so its digest and space, does not change.

    Raises `NoCard` if the model does not state its input; `UsageError` if the arguments or the data are
    unsuitable, or no rate can be measured; `InputOutput` or `Misfit` for a file that cannot be used. Nothing
    is written then.
    """
    check_request(model, fmrs, out)
    card, _ = read_card(model, need_card=True)
    refuse_trained_on(card, data)
    photos = PhotoSet(data, detector, device, origin)
    shown = photos.detector_name()
    told: list[str] = []
    people = find_people(data, root, told.append)
    # failed photos only remove comparisons: what is too little here would be too little hours later
    check_enough(people.non_mated, max(fmrs))
    tried = [people.photos[place] for place in sampled(people.labels)]
    advance(len(people.left_out))
    embedded = embed_photos(photos, people.photos, [model], keep=tried, advance=advance)
    rows = embedded.embeddings[0]
    pairs = all_pairs(rows, people.labels)
    conditions = Conditions(
        data=data.resolve().name,
        detector=shown,
        aligner=photos.aligner,
        sample=people.sample,
        date=datetime.date.today().isoformat(),
    )
    entries, refused = _thresholds(pairs, fmrs, conditions)
    fitted, no_map = _fitted(rows, people)
    crops, labels = _crops_to_try(photos, people, embedded.photos)
    embedder = load_embedder(model, device, 1)
    limits = find_limits(embedder.embed, embedder.spec, crops, labels, entries)
    written = write_measured(
        model,
        out or model,
        card,
        {
            "calibration": entries,
            "upper_tail": upper_tail(pairs),
            "score_map": fitted.for_card(conditions) if fitted else None,
            "photo_limits": None if isinstance(limits, str) else limits.for_card(conditions),
        },
    )
    return Calibrated(
        file=out or model,
        card=written,
        people=people,
        failures=embedded.failures,
        refused=refused,
        fitted=fitted,
        no_map=no_map,
        no_limits=limits if isinstance(limits, str) else None,
        replaced=card.calibration if out is None else (),
        notes=(*told, *training_notes(card, data, people.left_out)),
    )


def check_request(model: Path, fmrs: Collection[float], out: Path | None) -> None:
    """Raise an error for invalid arguments, before hours are spent on the photos."""
    if model.suffix == ".toml":
        raise UsageError(
            f"{model}: an ensemble has no card to write into", "Calibrate an ONNX model, or use --threshold."
        )
    if out is not None and out.suffix != ".onnx":
        raise UsageError(f"{out}: the name of a model must end in .onnx")
    wrong = [fmr for fmr in fmrs if not 0 < fmr <= HIGHEST_FMR]
    if wrong or not fmrs:
        told = f"{wrong[0]:g}" if wrong else "none"
        raise UsageError(f"a calibrated FMR must be above 0 and at most {HIGHEST_FMR:g}, not {told}")
    refuse_to_change(out or model)


def refuse_trained_on(card: Card, data: Path) -> None:
    """Raise `UsageError` if the model of ``card`` was trained on ``data``."""
    if is_training_pack(card, data):
        raise UsageError(
            f"{data}: {card.name} was trained on it, so thresholds measured there would have a higher "
            "false match rate than they state",
            "Give photos of people that it was not trained on.",
        )


def find_people(
    data: Path, root: str | None = None, tell: Callable[[str], object] = lambda note: None
) -> People:
    """The photos in ``data`` by person; see `identities_in` for ``root``. ``tell`` receives notes about the
    folders.

    A file that occurs twice in a person's photos is compared once, since it would match itself; one that
    occurs in the folders of two people is left out. Raises `UsageError` if an image is not in a person's
    folder, or if there are not two people, one of them with two photos; `InputOutput` if there are no images.
    """
    source = open_source(data)
    names = source.names()
    if not names:
        raise InputOutput(f"{data}: contains no images")
    found = identities_in(source, root)
    if found.nobodys:
        raise UsageError(f"{data}: {found.nobodys[0]} is not in a person's folder", NAMING)
    owners = {name: person for name, person in found.of.items() if person is not None}
    names = list(owners)
    contents = {name: content_digest(partial(source.read, name)) for name in names}
    listing = "".join(f"{name}\n{contents[name]}\n" for name in names)
    left_out = copies_to_leave_out(owners, contents)
    kept = [name for name in names if name not in left_out]
    people = People(
        tuple(kept),
        tuple(owners[name] for name in kept),
        tuple(left_out.items()),
        hashlib.sha256(listing.encode()).hexdigest(),
    )
    _check_people(data, people)
    if found.note:
        tell(found.note)
    return people


def _check_people(data: Path, people: People) -> None:
    photos = Counter(people.labels)
    if len(photos) < 2:
        raise UsageError(
            f"{data}: there is only {len(photos)} person, and calibration compares many people",
            "Give a folder with one folder per person.",
        )
    if max(photos.values()) < 2:
        raise UsageError(
            f"{data}: each of the {len(photos)} people has only one photo, so there are no mated comparisons",
            "Give two or more photos per person.",
        )


def _thresholds(
    pairs: AllPairs, fmrs: Sequence[float], conditions: Conditions
) -> tuple[tuple[Calibration, ...], tuple[Refused, ...]]:
    """Raises the `UsageError` of the highest rate if none can be measured."""
    entries, refused = [], []
    first: UsageError | None = None
    for fmr in sorted(set(fmrs), reverse=True):
        try:
            entries.append(calibration_at(pairs, fmr, conditions))
        except UsageError as error:
            first = first or error
            refused.append(Refused(fmr, error.cause, error.fix or ""))
    if not entries and first is not None:
        raise first
    return tuple(entries), tuple(refused)


def _fitted(rows: Embeddings, people: People) -> tuple[FittedMap | None, str | None]:
    """The score map, or the reason why there is none."""
    try:
        return fit_map(rows, np.array(people.labels)), None
    except UsageError as error:
        return None, error.cause


def _crops_to_try(
    photos: PhotoSet, people: People, acquired: Sequence[AcquiredPhoto]
) -> tuple[list[Pixels], list[str]]:
    """The ArcFace crops on which limits are searched for, and the person in each.

    If every photo gave a crop, the sample was kept while acquiring. If one failed, the sample is another
    one, whose photos are read again.
    """
    usable = [None if photo.reason else label for photo, label in zip(acquired, people.labels, strict=True)]
    places = sampled(usable)
    more = [people.photos[place] for place in places if not acquired[place].crops]
    read = {photo.name: photo for photo in crop_photos(photos, more, [ARCFACE_CROP])}
    tried = [(read.get(people.photos[place], acquired[place]), people.labels[place]) for place in places]
    there = [(photo.crops[ARCFACE_CROP], label) for photo, label in tried if photo.crops]
    return [crop for crop, _ in there], [label for _, label in there]


def write_measured(path: Path, out: Path, card: Card, measured: dict[str, Any]) -> Card:
    """Write ``card`` with what was ``measured`` of the model in ``path`` into ``out``. Raises `Misfit` if the
    network there is no longer the card's."""
    # read again: measuring takes long enough for the file to be replaced
    model = load_onnx(path)
    if card_of(model, path.stem)[0].space != card.space:
        raise Misfit(f"{path} was changed during calibration", "Calibrate it again.")
    return write_card(model, card.model_copy(update=measured), out)


def training_notes(card: Card, data: Path, left_out: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Notes to print beside the answer."""
    notes = []
    if named_in_training(card, data):
        notes.append(
            f"{card.name} was trained on '{card.provenance.data}': on people from its training data its "
            "accuracy is overestimated, and thresholds have a higher false match rate than they state"
        )
    if left_out:
        name, why = left_out[0]
        notes.append(f"{len(left_out)} photos left out, the first of them {name}: {why}")
    return tuple(notes)
