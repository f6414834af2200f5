"""Cut a folder of photos into a folder of crops: several processes detect and cut, this one writes the crops
and the report."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path, PurePosixPath

from facekd.card import ARCFACE_CROP, CropSpec
from facekd.errors import FacekdError, InputOutput, UsageError
from facekd.files import real_path
from facekd.preprocess import (
    ALIGNER,
    FORMATS,
    POLICIES,
    Crop,
    Detector,
    Entry,
    Face,
    PhotoLike,
    Report,
    ReportedFace,
    Settings,
    Source,
    Target,
    as_photo,
    choose,
    cut,
    decode,
    encode,
    find_face,
    find_faces,
    is_pack,
    is_safe,
    open_sources,
    open_target,
    quality,
    report_path,
)
from facekd.preprocess.detectors import make_detector
from facekd.runtime import threads_available
from facekd.version import __version__

#: photos that a process gets at a time
_CHUNK = 8

#: ``progress(title, total)`` opens a bar and yields the function that advances it
Progress = Callable[[str, int | None], AbstractContextManager[Callable[..., None]]]


@dataclass(frozen=True)
class AlignSettings:
    """How photos become crops; see `make_detector`, `choose`, `encode` and `CropSpec`."""

    detector: str = "mtcnn"
    on_many: str = "best"
    format: str = "webp"
    device: str = "cpu"
    crop: CropSpec = ARCFACE_CROP


@dataclass(frozen=True)
class Aligned:
    """The outcome of all photos of a source. ``photos`` is their number, ``with_face`` how many gave a crop,
    ``several`` how many of these show more faces than were cut, ``resumed`` how many were done by an earlier
    run; ``reasons`` counts the photos without a crop by reason."""

    photos: int
    with_face: int
    crops: int
    several: int
    resumed: int
    reasons: dict[str, int]
    report: Path


def align_photos(
    sources: list[Path],
    target: Path,
    settings: AlignSettings | None = None,
    jobs: int | None = None,
    force: bool = False,
    progress: Progress = lambda title, total: nullcontext(lambda *_: None),
) -> Aligned:
    """Cut the faces of all photos in ``sources`` (one folder or zip pack, or image files) into
    ``target`` (a folder, or a pack if it ends in .zip), keeping the folder tree.

    The report beside ``target`` lists every photo, with its faces or the reason why there are
    none. A second run continues where the first stopped; ``force`` starts over. ``jobs`` processes
    work in parallel, by default one per processor.

    Raises `UsageError` for invalid settings, or settings that differ from those of the existing
    crops; `InputOutput` if the source cannot be read or the target cannot be written.
    """
    settings = settings or AlignSettings()
    _check(sources, target, settings)
    source = open_sources(sources)
    names = source.names()
    if not names:
        raise InputOutput(f"{source.path}: contains no images")
    # made here first, so that a wrong name or file ends the run before any process starts
    stated = _stated(settings, make_detector(settings.detector, settings.device, threads=1).name)
    _check_target(target, force)
    writer = open_target(target, fresh=force)
    report = Report(report_path(target))
    try:
        _begin(report, writer, stated, force)
        pending = [name for name in names if not _is_done(report.entries.get(_shown(name)), writer)]
        crops = crop_names(names, settings.format, settings.on_many == "all")
        with progress("align", len(names)) as advance:
            advance(len(names) - len(pending))
            for outcome in _outcomes(source, pending, settings, jobs):
                report.add(_store(outcome, crops.get(outcome.photo, ""), writer))
                advance(1)
        writer.finish()
    finally:
        report.close()
    return _summary(names, report, len(names) - len(pending))


def align_photo(
    photo: PhotoLike,
    *,
    spec: CropSpec | None = None,
    detector: str | Detector = "mtcnn",
    on_many: str = "dominant",
) -> Crop:
    """The aligned face of one photo: a path, the bytes of an image file, or pixels (`as_photo`).

    ``spec`` is the crop to cut, for a model `Embedder.spec`; by default the 112-pixel ArcFace crop.
    ``detector`` is a name, as for `make_detector`, or a `Detector`, which saves loading it again for each of
    many photos. ``on_many`` is the policy of `choose` for several faces.

    Raises `NoFace`, `TooSmall` or `Turned`; `SeveralFaces` if none of several faces clearly dominates;
    `InputOutput`, `Unreadable` or `TooLarge` for the file; `UsageError` for an unknown detector or policy, or
    pixels of another shape; `TypeError` for an object that is not a photo.
    """
    seen = as_photo(photo)
    finder = make_detector(detector) if isinstance(detector, str) else detector
    face = find_face(seen, finder, on_many)
    pixels = cut(seen.pixels, face, spec or ARCFACE_CROP)
    return Crop(pixels, face, seen, quality(pixels, face))


def crop_names(names: list[str], format: str, many: bool) -> dict[str, str]:
    """The crop's name for each photo: the same path with the suffix of ``format``. Photos whose names differ
    only in the suffix keep it ("a.jpg.webp"). So do, if ``many`` faces of a photo are cut, photos named like
    the second crop of another (`nth_name`)."""
    stems = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    claims = Counter(re.sub(r"~\d+$", "", stem) if many else stem for stem in stems.values())
    return {
        name: f"{stem if claims[re.sub(r'~[0-9]+$', '', stem) if many else stem] == 1 else name}.{format}"
        for name, stem in stems.items()
    }


def nth_name(name: str, index: int) -> str:
    """The name of the crop of a photo's face ``index``: "a.webp", "a~2.webp", "a~3.webp"."""
    path = PurePosixPath(name)
    return name if index == 0 else str(path.with_name(f"{path.stem}~{index + 1}{path.suffix}"))


