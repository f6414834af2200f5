"""Evaluate existing scores, from any source, without a model.

The scores are a CSV with the columns score and label, as 'facekd evaluate --scores' writes them.
"""

from __future__ import annotations

from pathlib import Path

import click

from facekd.cli._evaluation import OutputFiles, print_answer
from facekd.cli.options import EXISTING_FILE, csv_option, json_option, plot_option, report_option


@click.command("evaluate-scores")
@click.argument("scores", metavar="CSV", type=EXISTING_FILE)
@json_option
@plot_option
@report_option
@csv_option
def command(scores: Path, as_json: bool, plot: Path | None, report: Path | None, table: Path | None) -> None:
    """Evaluate the scores in CSV, whose header names the columns score and label.

    The label is 1 for the same person and 0 for different people; a failed comparison has an empty score.

    \b
    Example: facekd evaluate-scores scores.csv
             facekd evaluate-scores scores.csv --report scores.html --json
    """
    from facekd.reporting import figure, write_scores_page
    from facekd.workflows import evaluate_scores

    files = OutputFiles(plot, report, table)
    files.check()
    judged = evaluate_scores(scores)
    files.write({scores.stem: judged}, lambda: figure(judged), lambda page: write_scores_page(page, judged))
    print_answer(judged, as_json)
