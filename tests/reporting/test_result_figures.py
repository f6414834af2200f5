"""What is drawn is what was measured."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from dark_drawings import check_dark
from matplotlib.figure import Figure
from scipy.special import ndtri

from facekd.reporting import RESULT_FIGURES, drawings, results_figure, write_scores_page
from facekd.reporting.drawing import DARK, LIGHT, short_name
from facekd.verification import (
    AllPairs,
    all_pairs,
    curves_of,
    judge_people,
    judge_scores,
    open_curve,
    open_point,
    rank_points,
)
from facekd.verification.curves import score_all_pairs, score_listed
from facekd.verification.results import AllPairsResult, IdentificationResult, Searches, cmc

PEOPLE, PHOTOS = 60, 6


def _rows(noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(PEOPLE), PHOTOS)
    rows = random.normal(size=(PEOPLE, 24))[who] + random.normal(0, noise, (who.size, 24))
    return rows.astype(np.float32), who


@pytest.fixture(scope="module")
def scores() -> tuple[np.ndarray, np.ndarray]:
    """Mated and non-mated scores of all photos, one by one."""
    rows, who = _rows()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    one, other = np.triu_indices(who.size, 1)
    every = (unit[one] * unit[other]).sum(axis=1).astype(float)
    return every[who[one] == who[other]], every[who[one] != who[other]]


@pytest.fixture(scope="module")
def pairs() -> AllPairs:
    return all_pairs(*_rows())


@cache
def _people(noise: float = 1.0) -> AllPairsResult:
    rows, who = _rows(noise)
    return judge_people("people", "people", rows, [f"P{n}" for n in who], len(who), ())


def _figure(results: dict, name: str) -> Figure:
    (found,) = [drawing for drawing in drawings(results) if drawing.name == name]
    return found.figure()


def test_the_histogram_counts_every_comparison(pairs: AllPairs, scores: tuple) -> None:
    mated, non_mated = scores
    scored = score_all_pairs(pairs, ())
    assert scored.counts.sum() == non_mated.size == scored.non_mated
    # a float32 score may lie on the other side of an edge
    wanted = np.histogram(non_mated, scored.edges)[0]
    assert np.abs(scored.counts - wanted).max() <= 2
    assert scored.edges[0] <= min(mated.min(), non_mated.min()) < scored.edges[1]
    assert scored.edges[-1] == 1


def test_a_score_of_one_is_counted(scores: tuple) -> None:
    rows, who = _rows()
    scored = score_all_pairs(all_pairs(np.concatenate([rows, rows]), np.concatenate([who, who + 999])), ())
    assert scored.counts.sum() == scored.non_mated
    assert scored.counts[-1] >= PEOPLE * PHOTOS


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_listed_scores_of_any_range(scores: tuple, scale: float) -> None:
    mated, non_mated = (scale * kind for kind in scores)
    scored = score_listed(mated, non_mated, None, ())
    assert scored.counts.sum() == non_mated.size
    assert scored.edges[0] == min(mated.min(), non_mated.min())
    assert scored.edges[-1] == max(mated.max(), non_mated.max())
    assert (scored.well_counted.fmr * non_mated.size >= 30 - 1e-6).all()
    dropped = scored.curve.fmr.size - scored.well_counted.fmr.size
    assert dropped == (scored.curve.fmr * non_mated.size < 29.5).sum() > 0


def test_equal_scores_can_be_drawn() -> None:
    result = judge_scores("scores", "s.csv", np.ones(80), np.arange(80) % 2 == 0)
    for drawing in drawings({"m": result}):
        assert drawing.picture().image


def test_kinds_of_pictures() -> None:
    people = {"a": _people(), "b": _people(noise=1.4)}
    assert [d.name for d in drawings(people)] == [
        "roc", "det", "thresholds", "scores of a", "scores of b",
    ]  # fmt: skip
    apart = np.concatenate([np.linspace(0.6, 0.9, 60), np.linspace(0.1, 0.5, 60)])
    perfect = judge_scores("scores", "s.csv", apart, np.repeat([True, False], 60))
    # without errors there is no DET
    assert [d.name for d in drawings({"m": perfect})] == ["roc", "thresholds", "scores of m"]
    few = judge_scores("scores", "s.csv", np.array([0.9, 0.2, 0.5]), np.array([True, True, False]))
    assert [d.name for d in drawings({"m": few})] == ["thresholds", "scores of m"]
    assert drawings({}) == ()


def test_the_roc_and_its_band(scores: tuple) -> None:
    mated, non_mated = scores
    axes = _figure({"m": _people()}, "roc").axes[0]
    (line,), (band,) = axes.lines, axes.collections
    fmr, tar = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert fmr.min() == pytest.approx(30 / non_mated.size, rel=0.01)
    for place in (0, fmr.size // 2, fmr.size - 1):
        allowed = round(fmr[place] * non_mated.size)
        assert tar[place] == pytest.approx(100 * (mated > np.sort(non_mated)[::-1][allowed]).mean())
    corners = band.get_paths()[0].vertices
    for at in (0.002, 0.008):
        here = corners[np.abs(np.log(corners[:, 0] / at)) < 0.12][:, 1]
        drawn = tar[np.abs(np.log(fmr / at)).argmin()]
        assert here.min() < drawn < here.max()
    assert axes.get_ylim()[0] < corners[:, 1].min()


def test_the_det_lies_on_normal_deviates(scores: tuple) -> None:
    mated, non_mated = scores
    axes = _figure({"m": _people()}, "det").axes[0]
    x, y = (np.asarray(values) for values in axes.lines[0].get_data())
    random = np.random.default_rng(0)
    from scipy.special import ndtr

    for place in random.integers(x.size, size=5):
        fmr = ndtr(x[place])
        # the threshold that the point belongs to, found again from its FMR
        threshold = np.sort(non_mated)[::-1][round(fmr * non_mated.size) - 1]
        assert y[place] == pytest.approx(ndtri((mated < threshold).mean()), abs=0.03)
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert {"0.1", "1", "5"} <= set(labels)


def test_the_det_begins_at_about_one_error() -> None:
    random = np.random.default_rng(3)
    for mated, non_mated in ((500, 200_000), (50_000, 1_000)):
        values = np.r_[random.normal(2.5, 1, mated), random.normal(0, 1, non_mated)]
        result = judge_scores("scores", "s.csv", values, np.arange(values.size) < mated)
        axes = _figure({"m": result}, "det").axes[0]
        # thirty false matches are the fewest that are drawn
        assert axes.get_xlim()[0] == pytest.approx(ndtri(30 / non_mated) - 0.15, abs=0.03)
        assert axes.get_ylim()[0] == pytest.approx(ndtri(1 / mated) - 0.15, abs=1e-6)
        assert axes.get_xlim()[1] == axes.get_ylim()[1]
    few = judge_scores("scores", "s.csv", random.normal(np.repeat([1, 0], [9, 60])), np.arange(69) < 9)
    assert _figure({"m": few}, "det").axes[0].get_ylim()[0] == pytest.approx(ndtri(0.1) - 0.15)


def test_the_threshold_curves_meet_the_operating_points(scores: tuple) -> None:
    mated, non_mated = scores
    result = _people()
    axes = _figure({"m": result}, "thresholds").axes[0]
    false, missed, *dots = axes.lines
    rates_at = (
        (false, lambda t: (non_mated >= t).mean()),
        (missed, lambda t: (mated < t - 1e-6).mean()),
    )
    for line, rate in rates_at:
        thresholds, rates = (np.asarray(values) for values in line.get_data())
        for place in range(0, thresholds.size, 40):
            assert rates[place] == pytest.approx(rate(thresholds[place]), abs=2e-4)
    told = [point for point in result.points if point.threshold is not None]
    assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots] == [(p.threshold, p.fmr) for p in told]
    assert len(told) == 2


def test_the_threshold_lines_of_the_histogram() -> None:
    result = _people()
    axes = _figure({"m": result}, "scores of m").axes[0]
    told = [point.threshold for point in result.points if point.threshold is not None]
    assert [line.get_xdata()[0] for line in axes.lines] == told
    assert [text.get_text() for text in axes.texts] == ["FMR 0.01", "FMR 0.001"]


def _searched(non_mated: int) -> IdentificationResult:
    random = np.random.default_rng(1)
    rank = np.array([1, 1, 3, 0, 2, 1, 7, 1])
    own = np.where(rank > 0, random.uniform(0, 1, 8), -np.inf)
    searches = Searches(9, rank, own, random.uniform(0, 0.6, non_mated))
    points = tuple(open_point(searches, fpir) for fpir in (0.1, 0.01))
    return IdentificationResult(
        "identification", "x", 20, 9, (), 1, (), searches, rank_points(searches), points
    )


def test_searches() -> None:
    result = _searched(400)
    ranked, opened = (drawing.figure().axes[0] for drawing in drawings({"m": result}))
    ranks, found = (np.asarray(values) for values in ranked.lines[0].get_data())
    assert found.tolist() == [100 * np.mean([0 < r <= n for r in result.searches.rank]) for n in ranks]
    assert found[-1] == 100 * cmc(result.searches)[-1] == 87.5
    fpir, fnir = open_curve(result.searches)
    drawn = np.asarray(opened.lines[0].get_data())
    assert (drawn[0].min(), drawn[0].max()) == (fpir.min(), fpir.max())
    assert set(drawn[1]) <= set(100 * fnir)
    # nobody unknown was searched for
    assert [d.name for d in drawings({"m": _searched(0)})] == ["cmc"]


def test_a_long_curve_keeps_its_ends_and_its_jumps() -> None:
    """200,000 points are drawn as a few hundred. Half of the mated scores are below the non-mated ones, half
    are equal and above all but the highest of these, so that the ROC jumps."""
    low, high = np.linspace(0.1, 0.2, 100_000), np.full(100_000, 0.8)
    no = np.concatenate([np.linspace(0.3, 0.7, 199_800), np.linspace(0.9, 0.99, 200)])
    scores = np.concatenate([low, high, no])
    result = judge_scores("scores", "s.csv", scores, np.arange(scores.size) < 200_000)
    line = _figure({"m": result}, "roc").axes[0].lines[0]
    fmr, tar = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert 50 < fmr.size <= 410
    assert (fmr[0], fmr[-1]) == (pytest.approx(30 / 200_000), 1.0)
    # the TAR rises from 0 to one half where the 200 highest non-mated scores end
    (first,) = np.flatnonzero(np.diff(tar) > 40)
    assert (fmr[first + 1], tar[first + 1]) == (pytest.approx(200 / 200_000), 50)
    assert 1 <= fmr[first + 1] / fmr[first] < 1.01
    assert (fmr < 200 / 200_000).sum() > 10


def test_a_drawing_for_both_screens() -> None:
    drawing = drawings({"m": _people()})[0]
    picture = drawing.picture()
    for image, theme, other in ((picture.image, LIGHT, DARK), (picture.dark or b"", DARK, LIGHT)):
        ElementTree.fromstring(image)
        assert theme.ink.encode() in image
        assert theme.grid.encode() in image
        assert other.ink.encode() not in image
        # the colour of text and ticks that nobody set
        assert b"#000000" not in image
    assert len(picture.image) < 100_000


def test_every_drawing_on_a_dark_screen(scores: tuple) -> None:
    listed = judge_scores(
        "scores", "s.csv", np.concatenate(scores), np.arange(sum(map(len, scores))) < len(scores[0])
    )
    drawn = []
    for results in ({"m": _people(), "other": _people(noise=1.5)}, {"m": _searched(400)}, {"m": listed}):
        for drawing in drawings(results):
            check_dark(drawing)
            drawn.append(drawing.name)
    assert {*drawn} >= {"roc", "det", "thresholds", "scores of other", "cmc", "open set"}


def test_a_figure_of_several_models() -> None:
    one, other = _people(), _people(noise=1.5)
    figure = results_figure({"one": one, "_other": other})
    assert [line.get_color() for line in figure.axes[0].lines] == list(LIGHT.series[:2])
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["one", " _other"]
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    assert drawn.getvalue().startswith(b"\x89PNG")


def test_what_the_data_cannot_show_is_left_out_of_a_page_and_empty_in_a_picture() -> None:
    few = judge_scores("scores", "s.csv", np.array([0.9, 0.2, 0.5]), np.array([True, True, False]))
    assert "roc" not in [drawing.name for drawing in drawings({"m": few})]
    (axes,) = results_figure({"m": few}).axes
    assert not axes.lines
    assert [text.get_text() for text in axes.texts] == ["insufficient data"]


ADDED = """
from facekd.reporting import RESULT_FIGURES, ComparedResults
from facekd.reporting.drawing import Drawing

