"""The sections of a page of results, with numbers that can be worked out by hand."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facekd.preprocess import MISSING, AcquiredPhoto
from facekd.reporting import RESULT_SECTIONS, Cell, ResultsPage, Section, table_rows, write_scores_page
from facekd.reporting.result_headlines import headlines
from facekd.verification import (
    costs,
    group_rates,
    judge_people,
    judge_scores,
    metrics,
    open_point,
    rank_points,
    search,
)
from facekd.verification.protocols import open_protocol
from facekd.verification.results import (
    Evaluation,
    HardPair,
    IdentificationResult,
    ModelResult,
    PairResult,
    ScoreResult,
    ShownPair,
)

FACE = np.zeros((4, 4, 3), np.uint8)


def _sections(**of: Any) -> dict[str, Section]:
    """The sections of a page by their titles."""
    return {section.title: section for section in RESULT_SECTIONS.of(ResultsPage(**of))}


def _numbers(results: dict) -> Section:
    return _sections(results=results)["Numbers"]


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
    lines = ["path1,path2,label", *(f"a{n},b{n},1" for n in range(10)), *(f"c{n},d{n},0" for n in range(10))]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pairs.csv").write_text("\n".join(lines))
        protocol = open_protocol("pairs", Path(folder) / "pairs.csv")
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
    assert told[0].endswith(") of 3,000 mated comparisons at FMR 0.01.")
    assert told[1].startswith("p decides 95.00 % of 20 pairs correctly (95 % interval ")
    assert told[1].endswith(", not counting 1 that failed).")
    assert told[2].startswith("i finds the right person first in 75.00 % of 4 searches (95 % interval 30.06")
    assert told[2].endswith("among 5 enrolled.")
    # a page whose data shows no FMR begins with that, not with nothing
    assert list(headlines({"s": _scores(200)})) == [
        "s has too few comparisons for a TAR at any stated FMR (100 mated, 100 non-mated); EER 1.00 %."
    ]


def test_numbers_of_several_models_stand_side_by_side() -> None:
    one, other = _scores(), judge_scores("scores", "t.csv", np.array([0.9, 0.1]), np.array([True, False]))
    section = _numbers({"one": one, "other": other})
    rates, thresholds = section.tables
    assert rates.columns == ("Measure", "one", "other")
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
    assert any("no folds, and therefore no accuracy" in note for note in section.paragraphs)
    assert len(set(section.paragraphs)) == len(section.paragraphs)


def test_the_folds_of_a_list() -> None:
    result = _pairs()
    rates, folds = _numbers({"m": result}).tables
    assert folds.columns == ("Fold", "m")
    assert [row[0] for row in folds.rows] == [str(n) for n in range(1, 11)]
    shown = [float(row[1].split()[0]) for row in folds.rows]
    assert np.mean(shown) == pytest.approx(95.0)
    assert shown[9] == 50
    assert folds.rows[0][1] == f"100.00 ({result.folds[0].threshold:.4f})"
    assert dict(rates.rows)["photos without embedding"].text == "1 of 40"


def test_thresholds_of_searches() -> None:
    rates, thresholds = _numbers({"m": _searches()}).tables
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
    section = _sections(results={}, hardest={"m": with_faces})["Hardest comparisons"]
    assert [pair.text for pair in section.pairs] == ["mated, score 0.1235", "non-mated, score 0.5000"]
    # a folder is left out only where the file is named after it
    assert [pair.below for pair in section.pairs] == [("P_1.jpg", "P_2.jpg"), ("P/1.jpg", "Q/2.jpg")]
    assert section.tables == ()
    several = _sections(results={}, hardest={"m": [ShownPair(mated)], "n": with_faces, "empty": []})
    assert [title for title in several if "Hardest" in title] == ["Hardest for m", "Hardest for n"]
    bare = several["Hardest for m"]
    assert bare.tables[0].rows == (("mated, score 0.1235", "P/P_1.jpg", "x/P/P_2.jpg"),)
    assert bare.pairs == ()
    assert not any("Hardest" in title for title in _sections(results={}, hardest={"m": []}))


def _evaluated(result: ScoreResult, groups: Any) -> Evaluation[ScoreResult]:
    model = ModelResult("m", Path("m.onnx"), "0" * 64, True, result, groups)
    return Evaluation(
        "templates", "t.csv", Path("data"), "mtcnn", "umeyama", False,
        (AcquiredPhoto("gone.jpg", reason=MISSING), *(AcquiredPhoto(f"{n}.jpg") for n in range(19))), 1.0,
        (model,), (),
    )  # fmt: skip


def test_groups() -> None:
    rows = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 0.05]], np.float32)
    rates = group_rates(rows, list("AABBC"), ["x", "x", "y", "y", "x"], 0.9, 0.01)
    section = _sections(results={}, evaluation=_evaluated(_scores(), rates))["By group"]
    (table,) = section.tables
    assert [row[:2] for row in table.rows] == [("x", "3"), ("y", "2")]
    # in x both photos of A match the one of C; in y nobody is there to be taken for
    assert table.rows[0][2].text == "100.000"
    assert table.rows[0][2].note.endswith("; 2 of 2")
    assert table.rows[1][2] == Cell("no comparisons")
    assert table.rows[1][3].text == "0.000"
    fmr, scores = section.pictures
    assert fmr.alt.startswith("Heat map of the FMR of m between groups. The highest is 100.000 %, within x.")
    assert scores.alt.startswith("Heat map of the mean non-mated score of m between groups.")
    assert fmr.dark
    assert scores.dark
    assert "By group" not in _sections(results={}, evaluation=_evaluated(_scores(), None))


def test_only_what_was_measured_is_explained() -> None:
    def words(result: object) -> list[str]:
        (table,) = _sections(results={"m": result})["How to read this page"].tables
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
    (table, _) = _numbers({"m": result}).tables
    cells = dict(table.rows)
    interval = result.rates.d_prime.interval
    assert interval is not None
    assert cells["d', a distance"].note == f"{interval.low:.3f} to {interval.high:.3f}"
    frr = 0.1 + 0.9 * (1 - metrics.tar_at_fmr(scores[300:3000], scores[3000:], 0.01))
    assert cells["FAR, FRR at FMR 0.01"] == Cell(f"1, {100 * frr:.2f}")
    assert table.rows[-1][0] == "photos without embedding"
    assert "FAR, FRR" in [
        row[0] for row in _sections(results={"m": result})["How to read this page"].tables[0].rows
    ]
    shown = [title for title, _ in table_rows(result)]
    assert "FAR, FRR at FMR 0.01" in shown
    assert not any("DCF" in title or "partial" in title or "d'" in title for title in shown)


def test_without_anything_to_draw_there_are_no_pictures() -> None:
    assert "Pictures" not in _sections(results={})
    assert len(_sections(results={"m": _scores()})["Pictures"].pictures) == 4


def test_the_order_of_the_sections() -> None:
    shown = {"m": [ShownPair(HardPair("a", "b", True, 0.1, ("a", "b")))]}
    found = _evaluated(_scores(), None)
    titles = list(_sections(results=found.results(), evaluation=found, hardest=shown))
    assert titles == [
        "What was measured", "Numbers", "Pictures", "Hardest comparisons", "How to read this page",
    ]  # fmt: skip


ADDED = """
from facekd.reporting import RESULT_SECTIONS, ResultsPage, Section

@RESULT_SECTIONS.register(35)
def counts(page: ResultsPage):
    yield Section("Counts", tuple(f"{name} made {r.scores.size:,}" for name, r in page.results.items()))
"""


def test_a_section_in_a_module_of_its_own_stands_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file in the folder of sections, and nothing else."""
    import facekd.reporting.result_sections as folder

    (tmp_path / "counts.py").write_text(ADDED)
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    monkeypatch.setattr(RESULT_SECTIONS, "registered", [*RESULT_SECTIONS.registered])
    page = write_scores_page(tmp_path / "r.html", _scores()).read_text(encoding="utf-8")
    assert page.index("s.csv made 6,000") < page.index("FMR and FNMR of s.csv over the threshold")
    monkeypatch.undo()
    sys.modules.pop("facekd.reporting.result_sections.counts")
    assert "Counts" not in _sections(results={"m": _scores()})
