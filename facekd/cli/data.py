"""Convert training data between folders, zip and RecordIO packs, or check it against a test."""

from __future__ import annotations

from pathlib import Path

import click

from facekd.cli.options import ANY_PATH, EXISTING, EXISTING_FILE, detector_option, device_option, json_option
from facekd.cli.output import answer_json, progress, say


@click.group("data")
def command() -> None:
    """Look after training data.

    \b
    Example: facekd data convert train.rec train.zip
             facekd data check train.zip --against lfw.zip --model teacher.onnx
    """


@command.command("convert")
@click.argument("source", type=EXISTING)
@click.argument("target", type=ANY_PATH)
@click.option("--unlabelled", is_flag=True, help="The folders of SOURCE are no identities (for a .rec).")
@click.option("--force", is_flag=True, help="Replace TARGET if it is a file.")
def convert_data(source: Path, target: Path, unlabelled: bool, force: bool) -> None:
    """Copy the images of SOURCE into TARGET, a .zip, a .rec, or else a folder.

    Images are not encoded again. A .rec is insightface's RecordIO pack, with its .idx beside it.

    \b
    Example: facekd data convert faces_webface/train.rec webface.zip
             facekd data convert crops/ crops.rec
    """
    from facekd.workflows.data import convert, count_images

    with progress("convert", count_images(source)) as advance:
        count = convert(source, target, labelled=not unlabelled, force=force, advance=advance)
    say(f"{count:,} images in {target}")


@command.command("check")
@click.argument("training", nargs=-1, required=True, type=EXISTING, metavar="CROPS...")
@click.option("--against", type=EXISTING, required=True, help="The test's photos, a folder or pack.")
@click.option("--model", type=EXISTING_FILE, required=True, help="The best recogniser at hand.")
@click.option("--aligned", is_flag=True, help="The test's photos are finished 112-pixel ArcFace crops.")
@click.option(
    "--list",
    "listing",
    type=ANY_PATH,
    default=None,
    help="Write the near ones as an exclude list for a recipe.",
)
@detector_option
@device_option
@json_option
def check_data(
    training: tuple[Path, ...],
    against: Path,
    model: Path,
    aligned: bool,
    listing: Path | None,
    detector: str,
    device: str,
    as_json: bool,
) -> None:
    """Look for people of a test among training CROPS, by their embeddings.

    Lists the crops with a cosine of 0.5 or more to a photo of the test; 0.9 or more is the same
    person, and the command then ends with 4.

    \b
    Example: facekd data check train-1.zip train-2.zip --against lfw.zip --model edgeface.onnx
    """
    from facekd.workflows.data import check_overlap, count_images, write_exclude

    with progress("compare", count_images(*training, against)) as advance:
        found = check_overlap(
            list(training), against, model,
            detector=None if aligned else detector, device=device, advance=advance,
        )  # fmt: skip
    if listing:
        write_exclude(found, listing)
        say(f"{len(found.near)} near crops in {listing}")
    if as_json:
        answer_json({
            "crops": found.crops, "photos": found.photos, "failures": found.failures, "same": found.same,
            "near": [{"crop": n.crop, "photo": n.photo, "cosine": round(n.cosine, 4)} for n in found.near],
        })  # fmt: skip
    else:
        for near in found.near[:20]:
            click.echo(f"{near.cosine:.3f}  {near.crop}  {near.photo}")
        if len(found.near) > 20:
            click.echo(f"... and {len(found.near) - 20} more")
        click.echo(
            f"{found.crops:,} crops against {found.photos:,} photos: {len(found.near)} at 0.5 or more, "
            f"{found.same} at 0.9 or more; {found.failures} without an embedding"
        )
    found.refuse()
