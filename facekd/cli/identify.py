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
    camera_option,
    detector_option,
    device_option,
    gallery_option,
    json_option,
    operators_model_option,
    per_second_option,
    seconds_option,
    threshold_option,
)
from facekd.cli.output import answer, answer_json, progress, say, say_failure
from facekd.errors import Exit

if TYPE_CHECKING:
    from facekd.gallery import Place
    from facekd.verification.results import IdentifiedPhoto, SearchThreshold
    from facekd.workflows import NamedPhoto, NamedVideo, Search


@click.command("identify")
@click.argument("photos", nargs=-1, type=ANY_PATH, metavar="PHOTO|VIDEO|FOLDER|CSV...")
@camera_option("Search for the people in front of a camera (0 is the first).")
@seconds_option
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
    """Search the gallery for the person in each PHOTO and for everybody in each VIDEO; a FOLDER, a zip or a
    list stands for the photos, and the videos, in it.

    The threshold keeps a false positive identification rate (--fpir) in this gallery: the share of
    searches for people who are not enrolled that find somebody. It comes from the scores between the
    gallery's own people, if there are enough of them, otherwise from the model's card. If neither is
    sufficient, the candidates are listed without a decision.

    Exit code 0: found; 1: nobody found; 2: no threshold is known for this rate (the message says what would
    be enough); 3: the photo shows no usable face. With several photos or --all-faces: 0 if every photo was
    decided, either way, otherwise that of the most serious failure; --json then prints one line per photo,
    and --annotate needs a folder. People in a video or in front of a camera are tracked from frame to frame;
    each of them gets one answer, as if they were several photos. A list is a CSV file that begins with the
    line photo (- for standard input); its paths are relative to its folder.

    \b
    Example: facekd identify door.jpg --gallery staff.db
             facekd identify photos/ --json > answers.jsonl
             facekd identify door.mp4 --gallery staff.db
             facekd identify - --json < photos.csv
    """
    from facekd.preprocess import is_video
    from facekd.workflows import FPIR, Recognizer, open_search, photos_to_search

    if threshold is not None and fpir is not None:
        raise click.UsageError("Give either --threshold or --fpir, not both.")
    if (camera is not None) == bool(photos):
        raise click.UsageError("Give PHOTO, VIDEO, FOLDER or CSV, or --camera.")
    if annotate is not None and (camera is not None or any(map(is_video, photos))):
        raise click.UsageError("--annotate draws photos, not videos.")
    wanted = _Wanted(photos_to_search(photos), camera, seconds, per_second)
    places = [*photos, *(Path(named.shown) for named in wanted.photos)]
    pictures = SearchPictures(annotate, places, len(wanted.photos))
    recognizer = Recognizer(model, detector=detector, any_quality=any_quality, device=device)
    with recognizer.open_gallery(gallery, audit_reads=audit_reads) as records:
        search = open_search(recognizer, records, FPIR if fpir is None else fpir, threshold)
        if search.threshold.shortfall:
            say_failure(f"no decision: {search.threshold.shortfall}")
        alone = len(photos) == 1 and [one.name for one in wanted.photos] == [str(photos[0])]
        if alone and not all_faces:
            return _one(search, photos[0], top, gallery, as_json, pictures)
        return _many(search, wanted, top, all_faces, gallery, as_json, pictures)


@dataclass(frozen=True)
class _Wanted:
    """What to search for: the people in ``named`` photos and videos, and those in front of a ``camera``
    during ``seconds``."""

    named: Sequence[NamedPhoto | NamedVideo]
    camera: int | None
    seconds: float
    per_second: float

    @property
    def photos(self) -> list[NamedPhoto]:
        from facekd.workflows import NamedPhoto

        return [named for named in self.named if isinstance(named, NamedPhoto)]

    @property
    def _videos(self) -> int:
        return len(self.named) - len(self.photos)

    @property
    def count(self) -> int | None:
        """The number of photos; `None` with videos, whose number of frames is unknown."""
        return None if self._videos or self.camera is not None else len(self.named)

    @property
    def said(self) -> str:
        cameras = self.camera is not None
        counts = ((len(self.photos), "photo"), (self._videos, "video"), (cameras, "camera"))
        return ", ".join(f"{count:d} {what}{'s' * (count > 1)}" for count, what in counts if count)

    def answers(
        self, search: Search, top: int, all_faces: bool, advance: Callable[[], object]
    ) -> Iterator[tuple[Sequence[IdentifiedPhoto], NamedPhoto | None]]:
        """Each answer with its photo. ``advance`` is called for each photo or frame."""
        from facekd.workflows import NamedPhoto, identify_camera, identify_or_say_why, identify_video

        rate = self.per_second
        for one in self.named:
            if isinstance(one, NamedPhoto):
                yield (identify_or_say_why(search, one, top=top, all_faces=all_faces),), one
                advance()
            else:
                found = identify_video(
                    search, one.video.path, top=top, per_second=rate, name=one.name, advance=advance
                )
                yield found, None
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
    """Print the answer for one of many photos, in one line."""
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
