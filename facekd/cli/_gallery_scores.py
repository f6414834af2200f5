"""What the scores between the people of a gallery show: its own thresholds, and who may be enrolled twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from facekd.cli.options import gallery_option, json_option
from facekd.cli.output import answer, answer_json, say

if TYPE_CHECKING:
    from facekd.gallery import Place
    from facekd.verification import GalleryThreshold

#: rates whose thresholds are shown
FMRS, FPIRS = (1e-2, 1e-3, 1e-4, 1e-5), (0.1, 0.01)


@click.command("calibrate")
@gallery_option
@json_option
def calibrate(gallery: Place, as_json: bool) -> None:
    """Measure the gallery's own thresholds from the scores between its people.

    "verify --claim" and "identify" use them instead of the card's if there are enough people for the rate.
    A gallery of up to 3,000 people is measured automatically when needed; run this command after a larger
    one has changed. The scores are saved beside the gallery, without names or embeddings.

    \b
    Example: facekd gallery calibrate --gallery staff.db
    """
    from facekd.gallery import GalleryRecords
    from facekd.workflows import calibrate_gallery, scores_file

    with GalleryRecords(gallery, read_only=True) as records:
        tail = calibrate_gallery(records)
    found = [tail.threshold_at_fmr(fmr) for fmr in FMRS] + [tail.threshold_at_fpir(fpir) for fpir in FPIRS]
    if as_json:
        answer_json({
            "gallery": str(gallery), "people": len(tail.names), "counted": tail.counted,
            "suspected_doubles": len(tail.doubles), "thresholds": [one.to_dict() for one in found],
        })  # fmt: skip
        return
    doubles = f", {len(tail.doubles)} suspected duplicates" if tail.doubles else ""
    answer(f"{len(tail.names):,} people{doubles}")
    for one in found:
        answer(_line(one))
    if tail.doubles:
        say("'facekd gallery dedupe' lists people who may be enrolled twice.")
    if not scores_file(gallery).is_file():
        say("note: the scores could not be saved beside the gallery; it will be measured again each time")


def _line(one: GalleryThreshold) -> str:
    rate = f"{one.kind.upper()} {one.rate:g}"
    if one.threshold is None or one.interval is None:
        return f"{rate:<10}  insufficient data: {one.needed:,} people are needed"
    interval = f"95 % interval {one.interval.low:.2g} to {one.interval.high:.2g}"
    return f"{rate:<10}  threshold {one.threshold:.4f}  {interval}"


@click.command("dedupe")
@gallery_option
@json_option
def dedupe(gallery: Place, as_json: bool) -> None:
    """List people who may be enrolled twice, the most likely first.

    Each is a pair whose score is too high for two different people of this gallery by chance: one
    person under two names, twins, or a photo in the wrong folder. Look at the photos: "gallery merge"
    combines two into one, "gallery remove" removes one. Not every duplicate is found.

    \b
    Example: facekd gallery dedupe --gallery staff.db
    """
    from facekd.gallery import GalleryRecords, shown
    from facekd.workflows import calibrate_gallery

    with GalleryRecords(gallery, read_only=True) as records:
        tail = calibrate_gallery(records)
    if as_json:
        answer_json({
            "gallery": str(gallery), "people": len(tail.names),
            "suspected_doubles": [double.to_dict() for double in tail.doubles],
        })  # fmt: skip
        return
    for double in tail.doubles:
        answer(f"{double.score:7.4f}  {shown(double.one)}  |  {shown(double.other)}")
    say(f"{len(tail.doubles)} suspected duplicates among {len(tail.names):,} people")
