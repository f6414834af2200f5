"""Evaluate a gallery: compare probe photos of known people with its templates."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from facekd.errors import UsageError
from facekd.gallery import Contract, GalleryRecords, Place, clean_name
from facekd.runtime import Embedder, fuse, load_embedder
from facekd.verification import judge_gallery
from facekd.verification.results import GalleryEvaluation, Probes
from facekd.workflows.photo_acquisition import Advance, Embeddings, PhotoSet, embed_photos
from facekd.workflows.photo_copies import content_digest, copies_to_leave_out
from facekd.workflows.photos_given import people_in
from facekd.workflows.thresholds import choose_threshold


def evaluate_gallery(
    model: Path,
    gallery: Place,
    data: Path,
    *,
    detector: str | None = "mtcnn",
    device: str = "cpu",
    advance: Advance = lambda done: None,
) -> GalleryEvaluation:
    """Compare the photos in ``data``, a folder or zip with a folder per person, with everybody enrolled
    in ``gallery``; a folder named after nobody there holds photos of somebody who is not enrolled.

    A person's templates are fused as in `verify_claim`. The operating threshold is the strictest in the
    model's card. If there is none, or the gallery belongs to another space that the card lists as
    compatible, it is that of the lowest FMR for which there are enough comparisons. With ``detector`` `None`
    the images are finished 112-pixel ArcFace crops.

    Raises `Misfit` if the gallery belongs to another space, `InputOutput` for a file that cannot be used,
    `UsageError` if nobody is enrolled, or no probe of an enrolled person gave an embedding.
    """
    embedder = load_embedder(model, device, 1)
    photos = PhotoSet(data, detector, device)
    contract = _contract(embedder, photos)
    compatible = embedder.card.compatible_with
    with GalleryRecords(gallery, contract, compatible=compatible, read_only=True) as records:
        notes = tuple(_differences(gallery, records.contract, contract))
        shared = records.contract.space == contract.space
        enrolled, templates = _templates(records)
        probes = find_probes(data, records)
    started = time.perf_counter()
    advance(len(probes.left_out))
    embedded = embed_photos(photos, probes.photos, [model], advance=advance)
    seconds = time.perf_counter() - started
    threshold, origin = _operating(embedder) if shared else (None, "")
    result = judge_gallery(
        templates, enrolled, embedded.embeddings[0], probes.people, probes.photos, threshold, origin
    )
    return GalleryEvaluation(
        gallery=gallery,
        data=data,
        model=embedder.name,
        space=embedder.space,
        has_card=embedder.has_card,
        detector=contract.detector,
        aligner=contract.aligner,
        probes=probes,
        failures=embedded.failures,
        seconds=seconds,
        notes=notes,
        result=result,
    )


def _contract(embedder: Embedder, photos: PhotoSet) -> Contract:
    return Contract(
        space=embedder.space,
        dim=embedder.card.embedding.dim,
        model=embedder.name,
        detector=photos.detector_name(),
        aligner=photos.aligner,
    )


def _differences(gallery: Place, made: Contract, now: Contract) -> Iterator[str]:
    """Differences in the preparation of the gallery's photos and of the probes."""
    for what, then, here in (
        ("detector", made.detector, now.detector),
        ("aligner", made.aligner, now.aligner),
    ):
        if then != here:
            yield f"{gallery.name} was made with {what} {then}, this is {here}"
    if made.space != now.space:
        yield f"{gallery.name} was made with {made.model}: the thresholds of {now.model} do not apply"


def _templates(records: GalleryRecords) -> tuple[list[str], Embeddings]:
    """The people enrolled, and their templates [G, D]."""
    names = [person.name for person in records.people()]
    if not names:
        raise UsageError(f"{records.path}: nobody is enrolled", "'facekd enroll' adds people.")
    return names, np.stack([fuse([t.embedding for t in records.templates(name)]) for name in names])


def find_probes(data: Path, records: GalleryRecords) -> Probes:
    """The photos in ``data``, and the person in each, by the name of their folder.

    Photos that are enrolled themselves would be compared with themselves, and copies would count twice:
    both are left out. Raises what `people_in` raises.
    """
    people = people_in(data)
    owners = {photo.name: person for person, photos in people.items() for photo in photos}
    digests = {photo.name: content_digest(photo.read) for photos in people.values() for photo in photos}
    holders = {digest: records.holders(digest) for digest in set(digests.values()) if digest}
    left_out = {
        name: f"enrolled itself, of {holders[digest][0]}"
        for name, digest in digests.items()
        if holders.get(digest)
    }
    others = {name: digest for name, digest in digests.items() if name not in left_out}
    left_out |= copies_to_leave_out(owners, others)
    kept = [name for name in owners if name not in left_out]
    if not kept:
        raise UsageError(
            f"{data}: none of its {len(owners)} photos can be a probe", f"{next(iter(left_out.values()))}."
        )
    return Probes(tuple(kept), tuple(_person(owners[name]) for name in kept), tuple(left_out.items()))


def _person(folder: str) -> str:
    """The name as the gallery writes it; a folder whose name is invalid is not an enrolled person's."""
    try:
        return clean_name(folder)
    except UsageError:
        return folder


def _operating(embedder: Embedder) -> tuple[float | None, str]:
    """The threshold that `verify` would use, and its origin."""
    try:
        chosen = choose_threshold(embedder.card)
    except UsageError:
        return None, ""
    return chosen.value, f"of the card at FMR {chosen.fmr:g} on {chosen.data}"