@dataclass(frozen=True)
class _Cut:
    """A face and its crop, encoded."""

    face: Face
    quality: float
    image: bytes


@dataclass(frozen=True)
class _Outcome:
    photo: str
    sha256: str | None = None
    found: int = 0
    cuts: tuple[_Cut, ...] = ()
    reason: str | None = None
    detail: str | None = None


class _Aligner:
    """Turns the name of a photo into its outcome; one per process."""

    def __init__(self, source: Source, settings: AlignSettings) -> None:
        self._source = source
        self._settings = settings
        self._detector = make_detector(settings.detector, settings.device, threads=1)

    def __call__(self, name: str) -> _Outcome:
        photo, faces = None, []
        try:
            photo = decode(self._source.read(name), name)
            faces = find_faces(photo, self._detector)
            chosen = choose(faces, photo.pixels.shape[:2], self._settings.on_many)
            cuts = []
            for face in chosen:
                crop = cut(photo.pixels, face, self._settings.crop)
                cuts.append(_Cut(face, quality(crop, face), encode(crop, self._settings.format)))
            return _Outcome(name, photo.sha256, len(faces), tuple(cuts))
        except FacekdError as error:
            reason, detail = getattr(error, "reason", "failed"), error.cause
        except Exception as error:
            # one photo must not end a run over a hundred thousand: the report and the summary list it
            reason, detail = "failed", f"{type(error).__name__}: {error}"
        return _Outcome(name, photo.sha256 if photo else None, len(faces), reason=reason, detail=detail)


_aligner: _Aligner | None = None


def _start_worker(source: Source, settings: AlignSettings) -> None:
    global _aligner
    import cv2

    # a worker is ended by the interrupted parent; if the parent was killed, it ends by itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _aligner = _Aligner(source, settings)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(name: str) -> _Outcome:
    assert _aligner is not None
    return _aligner(name)


