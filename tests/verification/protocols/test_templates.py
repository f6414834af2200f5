"""Templates of several photos: lists, averaging, and the two ways of comparing them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facekd.errors import Unreadable, UsageError
from facekd.reporting import table_notes
from facekd.verification import metrics
from facekd.verification.protocols import open_protocol
from facekd.verification.protocols.templates import averaged
from facekd.verification.results import AllPairsResult, ScoreResult

HEAD = "template,person,photo,media\n"


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _list(people: int = 60) -> str:
    """Two templates a person: one of a video of three frames and a still, one of two stills."""
    lines = []
    for p in range(people):
        lines += [f"{2 * p},P{p},p{p}/{n}.jpg,video{p}" for n in range(3)]
        lines += [
            f"{2 * p},P{p},./p{p}/3.jpg,",
            f"{2 * p + 1},P{p},p{p}/4.jpg,",
            f"{2 * p + 1},P{p},p{p}/5.jpg,",
        ]
    return HEAD + "\n".join(lines) + "\n"


def _embed(names: tuple[str, ...]) -> np.ndarray:
    random = np.random.default_rng(2)
    centres = random.normal(size=(1000, 10))
    rows = np.array([centres[int(n.split("/")[0][1:])] + 1.5 * random.normal(size=10) for n in names])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _by_hand(row: dict[str, np.ndarray], person: int) -> tuple[np.ndarray, np.ndarray]:
    """insightface's order: media averaged, summed, scaled to unit length."""
    frames = np.mean([row[f"p{person}/{n}.jpg"] for n in range(3)], axis=0)
    first = frames + row[f"p{person}/3.jpg"]
    second = row[f"p{person}/4.jpg"] + row[f"p{person}/5.jpg"]
    return first / np.linalg.norm(first), second / np.linalg.norm(second)


def test_all_templates_with_all(tmp_path: Path) -> None:
    protocol = open_protocol("templates", _write(tmp_path / "templates.csv", _list()))
    assert protocol.compared is None
    assert len(protocol.photos) == 360
    result = protocol.evaluate(_embed)
    assert isinstance(result, AllPairsResult)
    row = dict(zip(protocol.photos, _embed(protocol.photos), strict=True))
    made = np.array([template for p in range(60) for template in _by_hand(row, p)])
    person = np.repeat(np.arange(60), 2)
    above = np.triu(np.ones((120, 120), bool), 1)
    same = person[:, None] == person
    scores = made @ made.T
    np.testing.assert_allclose(np.sort(result.everyone.mated), np.sort(scores[above & same]), atol=1e-6)
    assert result.everyone.non_mated == (above & ~same).sum() == 7080
    assert result.points[0].tar == pytest.approx(
        metrics.tar_at_fmr(scores[above & same], scores[above & ~same], 1e-2)
    )
    assert "120 templates of 60 people" in table_notes(result)[0]


def test_listed_pairs_of_templates(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    ends = [(2 * p, 2 * p + 1) for p in range(60)] + [
        tuple(random.integers(120, size=2)) for _ in range(4000)
    ]
    _write(tmp_path / "t_pairs.csv", "template1,template2\n" + "\n".join(f"{a},{b}" for a, b in ends))
    protocol = open_protocol("templates", _write(tmp_path / "t.csv", _list()))
    assert "with t_pairs.csv" in protocol.source
    gone = ("p7/4.jpg", "p7/5.jpg", "p8/0.jpg")
    rows = _embed(protocol.photos)
    rows[[name in gone for name in protocol.photos]] = np.nan
    result = protocol.evaluate(lambda names: rows)
    assert isinstance(result, ScoreResult)
    row = dict(zip(protocol.photos, _embed(protocol.photos), strict=True))
    made = [template for p in range(60) for template in _by_hand(row, p)]
    frames = (row["p8/1.jpg"] + row["p8/2.jpg"]) / 2 + row["p8/3.jpg"]
    made[16] = frames / np.linalg.norm(frames)
    for (one, other), score, mated in zip(ends, result.scores, result.mated, strict=True):
        assert mated == (one // 2 == other // 2)
        if 15 in (one, other):
            assert np.isnan(score)
        else:
            assert score == pytest.approx(made[one] @ made[other], abs=1e-6)
    assert result.failed == gone
    assert protocol.compared[0] == ("0", "1")
    done = np.isfinite(result.scores)
    expected = metrics.auc(result.scores[done & result.mated], result.scores[done & ~result.mated])
    assert result.rates.auc.value == pytest.approx(expected)
    assert result.rates.auc.interval.low < expected < result.rates.auc.interval.high
    assert [point.tar is None for point in result.points] == [False, True, True, True]
    told = result.to_dict()
    assert told["failures_to_acquire"]["failed"] == 3
    assert told["comparisons"]["failed_mated"] + told["comparisons"]["failed_non_mated"] == (~done).sum() > 0


def test_a_long_video_weighs_no_more_than_a_still() -> None:
    one, other = np.eye(2, dtype=np.float32)
    short, long = averaged([one[None], other[None]]), averaged([np.tile(one, (50, 1)), other[None]])
    np.testing.assert_allclose(short, [0.5**0.5] * 2, atol=1e-6)
    np.testing.assert_allclose(long, short, atol=1e-6)
    nothing = np.full((2, 2), np.nan, np.float32)
    np.testing.assert_allclose(averaged([nothing, one[None]]), one)
    assert np.isnan(averaged([nothing])).all()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n", "first line is 'a,b'"),
        (HEAD, "it lists no template"),
        (HEAD + "1,P,a.jpg\n", "line 2: expected 4 columns"),
        (HEAD + "1,P,,m\n", "line 2: expected 4 columns"),
        (HEAD + "1,P,a.jpg,\n\n1,Q,b.jpg,\n", "line 4: template 1 is of P, but here of Q"),
    ],
)
def test_broken_template_lists(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        open_protocol("templates", _write(tmp_path / "t.csv", text))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("template1,template2,label\n", "first line is"),
        ("template1,template2\n", "it lists no pair"),
        ("template1,template2\n1,2\n1,9\n", r"line 3: t\.csv has no template 9"),
        ("template1,template2\n1\n", "line 2: expected 2 columns"),
    ],
)
def test_broken_pairs_of_templates(tmp_path: Path, text: str, told: str) -> None:
    _write(tmp_path / "t_pairs.csv", text)
    with pytest.raises(Unreadable, match=told):
        open_protocol(
            "templates", _write(tmp_path / "t.csv", "template,person,photo\n1,P,a.jpg\n2,Q,b.jpg\n")
        )


def test_one_template_each_gives_no_mated_comparison(tmp_path: Path) -> None:
    text = "template,person,photo\n1,P1,p1/1.jpg\n2,P2,p2/1.jpg\n"
    with pytest.raises(UsageError, match="no mated"):
        open_protocol("templates", _write(tmp_path / "t.csv", text)).evaluate(_embed)
