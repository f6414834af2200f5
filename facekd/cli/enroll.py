"""Enroll people in a gallery from their photos.

All photos of a person are stored in one transaction; a line on stdout confirms that it is committed.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli.options import (
    ANY_PATH,
    any_quality_option,
    detector_option,
    device_option,
    gallery_option,
    json_option,
    operators_model_option,
    per_second_option,
    root_option,
)
from facekd.cli.output import answer, answer_json, progress, say, say_failure
from facekd.errors import UsageError
from facekd.preprocess import ONE_FACE

if TYPE_CHECKING:
    from facekd.gallery import Place
    from facekd.workflows import AnyPhoto, Enrolled, EnrolledVideo, Failure, PhotoFile, Recognizer


@click.command("enroll")
@click.argument("name", required=False)
@click.argument("photos", nargs=-1, type=ANY_PATH, metavar="PHOTO|VIDEO...")
@click.option(
    "--from", "everybody", type=ANY_PATH, metavar="DIR|CSV",
    help="Enroll everybody: a folder per person, or a CSV name,photo (- for standard input).",
)  # fmt: skip
@root_option
@click.option(
    "--on-many", type=click.Choice(ONE_FACE),
    default="dominant", show_default=True,
    help="Which face to keep when several are detected; dominant refuses photos where none clearly is.",
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
    """Enroll NAME from photos or videos, or everybody from a folder or a list with --from.

    PHOTO may be a folder of photos. From a VIDEO, the best frames of the person who clearly dominates it
    are enrolled; a video in which nobody does is refused. Photos that cannot be used are reported and the
    others enrolled. Photos that are already enrolled are skipped, so an interrupted run can simply be
    repeated. Photos that do not look like the person's others, or that look like another enrolled person,
    are refused by the thresholds in the model's card. With --from, --json prints one line per person. A
    list begins with the line name,photo; its paths are relative to its folder.

    \b
    Example: facekd enroll "Ann Lee" ann1.jpg ann2.jpg --model student.onnx
             facekd enroll "Ann Lee" ann.mp4 --gallery staff.db
             facekd enroll --from people/ --model student.onnx --gallery staff.db
             facekd enroll --from people.csv --gallery staff.db
    """
    from facekd.files import make_gallery_folder
    from facekd.gallery import GalleryRecords
    from facekd.preprocess import is_video
    from facekd.workflows import Recognizer, enroll_people, overall, photos_at

    if everybody is not None and name is not None:
        raise click.UsageError(
            "--from takes the names from the folders or the list: do not give NAME or PHOTO."
        )
    if everybody is None and (name is None or not photos):
        raise click.UsageError("Give NAME and PHOTO or VIDEO, or --from DIR or CSV.")
    if root is not None and everybody is None:
        raise click.UsageError("--root needs --from.")
    list_name = None
    people: dict[str, list[AnyPhoto]]
    clips = [photo for photo in photos if is_video(photo)]
    if everybody is None:
        people = {_checked(str(name)): [*photos_at([photo for photo in photos if photo not in clips])]}
    else:
        listed, list_name = _everybody(everybody, root)
        people = {one: [*theirs] for one, theirs in listed.items()}
    recognizer = Recognizer(model, detector=detector, any_quality=any_quality, device=device)
    entries: list[Enrolled] = []
    make_gallery_folder(gallery)
    with GalleryRecords(gallery, recognizer.contract, create=True) as records:
        differences = [f"{gallery} was {one}" for one in recognizer.differences(records.contract)]
        notes = dict.fromkeys(differences)
        for note in notes:
            say(f"note: {note}")
        videos = [_look_at(recognizer, clip, frames, per_second) for clip in clips]
        for video in videos:
            people[str(name)] += video.photos
        quiet = sys.stdout.isatty() or everybody is None
        with nullcontext() if quiet else progress("enroll", len(people)) as advance:
            for entry in enroll_people(records, recognizer, people, on_many, force, list_name):
                for note in entry.notes:
                    if note not in notes:
                        say(f"note: {note}")
                    notes[note] = None
                _report(entry, gallery, as_json, videos, indent=2 if everybody is None else None)
                entries.append(entry)
                if advance is not None:
                    advance()
    if everybody is not None:
        _summarise(entries)
    _hint(entries, [video.name for video in videos])
    return overall([entry.exit_code for entry in entries])


def _everybody(place: Path, root: str | None) -> tuple[dict[str, list[PhotoFile]], str | None]:
    """Everybody in a folder, a pack or a list, and the name of the list."""
    from facekd.workflows import STDIN, people_in, people_listed, read_listing

    if place == STDIN or (place.suffix.lower() == ".csv" and not place.is_dir()):
        if root is not None:
            raise click.UsageError("--root applies to a folder, not to a list.")
        listing = read_listing(place)
        return people_listed(listing), listing.name
    return people_in(place, root, lambda note: say(f"note: {note}")), None


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


def _look_at(recognizer: Recognizer, clip: Path, frames: int, per_second: float) -> EnrolledVideo:
    """Choose what to enroll from a video, and print it."""
    from facekd.workflows import video_to_enroll

    with progress(clip.name, None) as advance:
        video = video_to_enroll(recognizer, clip, frames, per_second, advance)
    if video.chosen:
        times = ", ".join(f"{face.time:.2f}" for face in video.chosen)
        say(f"{video.name}: {len(video.chosen)} of {video.faces} faces taken, at {times} s")
    return video


def _report(
    entry: Enrolled, gallery: Place, as_json: bool, videos: Sequence[EnrolledVideo], indent: int | None
) -> None:
    from facekd.workflows import enrolled_document

    for failure in entry.failures:
        say_failure(f"not enrolled ({failure.reason}): {failure.message}")
    for warning in entry.warnings:
        say_failure(f"enrolled anyway ({warning.reason}): {warning.message}")
    if as_json:
        looked_at = {"videos": [video.to_dict() for video in videos]} if videos else {}
        answer_json({"gallery": str(gallery)} | enrolled_document(entry) | looked_at, indent)
    elif entry.templates:
        answer(
            f"enrolled {entry.name}: {entry.added} new, {entry.present} already there, "
            f"{len(entry.failures)} failed, {entry.templates} in the gallery"
        )


def _summarise(entries: list[Enrolled]) -> None:
    """How many people and photos are enrolled, who is not, and why."""
    from facekd.gallery import shown

    missing = [entry for entry in entries if not entry.templates]
    added, present = sum(entry.added for entry in entries), sum(entry.present for entry in entries)
    say(
        f"{len(entries) - len(missing)} of {len(entries)} people enrolled: "
        f"{added} photos new, {present} already there"
    )
    for entry in missing:
        say(f"not enrolled: {shown(entry.name)} ({_reasons(entry.failures)})")
    failures = [failure for entry in entries for failure in entry.failures]
    if failures:
        say(f"photos not enrolled: {_reasons(failures)}")


def _reasons(failures: Sequence[Failure]) -> str:
    counted = Counter(failure.reason for failure in failures)
    return ", ".join(f"{count} {reason}" for reason, count in counted.most_common())


def _hint(entries: list[Enrolled], videos: Sequence[str]) -> None:
    """Advice on the most common failures, printed once however many there are."""
    failures = [failure for entry in entries for failure in entry.failures]
    reasons = {failure.reason for failure in failures}
    several = [failure.photo in videos for failure in failures if failure.reason == "several_faces"]
    if any(several):
        say("Cut the video so that one person dominates it, or enroll photos.")
    if not all(several):
        say("--on-many best takes the largest face near the centre of a photo with several.")
    if "not_this_person" in reasons or "other_person" in reasons:
        say("--force enrolls photos that look like another person, but never a file that another has.")
