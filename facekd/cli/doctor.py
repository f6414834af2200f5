"""Check this installation: libraries, detectors, models, folders, gallery, and one comparison."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli._defaults import EXAMINES, defaults_of
from facekd.cli.options import ANY_PATH, detector_option, device_option, gallery_option, json_option
from facekd.cli.output import answer, answer_json, say

if TYPE_CHECKING:
    from facekd.gallery import Place
    from facekd.workflows import Defaults


@click.command("doctor", context_settings={"obj": EXAMINES})
@click.option(
    "-m", "--model", "given", type=ANY_PATH, multiple=True,
    help="Check this model; repeatable. FACEKD_MODEL, the model in facekd.toml and the shipped student are "
    "always checked.",
)  # fmt: skip
@gallery_option
@detector_option
@device_option
@json_option
@click.pass_context
def command(
    context: click.Context, given: tuple[Path, ...], gallery: Place, detector: str, device: str, as_json: bool
) -> int:
    """Report what this installation contains, what is wrong with it and how to fix it.

    Each line is ok, a note (worth knowing) or a fault (a command will fail because of it). The last check
    detects and compares synthetic faces. No model or gallery is changed. The exit code is 0 if there is no
    fault, otherwise that of the most serious one: the code with which the affected commands would fail.

    \b
    Example: facekd doctor
             facekd doctor --model student.onnx --gallery staff.db --json
    """
    from facekd.reporting import checkup_lines, checkup_summary
    from facekd.workflows import DoctorSettings, check_up

    settings = DoctorSettings(_models(given, defaults_of(context)), gallery, detector, device)
    found = check_up(settings)
    if as_json:
        answer_json(found.to_dict() | {"gallery": str(gallery)})
    else:
        for line in checkup_lines(found):
            answer(line)
    say(checkup_summary(found))
    return found.exit_code


def _models(given: tuple[Path, ...], defaults: Defaults | None) -> tuple[tuple[str, Path], ...]:
    """The models to check, the one in use first, with the setting that names each."""
    from facekd.weights import shipped_model

    named = [("--model", path) for path in given]
    environment, shipped = os.environ.get("FACEKD_MODEL"), shipped_model()
    if environment:
        named.append(("FACEKD_MODEL", Path(environment)))
    if defaults is not None and defaults.model is not None:
        named.append((str(defaults.path), defaults.model))
    if shipped is not None:
        named.append(("ships with facekd", shipped))
    return tuple({path.absolute(): (origin, path) for origin, path in reversed(named)}.values())[::-1]
