"""Ratios, paired differences, the words they are told in, and JSON."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from made_up import make_benchmark

from facekd.benchmark import Benchmark, this_machine
from facekd.benchmark.results import paired_gap
from facekd.reporting import headlines, side_by_side
from facekd.reporting.number_words import amount, milliseconds, times


def test_ratios_are_in_the_students_favour(made: Benchmark) -> None:
    (compared,) = made.comparisons()
    assert compared.parameters == 4
    assert compared.macs == 1
    assert [setting for setting, _ in compared.faster] == list(made.settings)
    for _, ratio in compared.faster:
        assert ratio.median == pytest.approx(8, rel=0.05)
        assert ratio.low <= ratio.median <= ratio.high
    assert compared.gap is not None
    assert compared.gap.difference == pytest.approx(-30 / 2000)
    assert compared.gap.pairs == 2000


def test_the_interval_of_a_paired_difference_holds_what_it_promises() -> None:
    """Draw many samples from a known difference: about 95 in 100 intervals hold it."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        outcome = random.choice(4, size=600, p=[0.95, 0.03, 0.01, 0.01])
        gap = paired_gap(np.isin(outcome, (0, 1)), np.isin(outcome, (0, 2)))
        held += gap.low <= 0.01 - 0.03 <= gap.high
    assert 930 <= held <= 985


def test_equal_decisions_leave_an_interval_of_some_width() -> None:
    right = np.ones(3000, bool)
    gap = paired_gap(right, right)
    assert gap.difference == 0
    assert -0.002 < gap.low < 0 < gap.high < 0.002


def test_only_pairs_that_both_completed_are_compared(made: Benchmark) -> None:
    teacher, student = made.models
    assert student.accuracy is not None
    # the 40 pairs that the student got wrong had no score
    completed = student.accuracy.completed.copy()
    completed[:40] = False
    changed = replace(student, accuracy=replace(student.accuracy, completed=completed))
    (compared,) = replace(made, models=(teacher, changed)).comparisons()
    assert compared.gap is not None
    assert (compared.gap.difference, compared.gap.pairs) == (0, 1960)


def test_the_headline_says_all_three_things(made: Benchmark) -> None:
    (sentence,) = headlines(made)
    assert sentence.startswith("small is 4.0 times smaller than big (parameters), 8")
    assert "times faster (one crop, one thread)" in sentence
    assert "1.50 points less accurate on lfw (95" in sentence
    assert "no difference" not in sentence
    worse = replace(made, models=made.models[::-1])
    (sentence,) = headlines(worse)
    assert "4.0 times larger" in sentence
    assert "times slower" in sentence
    assert "1.50 points more accurate" in sentence


def test_without_data_the_headline_says_so() -> None:
    (sentence,) = headlines(make_benchmark(measured=False))
    assert sentence.endswith("its accuracy was not measured.")


def test_the_table_has_a_column_for_every_model_and_a_cell_for_every_rate(made: Benchmark) -> None:
    table = side_by_side(made)
    assert table.columns == ("", "big (teacher)", "small (student)")
    rows = {row[0]: row[1:] for row in table.rows}
    assert {len(cells) for cells in rows.values()} == {2}
    assert [c.text for c in rows["Parameters"]] == ["4.00\u00a0M", "1.00\u00a0M"]
    assert rows["Parameters"][1].note == "4.0 times smaller"
    assert rows["File"][1].note == "the same"
    assert [c.text for c in rows["Accuracy"]] == ["99.50\u202f%", "98.00\u202f%"]
    assert rows["TAR at FMR 0.0001, all pairs"][0].text == "insufficient data"


def test_json(made: Benchmark) -> None:
    document = json.loads(json.dumps(made.to_dict()))
    assert set(document) == {"machine", "device", "crops", "protocol", "models", "comparisons"}
    teacher, student = document["models"]
    assert (teacher["role"], student["role"]) == ("teacher", "student")
    assert student["parameters"] == 1_000_000
    assert student["peak_bytes"] == 32_000_000
    assert len(student["timings"]) == 4
    one = student["timings"][0]
    assert (one["threads"], one["batch"], one["calls"]) == (1, 1, 100)
    assert one["crops_per_second"] == pytest.approx(1 / one["median_seconds"])
    assert student["rates"][1]["value"] is None
    assert document["comparisons"][0]["times_smaller"]["parameters"] == 4
    assert "hardest" not in json.dumps(document), "names of photos stay on the page"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(2_242_684, "", "2.24 M"), (999_600, "", "1.00 M"), (98.35e6, "B", "98.3 MB"), (1.5e9, "", "1.50 G"),
     (512, "B", "512 B"), (12, "", "12")],
)  # fmt: skip
def test_amounts(value: float, unit: str, text: str) -> None:
    assert amount(value, unit).replace("\u00a0", " ") == text


def test_times_and_milliseconds() -> None:
    assert times(2.2, "smaller", "larger") == "2.2 times smaller"
    assert times(0.5, "smaller", "larger") == "2.0 times larger"
    assert times(1.04, "faster", "slower") == "1.04 times faster"
    assert "nan" not in times(math.nan, "smaller", "larger")
    assert milliseconds(0.0131).replace("\u00a0", " ") == "13.1 ms"


def test_the_machine_is_described_without_its_name() -> None:
    import platform

    machine = this_machine()
    told = " ".join(str(value) for value in vars(machine).values())
    assert machine.processor
    assert machine.cores >= 1
    assert platform.node() not in told.split()
    assert "/" not in told.replace("GNU/Linux", "")
