"""The figures that begin a page are those of the tables behind it."""

from __future__ import annotations

import re

from shown_commands import ROOT

METHODS = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
#: what the first two tables call a row of the large one
SAME_ROW = {
    "start from the channels of a larger student": "cosine, started from a larger one",
    "use that larger student as the teacher (an assistant)": "cosine, taught by an assistant",
    "join two teachers (recipe `several_teachers`)": "two teachers, joined",
    "use the cosine through a projector (`always = true`)": "cosine, through a projector",
    "train on crops without augmentation": "cosine, clean views",
    "add FitNet hints to the cosine, at 0.7 of the speed": "cosine + FitNet",
    "add frozen prototypes to the cosine": "cosine + frozen prototypes",
    "replace the cosine by the MSE of raw embeddings": "MSE, raw",
    "replace it by AdaDistill": "AdaDistill",
    "train from labels without a teacher": "no distillation",
    "replace it by Hinton's logit distillation over class means": "Hinton KD",
    "replace it by DKD with its published weights": "DKD",
}


def cells_of(first: str) -> list[str]:
    (row,) = (line for line in METHODS.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in row.strip("| ").split(" | ")]


def numbers_in(cell: str) -> list[float]:
    return [float(number) for number in re.findall(r"[+-]?\d+\.\d+", cell)]


def test_the_worth_of_each_method_is_that_of_its_row() -> None:
    for shown, row in SAME_ROW.items():
        accuracy, tar = (numbers_in(cells_of(row)[column]) for column in (4, 6))
        for cell, exact in zip(cells_of(shown)[1:3], (tar, accuracy), strict=True):
            assert len(numbers_in(cell)) == 3
            # the large table is rounded to two places, so a half may have been rounded either way
            assert all(abs(a - b) <= 0.0501 for a, b in zip(numbers_in(cell), exact, strict=True)), shown


def test_every_row_at_the_top_is_checked() -> None:
    top = METHODS.split("## How it was measured")[0]
    rows = re.findall(r"^\| (?!change|not recommended|---)(.+?) \|", top, re.MULTILINE)
    assert set(rows) - SAME_ROW.keys() == {
        "train longer",
        "replace it by RKD or SP, in batches of different people",
    }
