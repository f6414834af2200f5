"""Find out who is in a photo, by searching the gallery.

A search of N people makes N comparisons, so a threshold for verification is too low for it: the one that is
used keeps a stated false positive identification rate (FPIR) in this gallery.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
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
    detector_option,
    device_option,
    gallery_option,
    json_option,
    operators_model_option,
    threshold_option,
)
from facekd.cli.output import answer, answer_json, progress, say, say_failure
from facekd.errors import Exit

if TYPE_CHECKING:
    from facekd.verification.results import IdentifiedPhoto, SearchThreshold
    from facekd.workflows import NamedPhoto, Search


@click.command("identify")
@click.argument("photos", nargs=-1, required=True, type=ANY_PATH, metavar="PHOTO|FOLDER...")
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
@annotate_option
@any_quality_option
@detector_option
@device_option
@json_option
def command(
    photos: tuple[Path, ...],
    top: int,
    all_faces: bool,
    threshold: float | None,
    fpir: float | None,
    model: Path,
    gallery: Path,
    annotate: Path | None,
    any_quality: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> int:
    """Search the gallery for the person in each PHOTO, or in every image of a FOLDER or zip.

    The threshold keeps a false positive identification rate (--fpir) in this gallery: the share of
    searches for people who are not enrolled that find somebody. It comes from the scores between the
    gallery's own people, if there are enough of them, otherwise from the model's card. If neither is
    sufficient, the candidates are listed without a decision.

    Exit code 0: found; 1: nobody found; 2: no threshold is known for this rate (the message says what would
    be enough); 3: the photo shows no usable face. With several photos or --all-faces: 0 if every photo was
    decided, either way, otherwise that of the most serious failure; --json then prints one line per photo,
    and --annotate needs a folder.

    \b
    Example: facekd identify door.jpg --gallery staff.db
             facekd identify photos/ --json > answers.jsonl
    """
    from facekd.workflows import FPIR, Recognizer, open_search, photos_to_embed

    if threshold is not None and fpir is not None:
        raise click.UsageError("Give either --threshold or --fpir, not both.")
    wanted = photos_to_embed(photos)
    pictures = SearchPictures(annotate, photos, len(wanted))
    recognizer = Recognizer(model, detector=detector, any_quality=any_quality, device=device)
    with recognizer.open_gallery(gallery) as records:
        search = open_search(recognizer, records, FPIR if fpir is None else fpir, threshold)
        if search.threshold.shortfall:
            say_failure(f"no decision: {search.threshold.shortfall}")
        if len(photos) == 1 and not all_faces and wanted[0].name == str(photos[0]):
            return _one(search, photos[0], top, gallery, as_json, pictures)
        return _many(search, wanted, top, all_faces, gallery, as_json, pictures)


def _one(
    search: Search, photo: Path, top: int, gallery: Path, as_json: bool, pictures: SearchPictures
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
    wanted: Sequence[NamedPhoto],
    top: int,
    all_faces: bool,
    gallery: Path,
    as_json: bool,
    pictures: SearchPictures,
) -> Exit:
    from facekd.workflows import identify_or_say_why

    answers: Counter[str] = Counter()
    worst, said = Exit.DONE, set[str]()
    with nullcontext() if sys.stdout.isatty() else progress("identify", len(wanted)) as advance:
        for named in wanted:
            found = identify_or_say_why(search, named, top=top, all_faces=all_faces)
            for note in (f"note: {note}" for note in found.notes):
                if note not in said:
                    say(note)
                said.add(note)
            if found.failure:
                say_failure(f"no answer ({found.failure.reason}): {found.failure.message}")
            if pictures.wanted and not found.failure:
                pictures.draw(search.recognizer, found, named.photo.read(), _rule(search.threshold))
            if as_json:
                answer_json(found.to_dict() | {"gallery": str(gallery)}, indent=None)
            else:
                _print(found)
            answers.update([found.failure.reason] if found.failure else [f.decision for f in found.faces])
            if found.exit_code != Exit.DIFFERENT:
                worst = max(worst, found.exit_code)
            if advance is not None:
                advance()
    told = ", ".join(f"{count} {what}" for what, count in answers.most_common())
    say(f"{len(wanted)} photos: {told}; {_rule(search.threshold)}")
    return worst


def _print(found: IdentifiedPhoto) -> None:
    from facekd.gallery import shown

    for face in found.faces:
        where = "" if len(found.faces) == 1 else " at " + ",".join(f"{value:.0f}" for value in face.box)
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
