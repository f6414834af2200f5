"""Measure how well models tell people apart, on a published protocol or your own pairs.

Photos are aligned on the way; photos without a face count as failures to acquire and are
reported. Several models stand side by side, the others compared with the first.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli.options import ANY_PATH, EXISTING, EXISTING_FILE, detector_option, device_option, json_option
from facekd.cli.output import answer_json, progress, say

if TYPE_CHECKING:
    from facekd.verification import Result, ScoreResult
    from facekd.workflows.evaluate import Evaluation


@click.command("evaluate")
@click.argument("models", nargs=-1, type=EXISTING_FILE, metavar="MODEL...")
@click.option(
    "--protocol",
    default=None,
    help="lfw, pairs, calfw, cplfw, cfp-fp, cfp-ff, bin, people, identification or templates; pairs for a "
    "--pairs FILE.csv, bin for --data FILE.bin, else lfw.",
)
@click.option("--data", type=EXISTING, default=None, help="Folder or pack of photos (or of aligned crops).")
@click.option("--pairs", type=EXISTING, default=None, help="The protocol's list.")
@click.option("--aligned", is_flag=True, help="The data holds finished 112-pixel ArcFace crops.")
@click.option("--flip", is_flag=True, help="Add the embedding of each crop's mirror image to the crop's.")
@click.option("--groups", type=EXISTING_FILE, default=None, help="CSV photo,group: error rates by group.")
@detector_option
@device_option
@json_option
@click.option("--roc", type=ANY_PATH, default=None, help="Draw the ROC into this picture (.png, .svg, .pdf).")
@click.option("--scores", type=ANY_PATH, default=None, help="Write score,label of each pair into this CSV.")
@click.option(
    "--from-scores", type=EXISTING_FILE, default=None, help="Judge this CSV score,label; needs no MODEL."
)
def command(
    models: tuple[Path, ...],
    protocol: str | None,
    data: Path | None,
    pairs: Path | None,
    aligned: bool,
    flip: bool,
    groups: Path | None,
    detector: str,
    device: str,
    as_json: bool,
    roc: Path | None,
    scores: Path | None,
    from_scores: Path | None,
) -> None:
    """Measure the accuracy of each MODEL, an ONNX file or a TOML file that lists several.

    \b
    Example: facekd evaluate student.onnx teacher.onnx --protocol lfw --data lfw.zip --pairs pairs.txt
             facekd evaluate student.onnx --pairs pairs.csv --data photos/ --json
             facekd evaluate student.onnx --protocol bin --data cfp_fp.bin --aligned
             facekd evaluate --from-scores scores.csv
    """
    from facekd.verification import open_protocol
    from facekd.verification.groups import read_groups
    from facekd.workflows.evaluate import (
        check_file,
        check_picture,
        draw,
        evaluate,
        evaluate_scores,
        find_list,
        write_model_scores,
    )

    if roc:
        check_picture(roc)
    if from_scores:
        if models or protocol or data or pairs or aligned or flip or groups or scores:
            raise click.UsageError(
                "--from-scores judges finished scores: give it alone, or with --roc, --json."
            )
        judged = evaluate_scores(from_scores)
        _answer(judged, as_json)
        if roc:
            draw(judged.figure(), roc)
        return
    if not models:
        raise click.UsageError("Missing argument 'MODEL...'.")
    if data is None:
        raise click.UsageError("Missing option '--data'.")
    if scores:
        check_file(scores)
        if len(models) > 1:
            raise click.UsageError("--scores writes the scores of one model: give one MODEL.")
    name = protocol or default_protocol(pairs, data)
    listed = pairs or find_list(name, data)
    if pairs is None and listed != data:
        say(f"list of pairs: {listed}")
    chosen = open_protocol(name, listed)
    if scores and chosen.compared is None:
        raise click.UsageError(f"--scores: protocol {name} keeps no score for each comparison.")
    with progress("evaluate", len(chosen.photos)) as advance:
        found = evaluate(
            models, chosen, data,
            detector=None if aligned else detector, device=device, flip=flip,
            groups=read_groups(groups) if groups else None, advance=advance,
        )  # fmt: skip
    for model in found.models:
        if not model.has_card:
            say(f"{model.file} has no card: read by insightface's convention (RGB, ArcFace template)")
    if roc:
        draw(found.figure(), roc)
        say(f"ROC drawn into {roc}")
    if scores:
        write_model_scores(scores, chosen, found.models[0].result)
        say(f"scores written to {scores}")
    say(f"{found.photos_per_second:.1f} photos/s, from file to the embeddings of all models")
    _answer(found, as_json)


def _answer(found: Evaluation[Result] | ScoreResult, as_json: bool) -> None:
    if as_json:
        answer_json(found.to_dict())
        return
    import sys

    from rich.console import Console

    # a pipe has no width of its own; 100 columns hold four models
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100).print(found)


def default_protocol(pairs: Path | None, data: Path) -> str:
    """The protocol that the names of the files suggest."""
    if pairs is not None:
        return "pairs" if pairs.suffix.lower() == ".csv" else "lfw"
    return "bin" if data.suffix.lower() == ".bin" else "lfw"
