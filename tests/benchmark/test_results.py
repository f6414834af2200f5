"""Ratios, paired differences, their wording, and JSON."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import make_benchmark, make_result

from facekd.benchmark import MEASUREMENTS, Benchmark, Gap, MeasuredRow, Ratio, measurement, this_machine
from facekd.reporting import headlines, side_by_side, write_benchmark_page
from facekd.reporting.number_words import amount, milliseconds, times
from facekd.verification import compare_models
from facekd.verification.results import PairResult


def test_ratios_are_in_the_students_favour(made: Benchmark) -> None:
    (compared,) = made.comparisons()
    assert compared.times_smaller["parameters"] == 4
    assert compared.times_smaller["macs"] == 1
    assert [setting for setting, _ in compared.faster] == list(made.settings)
    for _, ratio in compared.faster:
        assert ratio.median == pytest.approx(8, rel=0.05)
        assert ratio.low <= ratio.median <= ratio.high
    assert compared.gap is not None
    assert compared.gap.difference == pytest.approx(-30 / 2000)
    assert compared.gap.pairs == 2000


def clustered(random: np.random.Generator, persons: int = 60, each: int = 20) -> tuple[PairResult, ...]:
    """Teacher and student on ``each`` mated pairs of every person; each gets all pairs of a person right or
    none of them, the teacher those of 95, the student those of 90 persons in 100."""
    of = np.repeat(np.arange(persons), each)
    made = make_result(0, 0, of.size)
    people = np.stack([of, of], axis=1)
    return tuple(
        replace(
            made,
            right=(random.random(persons) < chance)[of],
            mated=np.ones(of.size, bool),
            pair_people=people,
        )
        for chance in (0.95, 0.90)
    )


def independent(teacher: np.ndarray, student: np.ndarray) -> tuple[float, float]:
    """The adjusted Wald interval for matched pairs that share nobody (Agresti and Min, Statistics in
    Medicine 2005), to compare with."""
    lost, won = int((teacher & ~student).sum()), int((~teacher & student).sum())
    count = teacher.size + 2
    centre = (won - lost) / count
    half = 1.96 * math.sqrt((won + lost + 1) - (won - lost) ** 2 / count) / count
    return centre - half, centre + half


def test_the_interval_of_the_gap_holds_what_it_promises_where_pairs_share_persons() -> None:
    """Draw many samples from a known difference: about 95 in 100 intervals hold it. An interval that takes
    pairs for independent holds it half as often."""
    random = np.random.default_rng(0)
    held, held_if_independent = 0, 0
    for _ in range(400):
        teacher, student = clustered(random)
        gap = Gap.of(compare_models("t", teacher, "s", student))
        assert gap.low is not None
        held += gap.low <= -0.05 <= gap.high
        low, high = independent(teacher.right, student.right)
        held_if_independent += low <= -0.05 <= high
    assert 365 <= held <= 394
    assert held_if_independent < 200


def test_the_gap_is_the_difference_that_an_evaluation_states() -> None:
    teacher, student = clustered(np.random.default_rng(7))
    paired = compare_models("t", teacher, "s", student)
    (stated,) = paired.differences
    assert Gap.of(paired) == Gap(
        pytest.approx(student.right.mean() - teacher.right.mean()),
        stated.interval.low, stated.interval.high, teacher.right.size, "t over identities",
    )  # fmt: skip


def test_equal_decisions_leave_an_interval_of_some_width() -> None:
    result = make_result(0, 0, pairs=3000)
    gap = Gap.of(compare_models("t", result, "s", result))
    assert gap.difference == 0
    assert -0.003 < gap.low < 0 < gap.high < 0.003


def test_without_persons_there_is_a_difference_and_no_interval(made: Benchmark) -> None:
    one, other = (replace(model.result, pair_people=None) for model in made.models)
    gap = Gap.of(compare_models("big", one, "small", other))
    assert (gap.difference, gap.low, gap.high) == (pytest.approx(-30 / 2000), None, None)
    changed = replace(made, models=(made.teacher, replace(made.students[0], gap=gap)))
    (sentence,) = headlines(changed)
    assert (
        "1.50 points less accurate on lfw (2,000 pairs of unknown people, therefore without an interval)"
        in sentence
    )
    assert json.loads(json.dumps(changed.to_dict()))["comparisons"][0]["accuracy"]["low"] is None


def test_a_row_declared_once_stands_in_both_tables_and_in_json(
    made: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facekd.benchmark.measurements.MEASUREMENTS", [*MEASUREMENTS])

    @measurement
    def density(models, device):
        yield MeasuredRow(
            "Weight of a parameter", lambda m: m.counts.file_bytes / m.counts.parameters, "B",
            "bytes_per_parameter", Ratio("bytes_per_parameter", "lighter", "heavier"),
        )  # fmt: skip

    row = side_by_side(made).rows[-1]
    assert (row[0], row[1].text, row[2].text) == ("Weight of a parameter", "2\u00a0B", "9\u00a0B")
    assert row[2].note == "4.0 times heavier"
    page = write_benchmark_page(tmp_path / "r.html", made).read_text(encoding="utf-8")
    assert "Weight of a parameter" in page
    assert "4.0 times heavier" in page
    document = made.to_dict()
    assert [m["bytes_per_parameter"] for m in document["models"]] == [9.15 / 4, 9.15]
    assert document["comparisons"][0]["times_smaller"]["bytes_per_parameter"] == 1 / 4


def test_the_headline_says_all_three_things(made: Benchmark) -> None:
    (sentence,) = headlines(made)
    assert sentence.startswith("small is 4.0 times smaller than big (parameters), 8")
    assert "times faster (one crop, one thread)" in sentence
    assert "1.50 points less accurate on lfw (2,000 pairs; 95" in sentence
    assert "no difference" not in sentence
    teacher, student = made.models[::-1]
    gap = Gap.of(compare_models("small", teacher.result, "big", student.result))
    worse = replace(made, models=(teacher, replace(student, gap=gap)))
    (sentence,) = headlines(worse)
    assert "4.0 times larger" in sentence
    assert "times slower" in sentence
    assert "1.50 points more accurate" in sentence


def test_without_data_the_headline_says_so() -> None:
    (sentence,) = headlines(make_benchmark(measured=False))
    assert sentence.endswith("its accuracy was not measured.")


def test_the_table_has_a_column_for_every_model_and_a_cell_for_every_rate(made: Benchmark) -> None:
    table = side_by_side(made)
    assert table.columns == ("Measure", "big (teacher)", "small (student)")
    rows = {row[0]: row[1:] for row in table.rows}
    assert {len(cells) for cells in rows.values()} == {2}
    assert [c.text for c in rows["Parameters"]] == ["4.00\u00a0M", "1.00\u00a0M"]
    assert rows["Parameters"][1].note == "4.0 times smaller"
    assert rows["File"][1].note == "the same"
    assert [c.text for c in rows["Accuracy"]] == ["99.50\u202f%", "98.00\u202f%"]
    assert rows["TAR at FMR 0.0001, listed pairs"][0].text == "insufficient data"


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
    assert student["rates"][-1]["value"] is None
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
