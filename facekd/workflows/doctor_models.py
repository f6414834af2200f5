"""Checks of detectors, models and the gallery."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.errors import Exit, UsageError
from facekd.reporting import amount
from facekd.verification.results import Check, Status
from facekd.workflows.doctor_look import DoctorSettings, if_loaded, taken

if TYPE_CHECKING:
    from facekd.card import Card
    from facekd.gallery import GalleryRecords, Place, ServerAddress

_OWNERS = 0o600


def look_at_detectors(settings: DoctorSettings) -> Iterator[Check]:
    """The source of MTCNN's weights, whether the detector in use can be loaded, and which others exist."""
    in_use = settings.detector.partition(":")[0]
    if in_use == settings.detector == "mtcnn":
        yield from taken("detectors", "mtcnn", _look_at_mtcnn)
    else:
        yield from _look_at_spare_mtcnn()
    yield from taken("detectors", in_use, lambda: _load_detector(settings))
    yield from taken("detectors", "others", _look_at_other_detectors)


def _look_at_mtcnn() -> Iterator[Check]:
    from facekd.preprocess.detectors import mtcnn_weights

    origin = mtcnn_weights()
    yield Check("detectors", "mtcnn", Status.OK, f"weights of {origin}", values={"weights": origin})


def _look_at_spare_mtcnn() -> Iterator[Check]:
    """MTCNN if another detector is in use: nothing about it is a fault."""
    for check in taken("detectors", "mtcnn", _look_at_mtcnn):
        worse = check.status is Status.FAULT
        yield replace(check, status=Status.NOTE, exit_code=Exit.DONE) if worse else check


def _load_detector(settings: DoctorSettings) -> Iterator[Check]:
    from facekd.preprocess.detectors import make_detector, mtcnn_weights

    if settings.detector == "mtcnn" and if_loaded(mtcnn_weights) is None:
        return
    found = make_detector(settings.detector, settings.device, 1)
    yield Check(
        "detectors", settings.detector, Status.OK, f"in use; cards call it {found.name}",
        values={"detector": settings.detector, "name": found.name},
    )  # fmt: skip


def _look_at_other_detectors() -> Iterator[Check]:
    from facekd.preprocess.detectors import detector_help, detector_maker, detector_names

    for name in detector_names():
        try:
            detector_maker(name)
        except UsageError as error:
            yield Check("detectors", name, Status.NOTE, error.cause, error.fix)
    yield Check("detectors", "known", Status.OK, f"--detector accepts {detector_help()}")


def look_at_models(settings: DoctorSettings) -> Iterator[Check]:
    """The card of every model: whether it matches the network, what was measured, and with which detector."""
    for origin, path in settings.models:
        yield from taken("models", path.name, partial(_look_at_model, origin, path, settings))
    if not settings.models:
        yield Check(
            "models", "shipped", Status.NOTE, "this installation has no shipped model",
            "Name one with --model or FACEKD_MODEL.",
        )  # fmt: skip


def _look_at_model(origin: str, path: Path, settings: DoctorSettings) -> Iterator[Check]:
    from facekd.card import MODELS_COME_FROM
    from facekd.runtime import load_embedder

    if not path.exists():
        told = f"{path} does not exist ({origin})"
        yield Check("models", path.name, Status.FAULT, told, MODELS_COME_FROM, Exit.USAGE)
        return
    # reading refuses a card that does not match its network
    card = load_embedder(path, threads=1, need_card=True).card
    size = path.stat().st_size
    yield Check(
        "models", path.name, Status.OK,
        f"{origin}: {path}, {amount(size, 'B')}, embeddings of {card.embedding.dim}, "
        f"space {card.space[:12]}; card and network match",
        values={
            "path": str(path), "bytes": size, "name": card.name, "space": card.space, "digest": card.digest,
            "dim": card.embedding.dim, "licence": card.licence,
        },
    )  # fmt: skip
    yield _look_at_thresholds(path, card)
    yield from taken("models", path.name, lambda: _look_at_doubts(path, card, settings))


def _look_at_thresholds(path: Path, card: Card) -> Check:
    if not card.calibration:
        return Check(
            "models", path.name, Status.NOTE,
            "not calibrated: verify needs --threshold, and enroll does not compare new photos",
            f"Calibrate it: {_calibrate(path)}", values={"calibrated": False},
        )  # fmt: skip
    points = ", ".join(f"{entry.threshold:.4f} at FMR {entry.fmr:g}" for entry in card.calibration)
    detectors = " and ".join(sorted({entry.detector for entry in card.calibration}))
    measured = {"score map": card.score_map, "photo limits": card.photo_limits}
    lacks = "".join(f"; no {what}" for what, there in measured.items() if there is None)
    return Check(
        "models", path.name, Status.OK,
        f"thresholds {points}, measured with {detectors}{lacks}",
        values={"calibrated": True, "detector": detectors},
    )  # fmt: skip


def _calibrate(path: Path) -> str:
    from facekd.weights import is_shipped

    if is_shipped(path):
        return "facekd calibrate --data PEOPLE --out mine.onnx, then name mine.onnx with --model"
    return f"facekd calibrate {shlex.quote(str(path))} --data PEOPLE"


