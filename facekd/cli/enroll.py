"""Enroll people in a gallery from photos, videos or a camera.

All photos of a person are stored in one transaction; a line on stdout confirms that it is committed.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli.options import (
    ANY_PATH,
    any_quality_option,
    camera_option,
    detector_option,
    device_option,
    gallery_option,
    json_option,
    operators_model_option,
    per_second_option,
    root_option,
    seconds_option,
)
from facekd.cli.output import answer, answer_json, progress, say, say_failure
from facekd.errors import UsageError
from facekd.preprocess import ONE_FACE

if TYPE_CHECKING:
    from facekd.gallery import Place
    from facekd.workflows import Enrolled, EnrolledVideo, Failure, Given


@click.command("enroll")
@click.argument("name", required=False)
@click.argument("photos", nargs=-1, type=ANY_PATH, metavar="PHOTO|VIDEO...")
@click.option(
    "--from", "everybody", type=ANY_PATH, metavar="DIR|CSV",
    help="Enroll everybody: a folder per person, or a CSV name,photo (- for standard input).",
)  # fmt: skip
@root_option
@camera_option("Enroll the person in front of a camera (0 is the first).")
@seconds_option
@click.option(
    "--on-many", type=click.Choice(ONE_FACE),
    default="dominant", show_default=True,
    help="Which face to keep when several are detected; dominant refuses photos and videos where no face "
    "dominates.",
)  # fmt: skip
@click.option(
    "--force", is_flag=True,
    help="Enroll photos that look like another person, or unlike the person's others; the audit records it.",
)  # fmt: skip
@click.option(
    "--frames", type=click.IntRange(1, 50), default=5, show_default=True,
    help="Most frames to enroll from each video.",
)  # fmt: skip
@per_second_option
@operators_model_option
@gallery_option
@any_quality_option
@detector_option
@device_option
@json_option
def command(
    name: str | None,
    photos: tuple[Path, ...],
    everybody: Path | None,
    root: str | None,
    camera: int | None,
    seconds: float,
    on_many: str,
    force: bool,
    frames: int,
    per_second: float,
    model: Path,
    gallery: Place,
    any_quality: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> int:
    """Enroll NAME from photos, videos or a camera, or everybody from a folder or a list with --from.

    PHOTO may be a folder, for the photos and videos in it. From a VIDEO or the camera, the best frames of the
    person who clearly dominates it are enrolled; if nobody does, it is refused, unless --on-many best is
    given, which takes the most prominent person. Photos and videos that cannot be used are reported and the
    others enrolled. Photos that are enrolled already are skipped, so that an interrupted run can simply be
    repeated. Photos that do not look like the person's others, or that look like another enrolled person, are
    refused by the thresholds in the model's card. With --from, --json prints one line per person. A list
    begins with the line name,photo; its paths are relative to its folder.

    \b
    Example: facekd enroll "Ann Lee" ann1.jpg ann2.jpg --model student.onnx
             facekd enroll "Ann Lee" ann.mp4 --gallery staff.db
             facekd enroll "Ann Lee" --camera 0 --gallery staff.db
             facekd enroll --from people/ --model student.onnx --gallery staff.db
             facekd enroll --from people.csv --gallery staff.db
    """
    from facekd.files import make_gallery_folder
    from facekd.gallery import GalleryRecords
    from facekd.workflows import Recognizer, VideoSettings, enroll_people, overall

    _check_given(name, photos, everybody, root, camera)
    list_name = None
    people: Mapping[str, Sequence[Given]]
    if everybody is None:
        people = {_checked(str(name)): _of_one(photos, camera, seconds)}
    else:
        people, list_name = _everybody(everybody, root)
    recognizer = Recognizer(model, detector=detector, any_quality=any_quality, device=device)
    videos = VideoSettings(frames, per_second)
    if everybody is None:  # for many people, the progress counts people instead of frames
        videos = replace(videos, watch=_watch)
    entries: list[Enrolled] = []
    make_gallery_folder(gallery)
    with GalleryRecords(gallery, recognizer.contract, create=True, late=True) as records:
        differences = [f"{gallery} was {one}" for one in recognizer.differences(records.contract)]
        notes = dict.fromkeys(differences)
        for note in notes:
            say(f"note: {note}")
        quiet = sys.stdout.isatty() or everybody is None
        with nullcontext() if quiet else progress("enroll", len(people)) as advance:
            for entry in enroll_people(records, recognizer, people, on_many, force, list_name, videos):
                for note in entry.notes:
                    if note not in notes:
                        say(f"note: {note}")
                    notes[note] = None
                _report(entry, gallery, as_json, indent=2 if everybody is None else None)
                entries.append(entry)
                if advance is not None:
                    advance()
    if everybody is not None:
        _summarise(entries)
    _hint(entries)
    if name is not None:
        _hint_at_quotes(name, photos)
    return overall([entry.exit_code for entry in entries])


def _check_given(
    name: str | None, photos: Sequence[Path], everybody: Path | None, root: str | None, camera: int | None
) -> None:
    if everybody is not None and (name is not None or camera is not None):
        raise click.UsageError(
            "--from takes the names from the folders or the list: do not give NAME, PHOTO or --camera."
        )
    lists = [place for place in (name, *photos) if place and Path(place).suffix.lower() in (".csv", ".zip")]
    if lists and everybody is None:
        raise UsageError(
            f"{lists[0]}: a list or pack of people is no photo and no name",
            f"Enroll everybody in it: facekd enroll --from {shlex.quote(str(lists[0]))}",
        )
    if everybody is None and camera is None and not photos and name and Path(name).is_dir():
        raise UsageError(
            f"{name} is a folder, and the person's name is missing",
            "Enroll one person: facekd enroll NAME FOLDER; everybody, from a folder for each person: "
            f"facekd enroll --from {shlex.quote(name)}",
        )
    if everybody is None and (name is None or (camera is None) == (not photos)):
        raise click.UsageError("Give NAME and PHOTO or VIDEO, NAME and --camera, or --from DIR or CSV.")
    if root is not None and everybody is None:
        raise click.UsageError("--root needs --from.")


def _of_one(photos: Sequence[Path], camera: int | None, seconds: float) -> Sequence[Given]:
    from facekd.workflows import CameraView, photos_at

    return photos_at(list(photos)) if camera is None else [CameraView(camera, seconds)]


def _everybody(place: Path, root: str | None) -> tuple[Mapping[str, Sequence[Given]], str | None]:
    """Everybody in a folder, a pack or a list, and the name of the list."""
    from facekd.preprocess import SUFFIXES
    from facekd.workflows import is_listing, people_listed, people_to_enroll, read_listing

    if place.suffix.lower() in SUFFIXES and place.is_file():
        raise UsageError(
            f"{place} is a photo, and --from takes a folder, a pack or a list of people",
            f"Enroll one person: facekd enroll NAME {shlex.quote(str(place))}",
        )
    if is_listing(place):
        if root is not None:
            raise click.UsageError("--root applies to a folder, not to a list.")
        listing = read_listing(place)
        return people_listed(listing), listing.name
    return people_to_enroll(place, root, lambda note: say(f"note: {note}")), None


def _checked(name: str) -> str:
    """``name``, if it is a valid name and not a photo's path given by mistake."""
    from facekd.gallery import clean_name

    clean_name(name)
    if Path(name).is_file():
        raise UsageError(
            f"{name} is a file: the first argument is the person's name",
            f'Give the name first: facekd enroll "Ann Lee" {shlex.quote(name)} ...',
        )
    return name


