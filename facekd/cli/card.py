"""Show a model's card, or write one.

The card states the model's input (size, colour order, scaling, crop), its output, its origin
and the thresholds that were measured. Changing the input, the crop or the embedding
changes the model's space, and with it which galleries it fits.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli.options import ANY_PATH, EXISTING, MODEL_FILE, detector_option, json_option
from facekd.cli.output import answer, answer_json, progress, say, say_without_card

if TYPE_CHECKING:
    from facekd.card import Card, Sample, SimilarPeople
    from facekd.verification.results import ComparedReadings
    from facekd.workflows import WrittenCard


@click.command("card")
@click.argument("file", type=MODEL_FILE)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a value; keys are dotted, as input.colour.",
)
@click.option(
    "--convention", type=click.Choice(["insightface"]), default=None,
    help="Set colour, scale and crop of a first card at once, as insightface's models expect them.",
)  # fmt: skip
@click.option(
    "--renew", is_flag=True,
    help="Rewrite the card of a network that has changed, without its earlier measurements.",
)  # fmt: skip
@click.option(
    "--check-on", type=EXISTING, default=None, metavar="PEOPLE",
    help="Folder or zip with a folder of photos per person, to compare possible input settings on.",
)  # fmt: skip
@click.option("--out", type=ANY_PATH, default=None, help="Write here instead of over FILE.")
@detector_option
@json_option
def command(
    file: Path,
    settings: tuple[str, ...],
    convention: str | None,
    renew: bool,
    check_on: Path | None,
    out: Path | None,
    detector: str,
    as_json: bool,
) -> None:
    """Show the card of FILE, an ONNX model, or write one into it with --set.

    A first card must state colour order, scale and crop: a network does not record them, and a wrong guess
    makes different people match. A card with a new space is tried on synthetic faces before it is written,
    which reveals a wrong scale; a wrong colour order or template shows only on photos of people (--check-on).

    \b
    Example: facekd card model.onnx
             facekd card model.onnx --set input.colour=bgr --set input.mean=0 --set input.std=1 \\
                 --set crop=arcface
             facekd card model.onnx --convention insightface --check-on people/
             facekd card changed.onnx --renew
    """
    from facekd.card import card_of, load_onnx
    from facekd.workflows import write_model_card

    if settings or convention or renew:
        with progress("check", None) as advance:
            written = write_model_card(
                file, settings, convention=convention is not None, renew=renew, out=out,
                check_on=check_on, detector=detector, advance=advance,
            )  # fmt: skip
        _tell(written)
        card, compared = written.card, written.compared
    else:
        card, found = card_of(load_onnx(file), file.stem)
        if not found:
            say_without_card(file)
        compared = _compare(file, card, check_on, detector) if check_on else None
    if compared:
        _say_verdict(compared)
    if as_json:
        told = card.model_dump(mode="json")
        answer_json(told if compared is None else {**told, "check_on": compared.to_dict()})
        return
    _print_card(card)
    if compared:
        _print_readings(compared)


def _compare(file: Path, card: Card, people: Path, detector: str) -> ComparedReadings:
    from facekd.workflows import compare_readings, count_readings

    with progress("check", count_readings(card)) as advance:
        return compare_readings(file, card, people, detector, advance)


def _tell(written: WrittenCard) -> None:
    """Print what was written, and the result on synthetic faces."""
    before, space = written.before, written.card.space
    kept = (
        "its first card" if before is None else "kept" if space == before else f"changed: was {before[:12]}"
    )
    say(f"card written to {written.file}; space {space[:12]} ({kept})")
    if written.alike is not None:
        say(f"tried on synthetic faces: different people have a median cosine of {written.alike:.2f}")


def _say_verdict(compared: ComparedReadings) -> None:
    """Say whether the photos speak against the settings in the card, or cannot tell."""
    best, stated = compared.readings[0], compared.stated
    if best.as_good and not stated.as_good:
        say(
            f"note: on {compared.data} other input settings are better than those in the card "
            f"({stated.words}): {best.words}"
        )
    elif compared.undecided:
        others = "; ".join(reading.words for reading in compared.undecided)
        say(
            f"note: {compared.data} cannot distinguish the settings in the card ({stated.words}) "
            f"from others: {others}{_more_people(compared)}"
        )


def _more_people(compared: ComparedReadings) -> str:
    """The number of further people needed to decide, to be appended to the undecided settings."""
    needed = compared.people_needed
    if needed is None:
        return ""
    if needed * compared.photos > compared.most_photos * compared.people:
        return (
            f". If the differences are as they seem, about {needed:,} people would be needed, more than "
            f"are in the {compared.most_photos} photos that are read at most"
        )
    more = max(1, needed - compared.people)
    return f". If the differences are as they seem, about {more:,} more people would be enough"


def _print_readings(compared: ComparedReadings) -> None:
    """Print the readings, the best first."""
    answer(
        f"input settings on {compared.data}: {compared.photos:,} photos of {compared.people:,} people, "
        f"{compared.mated:,} mated and {compared.non_mated:,} non-mated comparisons; separation "
        f"(p-value against the best), FNMR at FMR {compared.fmr:g} (95 %)"
    )
    for reading in compared.readings:
        mark = "stated" if reading == compared.stated else ""
        best = "best" if reading == compared.readings[0] else "as good" if reading.as_good else ""
        rate, apart = "no embeddings", ""
        if reading.fnmr is not None and reading.low is not None and reading.high is not None:
            rate = f"{100 * reading.fnmr:5.2f} % ({100 * reading.low:.2f} to {100 * reading.high:.2f})"
        if reading.separation is not None and reading.p_value is not None:
            apart = f"{reading.separation:5.2f}" + ("" if best == "best" else f" ({reading.p_value:.2g})")
        answer(f"  {best:7}  {mark:6}  {apart:15}  {rate:25}  {reading.words}")


def _print_card(card: Card) -> None:
    answer(f"name          {card.name}")
    answer(f"architecture  {card.architecture}")
    scaling = f"(x - {card.input.mean:g}) / {card.input.std:g}"
    answer(f"input         {card.input.size} px, {card.input.colour}, {scaling}")
    answer(f"crop          {card.crop.kind}, {card.crop.size} px")
    answer(f"embedding     {card.embedding.dim}")
    answer(f"space         {card.space}")
    answer(f"digest        {card.digest}")
    answer(f"teacher       {card.teacher.name if card.teacher else '-'}")
    answer(f"licence       {card.licence}")
    answer(f"data          {card.provenance.data}")
    if card.provenance.start:
        answer(f"begun with    {card.provenance.start.name}")
    for entry in card.calibration:
        answer(
            f"threshold     {entry.threshold:.4f} at FMR {entry.fmr:g} "
            f"(95 % {entry.low:.2g} to {entry.high:.2g}; {entry.data}, {entry.detector}"
            f"{_sample(entry.sample, entry.date)})"
        )
    if not card.calibration:
        answer("threshold     none measured")
    if card.similar:
        _print_similar(card.similar)
    score_map = card.score_map
    if score_map:
        answer(
            f"score map     {score_map.curve.kind}, Cllr {score_map.cllr:.4f} (minimum "
            f"{score_map.min_cllr:.4f}; {score_map.data}, {score_map.detector}"
            f"{_sample(score_map.sample, score_map.date)})"
        )
    else:
        answer("score map     none fitted: probabilities are unknown")
    limits = card.photo_limits
    if limits:
        answer(
            f"photo limits  {limits.summary}; at FMR {limits.fmr:g} ({limits.data}, {limits.detector}"
            f"{_sample(limits.sample, limits.date)})"
        )
    else:
        answer("photo limits  none measured: poor photos are treated like good ones")


def _print_similar(similar: SimilarPeople) -> None:
    for one in similar.thresholds:
        answer(
            f"similar       {one.threshold:.4f} at FMR {one.fmr:g} within {one.group} (95 % {one.low:.2g} "
            f"among varied people to {one.high:.2g} within a group; {similar.data}, {similar.detector}"
            f"{_sample(similar.sample, similar.date)})"
        )


def _sample(sample: Sample | None, date: str) -> str:
    """What is known about a calibration's photos, to be appended to their name."""
    if sample is None:
        return ""
    return f"; {sample.people:,} people, {sample.photos:,} photos, SHA-256 {sample.digest[:12]}, {date}"
