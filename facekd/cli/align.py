"""Find the faces in photos and cut them out, aligned.

SRC is a folder, a zip pack or image files; DST a folder, or a zip pack if it ends in .zip. The
folder tree is kept. A report beside DST lists every photo with its faces, or why there are none.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import click

from facekd.cli.options import ANY_PATH, EXISTING, EXISTING_FILE, detector_option, device_option, json_option
from facekd.cli.output import answer, answer_json, progress, say, say_without_card
from facekd.errors import Exit
from facekd.preprocess import POLICIES


@click.command("align")
@click.argument("sources", metavar="SRC...", type=EXISTING, nargs=-1)
@click.argument("target", metavar="DST", type=ANY_PATH)
@detector_option
@click.option(
    "--on-many", type=click.Choice(POLICIES), default="best", show_default=True,
    help="Which face to keep when several are detected; best weighs size against distance to the centre, "
    "dominant refuses photos where none is clearly the largest and most central.",
)  # fmt: skip
@click.option(
    "--spec", type=EXISTING_FILE, metavar="MODEL", help="Cut the crop that this model expects."
)  # fmt: skip
@click.option(
    "--format", type=click.Choice(["webp", "png", "jpg"]), default="webp", show_default=True,
    help="webp and png are lossless; jpg (quality 95) takes half the space.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Start over instead of continuing the last run.")
@click.option("--jobs", type=click.IntRange(min=1), help="Parallel processes [default: one per processor].")
@device_option
@json_option
def command(
    sources: tuple[Path, ...],
    target: Path,
    detector: str,
    on_many: str,
    spec: Path | None,
    format: str,
    force: bool,
    jobs: int | None,
    device: str,
    as_json: bool,
) -> int:
    """Cut the faces in SRC (a folder, a zip pack or image files) into DST (a folder or a .zip).

    Repeat an interrupted run to continue it. The exit code is 3 if no photo shows a face, otherwise 0;
    the report beside DST lists the photos without a face, and why.

    \b
    Example: facekd align photos crops
             facekd align photos.zip crops.zip --detector scrfd:scrfd_500m.onnx
             facekd align photos crops --spec model.onnx --on-many all
    """
    from facekd.runtime import load_embedder
    from facekd.workflows import AlignSettings, align_photos

    if not sources:
        raise click.UsageError(f"Only {target} is given: give SRC... and DST, where the crops go.")
    settings = AlignSettings(detector, on_many, format, device)
    if spec is not None:
        model = load_embedder(spec, threads=1)
        if not model.has_card:
            say_without_card(spec)
        settings = replace(settings, crop=model.spec)
    done = align_photos(list(sources), target, settings, jobs, force, progress)
    if as_json:
        answer_json(asdict(done) | {"report": str(done.report)})
    else:
        failed = "".join(f", {count} {reason}" for reason, count in done.reasons.items())
        answer(f"{done.photos} photos: {done.with_face} with a face ({done.crops} crops){failed}")
        if done.several:
            say(f"{done.several} photos show several faces: the face was chosen by --on-many {on_many}")
        if done.resumed:
            say(f"{done.resumed} of them were done by an earlier run (--force repeats them)")
        say(f"report: {done.report}")
    return Exit.DONE if done.with_face else Exit.CANNOT_SAY
