"""Measure how well models tell people apart, on a published protocol or your own pairs.

Photos are aligned first; photos without a face count as failures to acquire and are
reported. Several models are shown side by side, each compared with the first.
"""

from __future__ import annotations

from pathlib import Path

import click

from facekd.cli._evaluation import OutputFiles, print_answer, read_protocol, tell_cards
from facekd.cli._old_spellings import OldSpellings
from facekd.cli.options import (
    ANY_PATH,
    EXISTING_FILE,
    MODEL_FILE,
    aligned_option,
    csv_option,
    detector_option,
    device_option,
    flip_option,
    json_option,
    pairs_option,
    photos_option,
    plot_option,
    protocol_option,
    report_option,
    root_option,
    without_option,
)
from facekd.cli.output import progress, say


@click.command("evaluate", cls=OldSpellings)
@click.argument("models", nargs=-1, required=True, type=MODEL_FILE, metavar="MODEL...")
@protocol_option()
@photos_option
@pairs_option
@root_option
@aligned_option
@flip_option
@click.option(
    "--groups", type=EXISTING_FILE, default=None, help="CSV photo,group, to report error rates by group."
)
@without_option
@detector_option
@device_option
@json_option
@plot_option
@report_option
@csv_option
@click.option("--scores", type=ANY_PATH, default=None, help="Write score,label of each pair to this CSV.")
def command(
    models: tuple[Path, ...],
    protocol: str | None,
    data: Path,
    pairs: Path | None,
    root: str | None,
    aligned: bool,
    flip: bool,
    groups: Path | None,
    without: Path | None,
    detector: str,
    device: str,
    as_json: bool,
    plot: Path | None,
    report: Path | None,
    table: Path | None,
    scores: Path | None,
) -> None:
    """Measure the accuracy of each MODEL, an ONNX file or a TOML file that lists several.

    The --report page shows the faces of the hardest comparisons. For existing scores, use
    'facekd evaluate-scores'; for two models together, 'facekd compatibility'; for a gallery,
    'facekd gallery evaluate'.

    \b
    Example: facekd evaluate student.onnx teacher.onnx --protocol lfw --data lfw.zip --pairs pairs.txt
             facekd evaluate student.onnx --pairs pairs.csv --data photos/ --json
             facekd evaluate student.onnx --data lfw.zip --pairs pairs.txt --without people.txt
             facekd evaluate student.onnx --protocol bin --data cfp_fp.bin --aligned
    """
    from facekd.reporting import check_file, figure, write_evaluation_page
    from facekd.verification import HARDEST, read_groups
    from facekd.workflows import evaluate_models, faces_of_hardest, write_model_scores

    files = OutputFiles(plot, report, table)
    files.check()
    if scores:
        check_file(scores)
        if len(models) > 1:
            raise click.UsageError("--scores writes the scores of one model: give one MODEL.")
    chosen = read_protocol(protocol, pairs, data, without, root)
    if scores and chosen.compared is None:
        raise click.UsageError(
            f"--scores: protocol {chosen.name} does not keep the score of each comparison."
        )
    finder = None if aligned else detector
    with progress("evaluate", len(chosen.photos)) as advance:
        found = evaluate_models(
            models, chosen, data, detector=finder, device=device, flip=flip,
            groups=read_groups(groups) if groups else None, hardest=HARDEST if report else 0,
            advance=advance,
        )  # fmt: skip
    tell_cards(found)
    files.write(
        found.results(),
        lambda: figure(found),
        lambda page: write_evaluation_page(page, found, faces_of_hardest(found, finder)),
    )
    if scores:
        write_model_scores(scores, chosen, found.models[0].result)
        say(f"scores written to {scores}")
    say(f"{found.photos_per_second:.1f} photos/s, from file to the embeddings of all models")
    print_answer(found, as_json)
