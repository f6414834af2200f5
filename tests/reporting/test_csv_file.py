"""Results as lines of a CSV."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from facekd.errors import InputOutput
from facekd.reporting import write_numbers
from facekd.reporting.csv_file import flattened

DOCUMENT = {
    "accuracy": {"mean": 0.1 + 0.2, "interval": {"low": 0.25, "high": None}},
    "points": [{"fmr": 1e-3, "tar": 0.5}, {"fmr": 1e-4, "tar": None}],
    "twins": [{"fmr": 0.1, "rank": 1}, {"fmr": 0.1, "rank": 2}],
    "mixed": [{"fmr": 0.1}, {"other": 3}],
    "matrix": [[1, 2], [3, 4]],
    "said": ["a, b", True],
    "empty": [],
}


def test_each_value_has_one_way_to_it() -> None:
    found = list(flattened(DOCUMENT))
    assert found == [
        ("accuracy.mean", 0.1 + 0.2),
        ("accuracy.interval.low", 0.25),
        ("accuracy.interval.high", None),
        ("points[fmr=0.001].fmr", 1e-3),
        ("points[fmr=0.001].tar", 0.5),
        ("points[fmr=0.0001].fmr", 1e-4),
        ("points[fmr=0.0001].tar", None),
        ("twins[rank=1].fmr", 0.1),
        ("twins[rank=1].rank", 1),
        ("twins[rank=2].fmr", 0.1),
        ("twins[rank=2].rank", 2),
        ("mixed[0].fmr", 0.1),
        ("mixed[1].other", 3),
        ("matrix[0][0]", 1),
        ("matrix[0][1]", 2),
        ("matrix[1][0]", 3),
        ("matrix[1][1]", 4),
        ("said[0]", "a, b"),
        ("said[1]", True),
    ]
    assert len({measure for measure, _ in found}) == len(found)


def test_a_file_is_read_again_to_the_last_digit(tmp_path: Path) -> None:
    write_numbers(tmp_path / "n.csv", {"one": DOCUMENT, "the, other": {"x": 1 / 3}})
    with (tmp_path / "n.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["model", "measure", "value"]
    assert len(rows) == len(list(flattened(DOCUMENT))) + 1
    values = {(model, measure): value for model, measure, value in rows}
    assert float(values["one", "accuracy.mean"]) == 0.1 + 0.2
    assert float(values["the, other", "x"]) == 1 / 3
    assert values["one", "accuracy.interval.high"] == ""
    assert values["one", "said[0]"] == "a, b"
    assert values["one", "said[1]"] == "1"


def test_no_folder_to_write_in(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputOutput):
        write_numbers(tmp_path / "file" / "n.csv", {})
