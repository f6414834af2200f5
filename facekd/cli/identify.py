"""Find out who is in a photo or a video, by searching the gallery.

A search of N people makes N comparisons, so a threshold for verification is too low for it: the one that is
used keeps a stated false positive identification rate (FPIR) in this gallery.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli._defaults import or_setting
from facekd.cli._search_pictures import SearchPictures
from facekd.cli.options import (
    ANY_PATH,
    Number,
    annotate_option,
    any_quality_option,
    audit_option,
    detector_option,
    device_option,
    gallery_option,
    json_option,
    operators_model_option,
    per_second_option,
    threshold_option,
)
from facekd.cli.output import answer, answer_json, progress, say, say_failure
from facekd.errors import Exit

if TYPE_CHECKING:
    from facekd.gallery import Place
    from facekd.verification.results import IdentifiedPhoto, SearchThreshold
    from facekd.workflows import NamedPhoto, Search


@click.command("identify")
@click.argument("photos", nargs=-1, type=ANY_PATH, metavar="PHOTO|VIDEO|FOLDER...")
@click.option(
    "--camera", type=click.IntRange(0, 99), default=None, metavar="NUMBER",
    help="Search for the people in front of a camera (0 is the first).",
)  # fmt: skip
@click.option(
    "--seconds", type=Number(0, 600, min_open=True), default=10.0, show_default=True,
    help="How long to watch the camera.",
)  # fmt: skip
@per_second_option
@click.option(
    "--top", type=click.IntRange(1, 1000), default=5, show_default=True, help="Candidates to list per face."
)
@click.option(
    "--all-faces", is_flag=True, help="Search for every face, not only the largest near the centre."
)
@threshold_option("fpir")
@click.option(
    "--fpir", type=Number(0, 1, min_open=True, max_open=True), default=None,
    callback=or_setting("fpir", "threshold"),
    help="False positive identification rate to keep in this gallery. [default: 0.01]",
)  # fmt: skip
@operators_model_option
@gallery_option
@audit_option
@annotate_option
@any_quality_option
@detector_option
@device_option
@json_option
def command(
    photos: tuple[Path, ...],
    camera: int | None,
    seconds: float,
    per_second: float,
    top: int,
    all_faces: bool,
    threshold: float | None,
    fpir: float | None,
    model: Path,
    gallery: Place,
    audit_reads: bool,
    annotate: Path | None,
    any_quality: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> int:
    """Search the gallery for the person in each PHOTO or in every image of a FOLDER or zip, and for
    everybody in each VIDEO.

    The threshold keeps a false positive identification rate (--fpir) in this gallery: the share of
    searches for people who are not enrolled that find somebody. It comes from the scores between the
    gallery's own people, if there are enough of them, otherwise from the model's card. If neither is
    sufficient, the candidates are listed without a decision.

    Exit code 0: found; 1: nobody found; 2: no threshold is known for this rate (the message says what would
    be enough); 3: the photo shows no usable face. With several photos or --all-faces: 0 if every photo was
    decided, either way, otherwise that of the most serious failure; --json then prints one line per photo,
    and --annotate needs a folder. People in a video or in front of a camera are followed from frame to
    frame; each of them is one answer, as if they were several photos.

    \b
    Example: facekd identify door.jpg --gallery staff.db
             facekd identify photos/ --json > answers.jsonl
             facekd identify door.mp4 --gallery staff.db
    """
    from facekd.preprocess import is_video
    from facekd.workflows import FPIR, Recognizer, open_search, photos_to_embed

    if threshold is not None and fpir is not None:
        raise click.UsageError("Give either --threshold or --fpir, not both.")
    if (camera is not None) == bool(photos):
        raise click.UsageError("Give PHOTO, VIDEO or FOLDER, or --camera.")
    clips = [photo for photo in photos if is_video(photo)]
    if annotate is not None and (clips or camera is not None):
        raise click.UsageError("--annotate draws photos, not videos.")
    stills = [photo for photo in photos if photo not in clips]
    wanted = _Wanted(photos_to_embed(stills), clips, camera, seconds, per_second)
    pictures = SearchPictures(annotate, photos, len(wanted.photos))
    recognizer = Recognizer(model, detector=detector, any_quality=any_quality, device=device)
    with recognizer.open_gallery(gallery, audit_reads=audit_reads) as records:
        search = open_search(recognizer, records, FPIR if fpir is None else fpir, threshold)
        if search.threshold.shortfall:
            say_failure(f"no decision: {search.threshold.shortfall}")
        if len(photos) == 1 and not all_faces and [str(photos[0])] == [one.name for one in wanted.photos]:
            return _one(search, photos[0], top, gallery, as_json, pictures)
        return _many(search, wanted, top, all_faces, gallery, as_json, pictures)


@dataclass(frozen=True)
class _Wanted:
    """What to search: ``photos``, ``videos``, and a ``camera`` for ``seconds``."""

    photos: Sequence[NamedPhoto]
    videos: Sequence[Path]
    camera: int | None
    seconds: float
    per_second: float

    @property
    def count(self) -> int | None:
        """The number of photos; `None` if frames are searched, whose number is not known beforehand."""
        return None if self.videos or self.camera is not None else len(self.photos)

    @property
    def said(self) -> str:
        cameras = self.camera is not None
        counts = ((len(self.photos), "photo"), (len(self.videos), "video"), (cameras, "camera"))
        return ", ".join(f"{count:d} {what}{'s' * (count > 1)}" for count, what in counts if count)

    def answers(
        self, search: Search, top: int, all_faces: bool, advance: Callable[[], object]
    ) -> Iterator[tuple[Sequence[IdentifiedPhoto], NamedPhoto | None]]:
        """Yield the answers from each photo, video or camera, with the photo if it is one. ``advance`` is
        called after each photo or frame."""
        from facekd.workflows import identify_camera, identify_or_say_why, identify_video

        for named in self.photos:
            yield (identify_or_say_why(search, named, top=top, all_faces=all_faces),), named
            advance()
        rate = self.per_second
        for video in self.videos:
            yield identify_video(search, video, top=top, per_second=rate, advance=advance), None
        if self.camera is not None:
            yield (
                identify_camera(search, self.camera, self.seconds, top=top, per_second=rate, advance=advance),
                None,
            )


def _one(
    search: Search, photo: Path, top: int, gallery: Place, as_json: bool, pictures: SearchPictures
) -> Exit:
    from facekd.workflows import identify_photo

    found = identify_photo(search, photo, top=top)
    for note in found.notes:
        say(f"note: {note}")
    pictures.draw(search.recognizer, found, photo, _rule(search.threshold))
    if as_json:
        answer_json(found.to_dict() | {"gallery": str(gallery)})
    else:
        _print(found)
    return found.exit_code


def _many(
    search: Search,
    wanted: _Wanted,
    top: int,
    all_faces: bool,
    gallery: Place,
    as_json: bool,
    pictures: SearchPictures,
) -> Exit:
    answers: Counter[str] = Counter()
    worst, said = Exit.DONE, set[str]()
    with nullcontext() if sys.stdout.isatty() else progress("identify", wanted.count) as advance:
        step = advance or (lambda: None)
        for found_there, named in wanted.answers(search, top, all_faces, step):
            for found in found_there:
                for note in (f"note: {note}" for note in found.notes):
                    if note not in said:
                        say(note)
                    said.add(note)
                if found.failure:
                    say_failure(f"no answer ({found.failure.reason}): {found.failure.message}")
                if pictures.wanted and not found.failure and named is not None:
                    pictures.draw(search.recognizer, found, named.photo.read(), _rule(search.threshold))
                _tell(found, gallery, as_json)
                answers.update([found.failure.reason] if found.failure else [f.decision for f in found.faces])
                if found.exit_code != Exit.DIFFERENT:
                    worst = max(worst, found.exit_code)
    told = ", ".join(f"{count} {what}" for what, count in answers.most_common())
    say(f"{wanted.said}: {told}; {_rule(search.threshold)}")
    return worst


def _tell(found: IdentifiedPhoto, gallery: Place, as_json: bool) -> None:
    """One line of many."""
    if as_json:
        answer_json(found.to_dict() | {"gallery": str(gallery)}, indent=None)
    else:
        _print(found)


def _print(found: IdentifiedPhoto) -> None:
    from facekd.gallery import shown

    for face in found.faces:
        where = "" if len(found.faces) == 1 else " at " + ",".join(f"{value:.0f}" for value in face.box)
        if found.track:
            where = f" from {found.track.first:.2f} to {found.track.last:.2f} s"
        said = {"found": shown(face.name or ""), "nobody": "nobody", "insufficient": "no decision"}
        answer(f"{found.photo}{where}: {said[face.decision]} ({_rule(found.threshold)})")
        for candidate in face.candidates:
            answer(f"  {candidate.score:7.4f}  {shown(candidate.name)}")


def _rule(rule: SearchThreshold) -> str:
    if rule.value is None:
        return "no threshold"
    if rule.fpir is None:
        return f"threshold {rule.value:.4f}, given"
    interval = "" if rule.low is None else f" [{rule.low:.2g}, {rule.high:.2g}]"
    kept = f"FPIR {rule.fpir:g}{interval} with {rule.people:,} people"
    return f"threshold {rule.value:.4f}: {kept}, by {rule.data}"