def _look_at_doubts(path: Path, card: Card, settings: DoctorSettings) -> Iterator[Check]:
    from facekd.preprocess.detectors import make_detector
    from facekd.workflows.thresholds import choose_threshold, doubts

    if not card.calibration:
        return
    detector = if_loaded(partial(make_detector, settings.detector, settings.device, 1))
    if detector is None:
        return
    for doubt in doubts(choose_threshold(card), detector.name, card.score_map):
        fix = f"Use that detector (--detector), or calibrate for this one: {_calibrate(path)}"
        yield Check("models", path.name, Status.NOTE, doubt, fix)


def look_at_gallery(settings: DoctorSettings) -> Iterator[Check]:
    """Whether every template of the gallery can be read, and whether it fits the model in use."""
    from facekd.gallery import GalleryRecords, is_there

    place = settings.gallery
    if not is_there(place):
        yield Check("gallery", str(place), Status.OK, "does not exist yet", values={"people": None})
        return
    with GalleryRecords(place, read_only=True) as records:
        yield _look_at_content(place, records)
        yield _look_at_schema(place, records)
        yield from taken("gallery", str(place), lambda: _look_at_fit(place, records, settings.model))
    if isinstance(place, Path):
        yield _look_at_mode(place)
    else:
        yield from _look_at_server(place)


def _look_at_content(path: Place, records: GalleryRecords) -> Check:
    people = records.people()
    # reading a template verifies its checksum
    templates = sum(len(records.templates(person.name)) for person in people)
    return Check(
        "gallery", str(path), Status.OK,
        f"{len(people)} people, {templates} templates, all of them intact"
        + (f", encrypted ({records.encryption.scheme})" if records.encryption else "")
        + (", names too" if records.encryption and records.encryption.names else ""),
        values={"people": len(people), "templates": templates, "encrypted": bool(records.encryption)},
    )  # fmt: skip


def _look_at_schema(path: Place, records: GalleryRecords) -> Check:
    schema, latest = records.schema()
    told = f"schema {schema}" + ("" if schema == latest else f", migrated to {latest} by the next change")
    return Check(
        "gallery", str(path), Status.OK if schema == latest else Status.NOTE, told, values={"schema": schema}
    )


def _look_at_fit(path: Place, records: GalleryRecords, model: Path | None) -> Iterator[Check]:
    from facekd.runtime import load_embedder

    contract = records.contract
    values = {"model": contract.model, "space": contract.space, "detector": contract.detector}
    if model is None:
        yield Check(
            "gallery", str(path), Status.NOTE, f"made with {contract.model}; no model to compare with",
            "Name one with --model or FACEKD_MODEL.", values=values,
        )  # fmt: skip
        return
    embedder = if_loaded(partial(load_embedder, model, threads=1, need_card=True))
    if embedder is None:
        told = f"made with {contract.model}; the model in use cannot be loaded"
        yield Check("gallery", str(path), Status.NOTE, told, values=values)
        return
    card = embedder.card
    if card.space == contract.space:
        yield Check("gallery", str(path), Status.OK, f"of the space of {card.name}", values=values)
    elif contract.space in card.compatible_with:
        yield Check(
            "gallery", str(path), Status.NOTE,
            f"made with {contract.model}, which the card of {card.name} lists as compatible: people can be "
            "verified, but not enrolled", values=values,
        )  # fmt: skip
    else:
        yield Check(
            "gallery", str(path), Status.FAULT,
            f"made with {contract.model} (space {contract.space[:12]}), which is incompatible with "
            f"{card.name} (space {card.space[:12]})",
            "Give the model that it was made with, with --model or FACEKD_MODEL, or choose another gallery.",
            Exit.MISFIT, values,
        )  # fmt: skip


def _look_at_server(place: ServerAddress) -> Iterator[Check]:
    """The server's settings that galleries depend on."""
    from facekd.gallery import look_at_server

    found = look_at_server(place)
    values: dict[str, str | int | bool | None] = {
        "server": found.version, "encrypted": found.encrypted, "erasures": found.erasures,
    }  # fmt: skip
    by = "TLS" if found.encrypted else "a socket or the loopback interface"
    yield Check(
        "gallery", str(place), Status.OK, f"PostgreSQL {found.version}, reached by {by}", values=values
    )
    for setting, told in found.doubts.items():
        yield Check("gallery", str(place), Status.NOTE, told, f"Set {setting} in postgresql.conf.")
    if found.erasures:
        yield Check(
            "gallery", str(place), Status.NOTE,
            f"{found.erasures} removals whose bytes are still in the tables",
            "Run 'facekd gallery erase' as the owner of the gallery.",
        )  # fmt: skip


def _look_at_mode(path: Path) -> Check:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~_OWNERS & 0o777:
        return Check(
            "gallery", str(path), Status.NOTE, f"others may read or change it (mode {mode:04o})",
            f"chmod 600 {shlex.quote(str(path))}", values={"mode": f"{mode:04o}"},
        )  # fmt: skip
    return Check(
        "gallery",
        str(path),
        Status.OK,
        f"readable by its owner only (mode {mode:04o})",
        values={"mode": f"{mode:04o}"},
    )