@RESULT_FIGURES.register(35)
def spread(compared: ComparedResults):
    for name, scored in compared.widest.items():
        yield Drawing(
            f"spread of {name}", lambda axes, theme: axes.boxplot(scored.mated), 3.0,
            f"Box plot of the mated scores of {name}.", "Spread of the mated scores.",
        )
"""


def test_a_figure_in_a_module_of_its_own_stands_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file in the folder of figures, and nothing else."""
    import facekd.reporting.result_figures as folder

    (tmp_path / "spread.py").write_text(ADDED)
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    monkeypatch.setattr(RESULT_FIGURES, "registered", [*RESULT_FIGURES.registered])
    random = np.random.default_rng(0)
    scores = random.normal(np.repeat([2.0, 0.0], 400))
    result = judge_scores("scores", "s.csv", scores, np.arange(800) < 400)
    names = [drawing.name for drawing in drawings({"m": result})]
    assert names == ["roc", "det", "thresholds", "spread of m", "scores of m"]
    page = write_scores_page(tmp_path / "r.html", result).read_text(encoding="utf-8")
    assert page.count("Box plot of the mated scores of s.csv.") == 1
    assert page.index("Box plot") < page.index("Histogram of the scores")
    monkeypatch.undo()
    sys.modules.pop("facekd.reporting.result_figures.spread")
    assert "spread of m" not in [drawing.name for drawing in drawings({"m": result})]


def test_names_beside_a_curve() -> None:
    assert short_name("a" * 28) == "a" * 28
    assert short_name("facekd-student-2026-11b to edgeface_xs") == "facekd-studen…to edgeface_xs"
    assert short_name("a" * 20 + "b" * 20) == "a" * 13 + "…" + "b" * 14
    assert short_name("_a") == " _a"


def test_failed_comparisons_are_not_drawn() -> None:
    values = np.array([0.9, np.nan, 0.4, 0.2, np.nan, 0.1])
    result = judge_scores("scores", "s.csv", values, np.array([True, True, True, False, False, False]))
    (scored,) = curves_of(result)
    assert scored.mated.tolist() == [0.9, 0.4]
    assert scored.non_mated == scored.counts.sum() == 2
    assert curves_of(replace(result, pair_people=np.arange(12).reshape(6, 2)))[0].non_mated == 2
