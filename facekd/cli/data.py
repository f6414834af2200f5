"""Convert training data between folders, zip and RecordIO packs, or check it against a test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli.options import ANY_PATH, EXISTING, EXISTING_FILE, detector_option, device_option, json_option
from facekd.cli.output import answer_json, progress, say

if TYPE_CHECKING:
    from facekd.workflows.data import Crops


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
@click.argument("training", nargs=-1, type=EXISTING, metavar="[CROPS...]")
@click.option("--recipe", type=EXISTING_FILE, default=None, help="Just the crops that this recipe trains on.")
@click.option("--against", type=EXISTING, required=True, help="The test's photos, a folder or pack.")
@click.option(
    "--model",
    type=EXISTING_FILE,
    default=None,
    help="The best recogniser at hand [default: the recipe's first teacher].",
)
@click.option("--aligned", is_flag=True, help="The test's photos are finished 112-pixel ArcFace crops.")
@click.option(
    "--list",
    "listing",
    type=ANY_PATH,
    default=None,
    help="Write the near ones as an exclude list for a recipe.",
)
@click.option(
    "--people",
    type=ANY_PATH,
    default=None,
    help="Write the people of the test whom they resemble, for evaluate --without.",
)
@detector_option
@device_option
@json_option
def check_data(
    training: tuple[Path, ...],
    recipe: Path | None,
    against: Path,
    model: Path | None,
    aligned: bool,
    listing: Path | None,
    people: Path | None,
    detector: str,
    device: str,
    as_json: bool,
) -> None:
    """Look for people of a test among training CROPS, or those of a recipe, by their embeddings.

    Lists the crops with a cosine of 0.5 or more to a photo of the test; 0.9 or more is the same
    person, and the command then ends with 4.

    \b
    Example: facekd data check train-1.zip train-2.zip --against lfw.zip --model edgeface.onnx
             facekd data check --recipe student.toml --against lfw.zip --people near.txt
    """
    from facekd.workflows.data import (
        check_folders,
        check_overlap,
        count_images,
        write_exclude,
        write_people,
    )

    crops, recogniser = _crops_and_model(training, recipe, model)
    if people:
        check_folders(against)
    with progress("compare", sum(len(part.names) for part in crops) + count_images(against)) as advance:
        found = check_overlap(
            crops, against, recogniser,
            detector=None if aligned else detector, device=device, advance=advance,
        )  # fmt: skip
    if listing:
        write_exclude(found, listing)
        say(f"{len(found.near)} near crops in {listing}")
    if people:
        say(f"{write_people(found, people)} people of the test in {people}")
    if as_json:
        answer_json({
            "crops": found.crops, "photos": found.photos, "failures": found.failures, "same": found.same,
            "people": found.people,
            "near": [{"crop": n.crop, "photo": n.photo, "cosine": round(n.cosine, 4)} for n in found.near],
        })  # fmt: skip
    else:
        for near in found.near[:20]:
            click.echo(f"{near.cosine:.3f}  {near.crop}  {near.photo}")
        if len(found.near) > 20:
            click.echo(f"... and {len(found.near) - 20} more")
        alike = "" if found.people is None else f", like {len(found.people)} people of the test"
        click.echo(
            f"{found.crops:,} crops against {found.photos:,} photos: {len(found.near)} at 0.5 or more{alike}"
            f", {found.same} at 0.9 or more; {found.failures} without an embedding"
        )
    found.refuse()


def _crops_and_model(
    training: tuple[Path, ...], recipe: Path | None, model: Path | None
) -> tuple[tuple[Crops, ...], Path]:
    """What is compared, and by which recogniser."""
    from facekd.workflows.data import all_crops, first_teacher, trained_crops

    if bool(training) == bool(recipe):
        raise click.UsageError("give CROPS... or --recipe, one of the two.")
    if recipe:
        from facekd.distill import read_recipe

        stated = read_recipe(recipe)
        return trained_crops(stated), model or first_teacher(stated)
    if model is None:
        raise click.UsageError("Missing option '--model'.")
    return all_crops(training), model
