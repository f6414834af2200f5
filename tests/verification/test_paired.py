"""Two models on the same pairs, and how results look."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from facekd.errors import UsageError
from facekd.reporting import figure, results_figure, results_table, table, table_notes
from facekd.verification import compare_models
from facekd.verification.curves import all_pairs_curve
from facekd.verification.paired import mcnemar
from facekd.verification.protocols import open_protocol
from facekd.verification.results import PairResult


def _result(tmp_path: Path, noise: float, people: int = 60, name: str = "pairs.csv") -> PairResult:
    rows = ["path1,path2,label"]
    rows += [f"p{n}/{a}.jpg,p{n}/{b}.jpg,1" for n in range(people) for a, b in ((0, 1), (2, 3))]
    rows += [f"p{n}/0.jpg,p{(n + step) % people}/1.jpg,0" for step in (1, 2) for n in range(people)]
    path = tmp_path / name
    path.write_text("\n".join(rows))

    def embed(names: tuple[str, ...]) -> np.ndarray:
        random = np.random.default_rng(1)
        centres = random.normal(size=(people, 24))
        who = [int(photo.split("/")[0][1:]) for photo in names]
        return centres[who] + noise * random.normal(size=(len(who), 24))

    return open_protocol("pairs", path).evaluate(embed)


def _printed(thing: object, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(thing)
    return out.getvalue()


@pytest.mark.parametrize(("one", "other"), [(0, 0), (0, 1), (3, 3), (4, 9), (0, 12), (30, 11)])
def test_mcnemar_is_the_exact_binomial_test(one: int, other: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(one, one + other).pvalue if one + other else 1
    assert mcnemar(one, other) == pytest.approx(expected, abs=1e-12)


def test_the_sentence_says_who_is_behind_and_whether_it_may_be_chance(tmp_path: Path) -> None:
    good, bad = _result(tmp_path, 0.3), _result(tmp_path, 2.0)
    found = compare_models("teacher", good, "student", bad)
    assert found.other_errors - found.reference_errors == found.only_other - found.only_reference
    assert found.reference_errors == (~good.right).sum()
    assert "student is" in found.sentence
    assert "points below teacher" in found.sentence
    assert "more than chance" in found.sentence
    assert "above student" in compare_models("student", bad, "teacher", good).sentence
    same = compare_models("teacher", good, "copy", good)
    assert same.p_value == 1
    assert "level with" in same.sentence


def test_the_sentence_has_the_interval_of_the_difference(tmp_path: Path) -> None:
    good, bad = _result(tmp_path, 0.9, people=150), _result(tmp_path, 1.3, people=150)
    found = compare_models("teacher", good, "student", bad)
    assert [d.measure for d in found.differences] == ["accuracy", "TAR@FMR 0.001, all pairs"]
    accuracy, tar = found.differences
    assert accuracy.value == pytest.approx(bad.right.mean() - good.right.mean(), abs=1e-12)
    assert tar.value == pytest.approx(bad.everyone.tar_at(1e-3) - good.everyone.tar_at(1e-3), abs=1e-12)
    for difference in found.differences:
        low, high = 100 * difference.interval.low, 100 * difference.interval.high
        assert low < 100 * difference.value < high < 0
        told = f"{-100 * difference.value:.2f} points below teacher"
        assert f"{told} (95 % interval {-high:.2f} to {-low:.2f})" in found.sentence
    assert "TAR@FMR 0.001, all pairs: " in found.sentence
    stored = json.loads(json.dumps(found.to_dict()))
    assert stored["differences"][1]["interval"]["low"] == tar.interval.low
    assert stored["sentence"] == found.sentence
    # the other way round, the same numbers with the other sign
    turned = compare_models("student", bad, "teacher", good).differences[1]
    assert turned.value == pytest.approx(-tar.value, abs=1e-12)
    assert turned.interval.high == pytest.approx(-tar.interval.low, abs=1e-12)


def test_a_list_without_persons_has_no_difference_but_a_test(tmp_path: Path) -> None:
    # the folder says a, the pairs say two persons
    rows = [f"a/{n}.jpg,a/{n + 40}.jpg,{n % 2}" for n in range(40)]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(["path1,path2,label", *rows]))
    random = np.random.default_rng(0)
    one, other = (
        open_protocol("pairs", path).evaluate(lambda names: random.normal(size=(len(names), 8)))
        for _ in range(2)
    )
    found = compare_models("teacher", one, "student", other)
    assert found.differences == ()
    assert "interval" not in found.sentence
    assert "McNemar" in found.sentence or "level with" in found.sentence


def test_only_the_same_pairs_can_be_compared(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="same list"):
        compare_models("a", _result(tmp_path, 1), "b", _result(tmp_path, 1, people=50, name="other.csv"))


def test_results_print_with_interval_counts_and_what_is_insufficient(tmp_path: Path) -> None:
    results = {"teacher": _result(tmp_path, 0.8), "student": _result(tmp_path, 1.4)}
    text = _printed(results_table(results))
    for word in (
        "teacher",
        "student",
        "AUC",
        "EER",
        "TAR@FMR 0.01, listed pairs",
        "photos without embedding",
    ):
        assert word in text
    assert f"{100 * results['student'].accuracy.mean:.2f}" in text
    assert "insufficient data" in text
    told = " ".join(table_notes(results["student"]))
    assert "120 mated and 120 non-mated comparisons completed of 240" in told
    assert "1.2 false matches expected, 30 needed" in told
    assert f"bound the FMR by {3 / 120:.2g}" in told
    assert "EER" in _printed(table(results["teacher"]))


def test_a_result_serialises(tmp_path: Path) -> None:
    told = json.loads(json.dumps(_result(tmp_path, 1.2).to_dict()))
    assert told["operating_points"][0]["tar"] is None
    assert told["all_pairs"]["operating_points"][1]["insufficient"].startswith("insufficient data")
    assert len(told["folds"]) == 10
    assert (
        told["accuracy"]["interval"]["low"] < told["accuracy"]["mean"] < told["accuracy"]["interval"]["high"]
    )


def test_the_drawn_curve_is_the_measured_one(tmp_path: Path) -> None:
    result = _result(tmp_path, 1.4, people=200)
    fmr, tar = all_pairs_curve(result.everyone)
    assert fmr.min() * result.everyone.non_mated >= 30
    for at in (0, fmr.size // 2, fmr.size - 1):
        assert tar[at] == pytest.approx(result.everyone.tar_at(float(fmr[at])))
    drawn_figure = results_figure({"student": result, "teacher": _result(tmp_path, 0.6, people=200)})
    axes = drawn_figure.axes[0]
    assert axes.get_xscale() == "log"
    assert len({line.get_color() for line in axes.lines}) == 2
    drawn = io.BytesIO()
    figure(result).savefig(drawn, format="png")
    assert drawn.getvalue().startswith(b"\x89PNG")
