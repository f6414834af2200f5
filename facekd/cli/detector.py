"""Write a detector's files, for machines where its package is not installed."""

from __future__ import annotations

from pathlib import Path

import click

from facekd.cli.options import ANY_PATH
from facekd.cli.output import answer, say


@click.group("detector")
def command() -> None:
    """Manage the files of face detectors."""


@command.command("export")
@click.argument("folder", metavar="DIR", type=ANY_PATH)
def export(folder: Path) -> None:
    """Write MTCNN's three networks to DIR as ONNX files, for --detector mtcnn:DIR.

    They are converted from the installed facenet-pytorch; the machine that uses the files
    needs neither it nor torch.

    \b
    Example: facekd detector export mtcnn
             facekd align photos crops --detector mtcnn:mtcnn
    """
    from facekd.preprocess.detectors import export_mtcnn

    export_mtcnn(folder)
    answer(str(folder))
    say(f"use it with --detector mtcnn:{folder}")
