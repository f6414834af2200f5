"""Measure how well models tell people apart, on a published protocol or your own pairs.

Photos are aligned on the way; photos without a face count as failures to acquire and are
reported. Several models stand side by side, the others compared with the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

import click
from click.core import ParameterSource

from facekd.cli.options import (
    ANY_PATH,
    EXISTING,
    EXISTING_FILE,
    MODEL_FILE,
    detector_option,
    device_option,
    json_option,
    model_option,
    protocol_option,
)
from facekd.cli.output import answer_json, progress, say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from facekd.verification.protocols import Protocol
    from facekd.verification.results import Evaluation, GalleryResult, Result


@click.command("evaluate")
@click.argument("models", nargs=-1, type=MODEL_FILE, metavar="MODEL...")
@protocol_option()
@click.option("--data", type=EXISTING, default=None, help="Folder or pack of photos (or of aligned crops).")
@click.option("--pairs", type=EXISTING, default=None, help="The protocol's list.")
@click.option("--aligned", is_flag=True, help="The data holds finished 112-pixel ArcFace crops.")
@click.option("--flip", is_flag=True, help="Add the embedding of each crop's mirror image to the crop's.")
@click.option("--groups", type=EXISTING_FILE, default=None, help="CSV photo,group: error rates by group.")
@click.option(
    "--without", type=EXISTING_FILE, default=None, help="Leave out the persons in this file, one a line."
)
@detector_option
@device_option
@json_option
@click.option("--roc", type=ANY_PATH, default=None, help="Draw the ROC into this picture (.png, .svg, .pdf).")
@click.option(
    "--report", type=ANY_PATH, default=None, help="Write a page of all of it, with faces, here (.html)."
)
@click.option("--csv", "table", type=ANY_PATH, default=None, help="Write every number: model,measure,value.")
@click.option("--scores", type=ANY_PATH, default=None, help="Write score,label of each pair into this CSV.")
@click.option(
    "--from-scores", type=EXISTING_FILE, default=None, help="Judge this CSV score,label; needs no MODEL."
)
@click.option("--cross", is_flag=True, help="Also compare photos of one MODEL with photos of the other.")
@click.option(
    "--write-compatible", is_flag=True, help="With --cross: note in both cards that the models fit, if so."
)
@click.option("--gallery", type=ANY_PATH, default=None, help="Judge this gallery, with --probes and --model.")
@click.option("--probes", type=EXISTING, default=None, help="Folder per person of photos for --gallery.")
@model_option(required=False)
def command(
    models: tuple[Path, ...],
    protocol: str | None,
    data: Path | None,
    pairs: Path | None,
    aligned: bool,
    flip: bool,
    groups: Path | None,
    without: Path | None,
    detector: str,
    device: str,
    as_json: bool,
    roc: Path | None,
    report: Path | None,
    table: Path | None,
    scores: Path | None,
    from_scores: Path | None,
    cross: bool,
    write_compatible: bool,
    gallery: Path | None,
    probes: Path | None,
    model: Path | None,
) -> None:
    """Measure the accuracy of each MODEL, an ONNX file or a TOML file that lists several.

    \b
    Example: facekd evaluate student.onnx teacher.onnx --protocol lfw --data lfw.zip --pairs pairs.txt
             facekd evaluate student.onnx --pairs pairs.csv --data photos/ --json
             facekd evaluate student.onnx --data lfw.zip --pairs pairs.txt --without people.txt
             facekd evaluate student.onnx --protocol bin --data cfp_fp.bin --aligned
             facekd evaluate --from-scores scores.csv
             facekd evaluate student.onnx teacher.onnx --cross --data lfw.zip --pairs pairs.txt
             facekd evaluate --gallery staff.db --probes people/ --model student.onnx
    """
    from facekd.verification import HARDEST, read_groups
    from facekd.workflows import evaluate_models

    files = _Files(roc, report, table, scores)
    files.check()
    of_protocol = protocol or data or pairs or flip or groups or without or scores or cross
    if from_scores:
        if models or of_protocol or aligned or gallery:
            raise click.UsageError(
                "--from-scores judges finished scores: give it alone, or with --roc, --report, --csv, --json."
            )
        _judge_scores(from_scores, files, as_json)
        return
    if gallery or probes:
        if models or of_protocol or write_compatible:
            raise click.UsageError(
                "--gallery goes with --probes and --model, --aligned, --detector, --device, --roc, --report, "
                "--csv and --json."
            )
        _judge_gallery(gallery, probes, model, None if aligned else detector, device, files, as_json)
        return
    if model and click.get_current_context().get_parameter_source("model") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--model goes with --gallery; other models are named without it.")
    if not models:
        raise click.UsageError("Missing argument 'MODEL...'.")
    if data is None:
        raise click.UsageError("Missing option '--data'.")
    if scores and len(models) > 1:
        raise click.UsageError("--scores writes the scores of one model: give one MODEL.")
    chosen = read_protocol(protocol, pairs, data, without)
    if scores and chosen.compared is None:
        raise click.UsageError(f"--scores: protocol {chosen.name} keeps no score for each comparison.")
    finder = None if aligned else detector
    if cross or write_compatible:
        if groups or scores or not cross:
            raise click.UsageError("--cross goes with --write-compatible, and not --groups, --scores.")
        _judge_cross(models, chosen, data, finder, device, flip, write_compatible, files, as_json)
        return
    with progress("evaluate", len(chosen.photos)) as advance:
        found = evaluate_models(
            models, chosen, data, detector=finder, device=device, flip=flip,
            groups=read_groups(groups) if groups else None, hardest=HARDEST if report else 0,
            advance=advance,
        )  # fmt: skip
    _tell_cards(found)
    files.write(chosen, found, finder)
    say(f"{found.photos_per_second:.1f} photos/s, from file to the embeddings of all models")
    print_answer(found, as_json)


@dataclass(frozen=True)
class _Files:
    """What is written beside the answer."""

    roc: Path | None
    report: Path | None
    table: Path | None
    scores: Path | None

    def check(self) -> None:
        """Refuse what cannot be written, before hours go into its content."""
        from facekd.reporting import check_file, check_page, check_picture

        if self.roc:
            check_picture(self.roc)
        if self.report:
            check_page(self.report)
        for path in (self.table, self.scores):
            if path:
                check_file(path)

    def show(
        self,
        results: Mapping[str, Result | GalleryResult],
        figure: Callable[[], Figure],
        page: Callable[[Path], object],
    ) -> None:
        """Draw the ``figure``, write the ``page`` and the numbers of the ``results``, where they were asked
        for."""
        from facekd.reporting import draw, write_numbers

        if self.roc:
            draw(figure(), self.roc)
            say(f"ROC drawn into {self.roc}")
        if self.report:
            page(self.report)
            say(f"page written to {self.report}")
        if self.table:
            write_numbers(self.table, {name: result.to_dict() for name, result in results.items()})
            say(f"numbers written to {self.table}")

    def write(self, protocol: Protocol[Any], found: Evaluation[Any], detector: str | None) -> None:
        from facekd.reporting import figure, write_evaluation_page
        from facekd.workflows import faces_of_hardest, write_model_scores

        self.show(
            found.results(),
            lambda: figure(found),
            lambda path: write_evaluation_page(path, found, faces_of_hardest(found, detector)),
        )
        if self.scores:
            write_model_scores(self.scores, protocol, found.models[0].result)
            say(f"scores written to {self.scores}")


def _judge_scores(path: Path, files: _Files, as_json: bool) -> None:
    from facekd.reporting import figure, write_scores_page
    from facekd.workflows import evaluate_scores

    judged = evaluate_scores(path)
    files.show({path.stem: judged}, lambda: figure(judged), lambda page: write_scores_page(page, judged))
    print_answer(judged, as_json)


def _judge_gallery(
    gallery: Path | None,
    probes: Path | None,
    model: Path | None,
    detector: str | None,
    device: str,
    files: _Files,
    as_json: bool,
) -> None:
    from facekd.reporting import figure, write_gallery_page
    from facekd.workflows import evaluate_gallery

    if gallery is None or probes is None or model is None:
        raise click.UsageError("a gallery is judged with --gallery FILE, --probes DIR and --model MODEL.")
    with progress("evaluate", None) as advance:
        found = evaluate_gallery(model, gallery, probes, detector=detector, device=device, advance=advance)
    if not found.has_card:
        say(f"{model} has no card: read by insightface's convention (RGB, ArcFace template)")
    for note in found.notes:
        say(f"note: {note}")
    files.show(
        {found.model: found.result}, lambda: figure(found), lambda path: write_gallery_page(path, found)
    )
    print_answer(found, as_json)


def _judge_cross(
    models: tuple[Path, ...],
    protocol: Protocol[Result],
    data: Path,
    detector: str | None,
    device: str,
    flip: bool,
    write: bool,
    files: _Files,
    as_json: bool,
) -> None:
    from facekd.reporting import figure, write_compatibility_page
    from facekd.workflows import check_writable, evaluate_compatibility, write_compatible

    if write:
        check_writable(models)
    with progress("evaluate", len(protocol.photos)) as advance:
        found = evaluate_compatibility(
            models, protocol, data, detector=detector, device=device, flip=flip, advance=advance
        )
    _tell_cards(found.alone)
    files.show(found.results(), lambda: figure(found), lambda path: write_compatibility_page(path, found))
    print_answer(found, as_json)
    if write:
        for line in write_compatible(found):
            say(line)


def read_protocol(
    name: str | None, pairs: Path | None, data: Path, without: Path | None = None
) -> Protocol[Result]:
    """The protocol that was named or that the files' names suggest, with its list, and ``without`` the
    persons in that file; tells which list it found by itself, and which of the persons are not there."""
    from facekd.verification.protocols import open_protocol, suggest_protocol
    from facekd.workflows import find_list, leave_out

    name = name or suggest_protocol(pairs, data)
    listed = pairs or find_list(name, data)
    if pairs is None and listed != data:
        say(f"list of pairs: {listed}")
    protocol = open_protocol(name, listed)
    if without is None:
        return protocol
    rest = leave_out(protocol, without)
    if rest.left_out and rest.left_out.unknown:
        unknown = rest.left_out.unknown
        more = f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else ""
        say(f"{without}: no photo is of {len(unknown):,} of its persons: {', '.join(unknown[:5])}{more}")
    return rest


def _tell_cards(found: Evaluation[Any]) -> None:
    for model in found.models:
        if not model.has_card:
            say(f"{model.file} has no card: read by insightface's convention (RGB, ArcFace template)")
        if model.trained_on_data:
            say(f"note: {model.file} was trained on {found.data}: this says little of people it has not seen")


class _Answer(Interface):
    """What serialises, and of which `reporting` makes tables."""

    def to_dict(self) -> dict[str, Any]: ...


def print_answer(found: _Answer, as_json: bool, columns: int = 100) -> None:
    """Print ``found`` on stdout, as tables or as one JSON document; ``columns`` is the width where
    stdout has none of its own."""
    if as_json:
        answer_json(found.to_dict())
        return
    import sys

    from rich.console import Console

    from facekd.reporting import table

    # 100 columns hold four models
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else columns).print(table(found))
