"""Convert training data between folders, zip and RecordIO packs, or check it against a test set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from facekd.cli.options import (
    ANY_PATH,
    EXISTING,
    EXISTING_FILE,
    MODEL_FILE,
    CommandsGroup,
    detector_option,
    device_option,
    json_option,
    root_option,
)
from facekd.cli.output import answer, answer_json, progress, say

if TYPE_CHECKING:
    from facekd.workflows import Advance, Embedded


@click.group("data", cls=CommandsGroup)
def command() -> None:
    """Convert and check training data.

    \b
    Example: facekd data convert train.rec train.zip
             facekd data check train.zip --against lfw.zip --model teacher.onnx
    """


@command.command("convert")
@click.argument("source", type=EXISTING)
@click.argument("target", type=ANY_PATH)
@click.option("--unlabelled", is_flag=True, help="The folders of SOURCE are not identities (for a .rec).")
@root_option
@click.option("--force", is_flag=True, help="Replace TARGET if it is a file.")
def convert_data(source: Path, target: Path, unlabelled: bool, root: str | None, force: bool) -> None:
    """Copy the images of SOURCE into TARGET, a .zip, a .rec, or else a folder.

    Images are not re-encoded. A .rec is insightface's RecordIO pack, with its .idx beside it.

    \b
    Example: facekd data convert faces_webface/train.rec webface.zip
             facekd data convert crops/ crops.rec
    """
    from facekd.workflows import convert, count_images

    with progress("convert", count_images(source)) as advance:
        count = convert(source, target, labelled=not unlabelled, force=force, root=root, advance=advance)
    say(f"{count:,} images in {target}")


@command.command("check")
@click.argument("training", nargs=-1, type=EXISTING, metavar="[CROPS...]")
@click.option(
    "--recipe", type=EXISTING_FILE, default=None, help="Check only the crops that this recipe trains on."
)
@click.option("--against", type=EXISTING, required=True, help="The test set's photos: a folder or pack.")
@click.option(
    "-m",
    "--model",
    type=MODEL_FILE,
    default=None,
    help="The best model available [default: the recipe's first teacher].",
)
@click.option("--aligned", is_flag=True, help="The test set is already aligned: 112-pixel ArcFace crops.")
@click.option(
    "--list",
    "listing",
    type=ANY_PATH,
    default=None,
    help="Write the listed crops as an exclude list for a recipe.",
)
@click.option(
    "--people",
    type=ANY_PATH,
    default=None,
    help="Write the people of the test set that they resemble, for evaluate --without.",
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
    """Search training CROPS, or those of a recipe, for people of a test set, by their embeddings.

    Lists the crops with a cosine of 0.5 or more to a photo of the test set. 0.9 or more counts as the
    same person, and the exit code is then 4.

    \b
    Example: facekd data check train-1.zip train-2.zip --against lfw.zip --model edgeface.onnx
             facekd data check --recipe student.toml --against lfw.zip --people near.txt
    """
    from facekd.workflows import check_folders, check_overlap, count_images, write_exclude, write_people

    part = _compared(training, recipe, model)
    if people:
        check_folders(against)
    with progress("compare", part.crops + count_images(against)) as advance:
        found = check_overlap(
            part.embedded(device, advance), against, part.model,
            detector=None if aligned else detector, device=device, advance=advance,
        )  # fmt: skip
    if listing:
        write_exclude(found, listing)
        say(f"{len(found.near)} near crops in {listing}")
    if people:
        say(f"{write_people(found, people)} people of the test set in {people}")
    if as_json:
        answer_json({
            "crops": found.crops, "photos": found.photos, "failures": found.failures, "same": found.same,
            "people": found.people,
            "near": [{"crop": n.crop, "photo": n.photo, "cosine": round(n.cosine, 4)} for n in found.near],
        })  # fmt: skip
    else:
        for near in found.near[:20]:
            answer(f"{near.cosine:.3f}  {near.crop}  {near.photo}")
        if len(found.near) > 20:
            answer(f"... and {len(found.near) - 20} more")
        alike = "" if found.people is None else f", like {len(found.people)} people of the test set"
        answer(
            f"{found.crops:,} crops against {found.photos:,} photos: {len(found.near)} at 0.5 or more{alike}"
            f", {found.same} at 0.9 or more; {found.failures} without an embedding"
        )
    found.refuse()


class _Compared(NamedTuple):
    """What is compared: how many crops, by which recogniser, and their embeddings."""

    crops: int
    model: Path
    embedded: Callable[[str, Advance], Iterator[Embedded]]


def _compared(training: tuple[Path, ...], recipe: Path | None, model: Path | None) -> _Compared:
    """The crops and the model that the call names."""
    from facekd.workflows import all_crops, embedded_packs, embedded_set, first_teacher

    if bool(training) == bool(recipe):
        raise click.UsageError("Give either CROPS... or --recipe.")
    if recipe:
        from facekd.distillation import read_recipe, training_crops

        stated = read_recipe(recipe)
        by, chosen = model or first_teacher(stated), training_crops(stated)
        return _Compared(
            len(chosen), by, lambda device, advance: embedded_set(chosen, by, device, say, advance)
        )
    if model is None:
        raise click.UsageError("Missing option '--model'.")
    packs = all_crops(training)
    return _Compared(
        sum(len(pack.names) for pack in packs),
        model,
        lambda device, advance: embedded_packs(packs, model, device, advance),
    )