def _watch(video: str) -> AbstractContextManager[Callable[..., None]]:
    return progress(Path(video).name, None)


def _report(entry: Enrolled, gallery: Place, as_json: bool, indent: int | None) -> None:
    from facekd.workflows import enrolled_document

    for video in entry.videos:
        if video.chosen:
            say(_taken(video))
    for failure in entry.failures:
        say_failure(f"not enrolled ({failure.reason}): {failure.message}")
    for warning in entry.warnings:
        say_failure(f"enrolled anyway ({warning.reason}): {warning.message}")
    if as_json:
        answer_json({"gallery": str(gallery)} | enrolled_document(entry), indent)
    elif entry.templates:
        answer(
            f"enrolled {entry.name}: {entry.added} new, {entry.present} already there, "
            f"{len(entry.failures)} failed, {entry.templates} in the gallery"
        )


def _taken(video: EnrolledVideo) -> str:
    times = ", ".join(f"{face.time:.2f}" for face in video.chosen)
    return f"{video.name}: {len(video.chosen)} of {video.faces} faces taken, at {times} s"


def _summarise(entries: list[Enrolled]) -> None:
    """How many people and photos are enrolled, who is not, and why."""
    from facekd.gallery import shown

    missing = [entry for entry in entries if not entry.templates]
    added, present = sum(entry.added for entry in entries), sum(entry.present for entry in entries)
    photos = "1 photo" if added == 1 else f"{added:,} photos"
    say(
        f"{len(entries) - len(missing)} of {len(entries)} people enrolled: "
        f"{photos} new, {present} already there"
    )
    for entry in missing:
        say(f"not enrolled: {shown(entry.name)} ({_reasons(entry.failures)})")
    failures = [failure for entry in entries for failure in entry.failures]
    if failures:
        say(f"photos not enrolled: {_reasons(failures)}")


def _reasons(failures: Sequence[Failure]) -> str:
    counted = Counter(failure.reason for failure in failures)
    return ", ".join(f"{count} {reason}" for reason, count in counted.most_common())


def _hint_at_quotes(name: str, photos: Sequence[Path]) -> None:
    """Advice for ``enroll Ann Lee ann.jpg``, which takes Lee for a photo."""
    words = list(takewhile(lambda photo: not photo.suffix and not photo.exists(), photos))
    if words:
        whole = " ".join([name, *map(str, words)])
        say(f"If the name is '{whole}', quote it: facekd enroll {shlex.quote(whole)} PHOTO...")


def _hint(entries: list[Enrolled]) -> None:
    """Advice on the most common failures, printed once however many there are."""
    failures = [failure for entry in entries for failure in entry.failures]
    videos = {video.name for entry in entries for video in entry.videos}
    reasons = {failure.reason for failure in failures}
    several = [failure.photo in videos for failure in failures if failure.reason == "several_faces"]
    if any(several):
        say("Use a video that one person dominates, or --on-many best for the most prominent person in it.")
    if not all(several):
        say("--on-many best takes the largest face near the centre of a photo with several.")
    if "not_this_person" in reasons or "other_person" in reasons:
        say("--force enrolls photos that look like another person, but never a file that another has.")
