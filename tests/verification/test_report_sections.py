"""The parts of an evaluation's page, with numbers that can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facekd.reporting import table_rows
from facekd.reporting.evaluation_sections import (
    groups_section,
    hardest_sections,
    headlines,
    numbers_section,
    pictures_section,
    reading_section,
)
from facekd.reporting.page import Cell
from facekd.verification import costs, metrics
from facekd.verification.groups import group_rates
from facekd.verification.identification import open_point, rank_points, search
from facekd.verification.known_people import judge_people
from facekd.verification.protocols._pair_list import Pair, pair_list
from facekd.verification.results import PairResult, ScoreResult
from facekd.verification.results.hardest import HardPair, ShownPair
from facekd.verification.results.identification import IdentificationResult
from facekd.verification.score_lists import judge_scores

FACE = np.zeros((4, 4, 3), np.uint8)


def _scores(count: int = 6000) -> ScoreResult:
    """Half mated, all of them at 0.5 or more but for one in a hundred; the others spread over 0 to 0.4."""
    half = count // 2
    mated = np.where(np.arange(half) % 100 == 0, -0.5, np.linspace(0.5, 0.9, half))
    return judge_scores(
        "scores", "s.csv", np.concatenate([mated, np.linspace(0, 0.4, half)]), np.arange(count) < half
    )


def _kinds(result: ScoreResult) -> tuple[np.ndarray, np.ndarray]:
    return result.scores[result.mated], result.scores[~result.mated]


def _pairs() -> PairResult:
    """Ten mated and ten non-mated pairs on a plane; the last mated one is of opposite directions and one
    photo has no embedding."""
    pairs = [Pair(f"a{n}", f"b{n}", True) for n in range(10)] + [
        Pair(f"c{n}", f"d{n}", False) for n in range(10)
    ]
    protocol = pair_list("pairs", Path("pairs.csv"), pairs)
    to = {"a": (1, 0), "b": (1, 0.1), "c": (1, 0), "d": (0, 1)}
    rows = np.array([to[name[0]] for name in protocol.photos], np.float32)
    rows[protocol.photos.index("b9")] = (-1, 0)
    rows[protocol.photos.index("d0")] = np.nan
    return protocol.evaluate(lambda _: rows)


def _searches() -> IdentificationResult:
    turned = np.array([[np.cos(a), np.sin(a)] for a in np.linspace(0, 2, 5)], np.float32)
    found = search(turned, list("ABCDE"), turned[[0, 1, 2, 2]], list("ABCD"), np.repeat(turned[:1], 400, 0))
    return IdentificationResult(
        "identification", "x", 12, 5, (), 0, (), found, rank_points(found), (open_point(found, 0.1),)
    )


def test_headlines() -> None:
    told = list(headlines({"s": _scores(), "p": _pairs(), "i": _searches()}))
    # at the lowest FMR that the data can show: 30 of 3,000 at 0.01
    assert told[0].startswith("s matches 99.00 % (")
    assert told[0].endswith(") of mated comparisons at FMR 0.01.")
    assert told[1].startswith("p decides 95.00 % of 20 pairs rightly (95 % interval ")
    assert told[1].endswith(", not counting 1 that failed).")
    assert told[2].startswith("i finds the right person first in 75.00 % of 4 searches (95 % interval 30.06")
    assert told[2].endswith("among 5 enrolled.")
    # nothing that could be told: too few non-mated comparisons for any FMR
    assert list(headlines({"s": _scores(200)})) == []


def test_numbers_of_several_models_stand_side_by_side() -> None:
    one, other = _scores(), judge_scores("scores", "t.csv", np.array([0.9, 0.1]), np.array([True, False]))
    section = numbers_section({"one": one, "other": other})
    rates, thresholds = section.tables
    assert rates.columns == ("", "one", "other")
    cells = {row[0]: row[1:] for row in rates.rows}
    assert cells["TAR@FMR 0.01"][0].text == "99.00"
    assert cells["TAR@FMR 0.01"][0].note == "98.58 to 99.30"
    assert cells["TAR@FMR 0.01"][1] == Cell("insufficient data")
    # no persons, so no intervals
    for title, value in (
        ("partial AUC, FMR up to 0.01", f"{100 * metrics.partial_auc(*_kinds(one), 0.01):.2f}"),
        ("minDCF, a cost from 0 to 1", f"{costs.min_dcf(*_kinds(one)):.3f}"),
        ("d', a distance", f"{metrics.d_prime(*_kinds(one)):.3f}"),
    ):
        assert cells[title][0] == Cell(value)
    assert cells["partial AUC, FMR up to 0.01"][1] == Cell("insufficient data")
    assert cells["d', a distance"][1] == Cell("inf")
    assert not any(title.startswith("FAR") for title in cells)
    ((title, found, none),) = thresholds.rows
    assert title == "FMR 0.01, listed pairs"
    # between the 30th and the 31st highest of 3,000 evenly spaced scores from 0 to 0.4
    assert float(found.text) == pytest.approx(0.4 * (2999 - 29.5) / 2999, abs=6e-5)
    assert found.note == "30 false matches"
    assert none == Cell("-")
    assert any("no folds, so no accuracy" in note for note in section.paragraphs)
    assert len(set(section.paragraphs)) == len(section.paragraphs)


def test_the_folds_of_a_list() -> None:
    result = _pairs()
    rates, folds = numbers_section({"m": result}).tables
    assert folds.columns == ("Fold", "m")
    assert [row[0] for row in folds.rows] == [str(n) for n in range(1, 11)]
    shown = [float(row[1].split()[0]) for row in folds.rows]
    assert np.mean(shown) == pytest.approx(95.0)
    assert shown[9] == 50
    assert folds.rows[0][1] == f"100.00 ({result.folds[0].threshold:.4f})"
    assert dict(rates.rows)["photos without embedding"].text == "1 of 40"


def test_thresholds_of_searches() -> None:
    rates, thresholds = numbers_section({"m": _searches()}).tables
    ((title, cell),) = thresholds.rows
    assert title == "FPIR 0.1"
    # every one of the unknown scores 1: none may be let in
    assert cell.note == "0 false positives"
    assert float(cell.text) == 1
    assert [row[0] for row in rates.rows][:2] == ["rank 1", "rank 5"]


def test_hardest_with_and_without_faces() -> None:
    mated = HardPair("P/P_1.jpg", "x/P/P_2.jpg", True, 0.12345, ("a", "b"))
    other = HardPair("P/1.jpg", "Q/2.jpg", False, 0.5, ("a", "c"))
    with_faces = [ShownPair(mated, (FACE, FACE)), ShownPair(other, (FACE, FACE))]
    (section,) = hardest_sections({"m": with_faces})
    assert section.title == "Hardest comparisons"
    assert [pair.text for pair in section.pairs] == ["mated, score 0.1235", "non-mated, score 0.5000"]
    # a folder is left out only where the file is named after it
    assert [pair.below for pair in section.pairs] == [("P_1.jpg", "P_2.jpg"), ("P/1.jpg", "Q/2.jpg")]
    assert section.tables == ()
    (bare, _) = hardest_sections({"m": [ShownPair(mated)], "n": with_faces, "empty": []})
    assert bare.title == "Hardest for m"
    assert bare.tables[0].rows == (("mated, score 0.1235", "P/P_1.jpg", "x/P/P_2.jpg"),)
    assert bare.pairs == ()
    assert list(hardest_sections({"m": []})) == []


def test_groups() -> None:
    rows = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 0.05]], np.float32)
    rates = group_rates(rows, list("AABBC"), ["x", "x", "y", "y", "x"], 0.9, 0.01)
    section = groups_section({"m": rates})
    assert section is not None
    (table,) = section.tables
    assert [row[:2] for row in table.rows] == [("x", "3"), ("y", "2")]
    # in x both photos of A match the one of C; in y nobody is there to be taken for
    assert table.rows[0][2].text == "100.000"
    assert table.rows[0][2].note.endswith("; 2 of 2")
    assert table.rows[1][2] == Cell("no comparisons")
    assert table.rows[1][3].text == "0.000"
    assert section.pictures[0].image.startswith(b"\x89PNG")
    assert groups_section({}) is None


def test_only_what_was_measured_is_explained() -> None:
    def words(result: object) -> list[str]:
        (table,) = reading_section({"m": result}).tables  # type: ignore[dict-item]
        return [str(row[0]) for row in table.rows]

    people = judge_people(
        "people", "x", np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32), list("AABBCC"), 6, ()
    )
    assert words(people) == ["FMR", "TAR@FMR", "photos without embedding"]
    assert words(_searches()) == ["rank", "FNIR@FPIR", "photos without embedding"]
    assert "accuracy" in words(_pairs())
    assert words(_scores()) == ["FMR", "TAR@FMR", "AUC", "EER", "partial AUC", "minDCF", "d'"]


def test_intervals_and_failures_on_the_page() -> None:
    random = np.random.default_rng(0)
    mated = np.arange(6000) < 3000
    scores = np.where(mated, random.normal(2, 1, 6000), random.normal(0, 1, 6000))
    people = np.stack([np.arange(6000) % 100] * 2, axis=1)
    people[~mated, 1] += 1
    # a tenth of the mated comparisons and nothing else
    scores[:300] = np.nan
    result = judge_scores("templates", "t.csv", scores, mated, people, 20, ("a.jpg",))
    (table, _) = numbers_section({"m": result}).tables
    cells = dict(table.rows)
    interval = result.rates.d_prime.interval
    assert interval is not None
    assert cells["d', a distance"].note == f"{interval.low:.3f} to {interval.high:.3f}"
    frr = 0.1 + 0.9 * (1 - metrics.tar_at_fmr(scores[300:3000], scores[3000:], 0.01))
    assert cells["FAR, FRR at FMR 0.01"] == Cell(f"1, {100 * frr:.2f}")
    assert table.rows[-1][0] == "photos without embedding"
    assert "FAR, FRR" in [row[0] for row in reading_section({"m": result}).tables[0].rows]
    shown = [title for title, _ in table_rows(result)]
    assert "FAR, FRR at FMR 0.01" in shown
    assert not any("DCF" in title or "partial" in title or "d'" in title for title in shown)


def test_without_anything_to_draw() -> None:
    assert pictures_section({}) is None
