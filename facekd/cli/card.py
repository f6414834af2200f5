"""Show a model's card, or write one.

The card says what the model wants (size, colour order, scaling, crop), what it gives, where it
comes from and which thresholds were measured. Changing the input, the crop or the embedding
changes the model's space, and with it which galleries it fits.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli.options import EXISTING_FILE, json_option
from facekd.cli.output import answer_json, say

if TYPE_CHECKING:
    from facekd.card import Sample


@click.command("card")
@click.argument("file", type=EXISTING_FILE)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a value; dotted keys.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Write here instead of over FILE.")
@json_option
def command(file: Path, settings: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Show the card of FILE, an ONNX model, or write one into it with --set.

    \b
    Example: facekd card model.onnx
             facekd card model.onnx --set input.colour=bgr --set input.mean=0 --set input.std=1
    """
    from facekd.card import card_of, change_card, load_onnx, write_card

    model = load_onnx(file)
    card, found = card_of(model, file.stem)
    if settings:
        before = card.space
        card = write_card(model, change_card(card, list(settings)), out or file)
        kept = "kept" if card.space == before else f"changed: was {before[:12]}"
        say(f"card written to {out or file}; space {card.space[:12]} ({kept})")
    elif not found:
        say(f"{file} has no card: read by insightface's convention (RGB, ArcFace template)")
    if as_json:
        answer_json(card.model_dump(mode="json"))
        return
    click.echo(f"name          {card.name}")
    click.echo(f"architecture  {card.architecture}")
    scaling = f"(x - {card.input.mean:g}) / {card.input.std:g}"
    click.echo(f"input         {card.input.size} px, {card.input.colour}, {scaling}")
    click.echo(f"crop          {card.crop.kind}, {card.crop.size} px")
    click.echo(f"embedding     {card.embedding.dim}")
    click.echo(f"space         {card.space}")
    click.echo(f"digest        {card.digest}")
    click.echo(f"teacher       {card.teacher.name if card.teacher else '-'}")
    click.echo(f"licence       {card.licence}")
    click.echo(f"data          {card.provenance.data}")
    for entry in card.calibration:
        click.echo(
            f"threshold     {entry.threshold:.4f} at FMR {entry.fmr:g} "
            f"(95 % {entry.low:.2g} to {entry.high:.2g}; {entry.data}, {entry.detector}"
            f"{_sample(entry.sample, entry.date)})"
        )
    if not card.calibration:
        click.echo("threshold     none measured")
    score_map = card.score_map
    if score_map:
        click.echo(
            f"score map     {score_map.curve.kind}, Cllr {score_map.cllr:.4f} (minimum "
            f"{score_map.min_cllr:.4f}; {score_map.data}, {score_map.detector}"
            f"{_sample(score_map.sample, score_map.date)})"
        )
    else:
        click.echo("score map     none fitted: no probability is known")
    limits = card.photo_limits
    if limits:
        click.echo(
            f"photo limits  {limits.summary}; at FMR {limits.fmr:g} ({limits.data}, {limits.detector}"
            f"{_sample(limits.sample, limits.date)})"
        )
    else:
        click.echo("photo limits  none measured: poor photos are answered like good ones")


def _sample(sample: Sample | None, date: str) -> str:
    """What is known of a calibration's photos, to follow their name."""
    if sample is None:
        return ""
    return f"; {sample.people:,} people, {sample.photos:,} photos, SHA-256 {sample.digest[:12]}, {date}"