def _outcomes(
    source: Source, names: list[str], settings: AlignSettings, jobs: int | None
) -> Iterator[_Outcome]:
    """The outcomes of the photos ``names``, in order."""
    for name in names:
        if not is_safe(name):
            yield _Outcome(_shown(name), reason="unreadable", detail="not a name for a file in a folder")
    names = [name for name in names if is_safe(name)]
    # a GPU is not shared between processes; a few photos are done before a second process has started
    most = threads_available() if settings.device == "cpu" else 1
    jobs = min(jobs or most, -(-len(names) // (2 * _CHUNK)))
    if jobs <= 1:
        yield from map(_Aligner(source, settings), names)
        return
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker, (source, settings))
    try:
        yield from pool.map(_work, names, chunksize=_CHUNK)
    except BrokenProcessPool as error:
        raise InputOutput(
            "a worker process died, perhaps out of memory",
            "Run the same command again to continue; fewer --jobs need less memory.",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _store(outcome: _Outcome, crop: str, writer: Target) -> Entry:
    """Write the crops of ``outcome``, and return its entry for the report."""
    faces = []
    for index, made in enumerate(outcome.cuts):
        name = nth_name(crop, index)
        writer.write(name, made.image)
        faces.append(_reported(made, name))
    return Entry(
        photo=outcome.photo,
        sha256=outcome.sha256,
        found=outcome.found,
        faces=tuple(faces),
        reason=outcome.reason,
        detail=outcome.detail,
    )


def _reported(made: _Cut, name: str) -> ReportedFace:
    x1, y1, x2, y2 = (round(float(v), 3) for v in made.face.box)
    return ReportedFace(
        crop=name,
        box=(x1, y1, x2, y2),
        landmarks=tuple((round(float(x), 3), round(float(y), 3)) for x, y in made.face.landmarks),
        score=round(made.face.score, 5),
        quality=round(made.quality, 4),
    )


def _shown(name: str) -> str:
    """``name`` with the characters that a report cannot hold replaced."""
    return name.encode("utf-8", "replace").decode()


def _is_done(entry: Entry | None, writer: Target) -> bool:
    """Whether an earlier run completed the photo. Files that could not be read are tried again."""
    if entry is None or entry.reason in ("io", "failed"):
        return False
    return all(writer.holds(face.crop) for face in entry.faces)


def _begin(report: Report, writer: Target, stated: Settings, force: bool) -> None:
    """Continue a report of the same settings, or start one. Raises `UsageError` for a report of other
    settings, unless ``force`` starts over."""
    if force:
        crops = (face.crop for entry in report.entries.values() for face in entry.faces)
        for crop in filter(is_safe, crops):
            writer.remove(crop)
    elif report.settings is not None:
        if report.settings == stated:
            return
        was, wanted = report.settings.model_dump(), stated.model_dump()
        changed = ", ".join(f"{key} {was[key]}" for key in was if was[key] != wanted[key])
        raise UsageError(
            f"{report.path.name}: the existing crops were made with other settings ({changed})",
            "Choose another target, or start over with --force.",
        )
    report.restart(stated)


def _stated(settings: AlignSettings, detector: str) -> Settings:
    return Settings(
        facekd=__version__,
        detector=detector,
        aligner=ALIGNER,
        crop=settings.crop,
        on_many=settings.on_many,  # type: ignore[arg-type]
        format=settings.format,  # type: ignore[arg-type]
    )


def _check(sources: list[Path], target: Path, settings: AlignSettings) -> None:
    if settings.on_many not in POLICIES:
        raise UsageError(f"no policy is named '{settings.on_many}'", f"Known: {', '.join(POLICIES)}.")
    if settings.format not in FORMATS:
        raise UsageError(f"no format is named '{settings.format}'", f"Known: {', '.join(FORMATS)}.")
    there = real_path(target)
    for source in sources:
        place = real_path(source)
        if there == place or (source.is_dir() and place in there.parents):
            raise UsageError(
                f"{target} is the source or inside it: the crops would be mistaken for photos",
                "Choose a target outside it.",
            )


def _check_target(target: Path, force: bool) -> None:
    """Refuse to write into a folder or pack that no earlier run has written."""
    if force or report_path(target).exists():
        return
    taken = target.is_file() if is_pack(target) else target.is_dir() and any(target.iterdir())
    if taken:
        raise UsageError(
            f"{target} exists, and there is no report of an earlier run beside it",
            "Choose another target, or give --force to write there anyway.",
        )


def _summary(names: list[str], report: Report, resumed: int) -> Aligned:
    entries = [report.entries[_shown(name)] for name in names]
    reasons = Counter(entry.reason for entry in entries if entry.reason)
    return Aligned(
        photos=len(entries),
        with_face=sum(bool(entry.faces) for entry in entries),
        crops=sum(len(entry.faces) for entry in entries),
        several=sum(entry.found > len(entry.faces) > 0 for entry in entries),
        resumed=resumed,
        reasons=dict(sorted(reasons.items())),
        report=report.path,
    )
