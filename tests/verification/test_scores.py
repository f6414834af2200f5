"""Scores in and out, judged as scikit-learn judges them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from facekd.errors import InputOutput, Unreadable, UsageError
from facekd.reporting import figure, table_rows
from facekd.verification.score_files import read_scores, write_scores
from facekd.verification.score_lists import judge_scores


def _scores(count: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    mated = random.random(count) < 0.1
    scores = np.round(random.normal(mated * 2.0, 1), 2) / 10
    scores[random.random(count) < 0.01] = np.nan
    return scores, mated


def test_against_scikit_learn() -> None:
    scores, mated = _scores()
    result = judge_scores("scores", "x.csv", scores, mated)
    done = np.isfinite(scores)
    assert result.rates.auc.value == pytest.approx(roc_auc_score(mated[done], scores[done]), abs=1e-9)
    fmr, tar, _ = roc_curve(mated[done], scores[done], drop_intermediate=False)
    assert [point.fmr for point in result.points] == [1e-2, 1e-3, 1e-4, 1e-5]
    for point in result.points[:2]:
        assert point.tar == pytest.approx(tar[fmr <= point.fmr].max(), abs=1e-9)
        assert point.interval.low < point.tar < point.interval.high
    assert [point.tar for point in result.points[2:]] == [None, None]
    told = result.to_dict()
    assert told["comparisons"]["mated"] == mated.sum()
    assert told["comparisons"]["failed_mated"] == (mated & ~done).sum()
    assert told["failures_to_acquire"] is None
    assert "too narrow" in told["caveats"][0]
    assert dict(table_rows(result))["comparisons without score"] == f"{(~done).sum()} of 40,000"
    assert len(figure(result).axes[0].lines) == 1


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    scores, mated = _scores(500)
    scores[:3] = [1 / 3, -1e-17, 1.0]
    pairs = [(f"a, {n}.jpg", f'b"{n}.jpg') for n in range(500)]
    write_scores(tmp_path / "s.csv", scores, mated, pairs)
    again, labels = read_scores(tmp_path / "s.csv")
    np.testing.assert_array_equal(again, scores)
    np.testing.assert_array_equal(labels, mated)
    assert (tmp_path / "s.csv").read_text().startswith("score,label,first,second\n0.3333333333333333,")
    with pytest.raises(UsageError, match="differ in number"):
        write_scores(tmp_path / "s.csv", scores, mated, pairs[1:])


def test_columns_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("\ufeffname, Label ,SCORE\nx,1, 0.5\n\ny,false,\nz,true,-1e-3\n", "utf-8")
    scores, mated = read_scores(tmp_path / "s.csv")
    np.testing.assert_array_equal(scores, [0.5, np.nan, -1e-3])
    assert mated.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "first line is ''"),
        ("0.5,1\n", "first line is '0.5,1'"),
        ("score,label\n0.5,1\n0.5\n", "line 3: expected 2 columns"),
        ("score,label\n0.5,maybe\n", "line 2: label 'maybe'"),
        ("score,label\n\nhigh,1\n", "line 3: score 'high' is not a number"),
        ("score,label\nnan,1\n", "line 2: score 'nan' is not finite"),
        ("score,label\n1e999,1\n", "line 2: score '1e999' is not finite"),
    ],
)
def test_broken_score_files(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(Unreadable, match=told):
        read_scores(tmp_path / "s.csv")


def test_score_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputOutput, match="No such file"):
        read_scores(tmp_path / "absent.csv")
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Unreadable, match="not a text file"):
        read_scores(tmp_path / "x")
    for labels in ([True, True], [False, False]):
        with pytest.raises(UsageError, match=r"there are no (non-)?mated scores"):
            judge_scores("scores", "x", np.array([0.1, 0.2]), np.array(labels))
    with pytest.raises(UsageError):
        judge_scores("scores", "x", np.empty(0), np.empty(0, bool))
