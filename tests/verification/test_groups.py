"""Rates by group, each comparison counted again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dark_drawings import check_dark

from facekd.errors import InputOutput, Unreadable, UsageError
from facekd.reporting import figure
from facekd.reporting.group_heat_maps import group_drawings
from facekd.verification import all_pairs
from facekd.verification.groups import group_rates, group_threshold, read_groups
from facekd.verification.results.groups import GroupRates, Share


def _drawn(photos: int = 700) -> tuple[np.ndarray, list[str], list[str | None]]:
    """Persons of three groups; those of the third resemble each other."""
    random = np.random.default_rng(6)
    person = np.sort(random.integers(0, 200, photos))
    group = person % 3
    centres = random.normal(size=(200, 8)) + 1.2 * (np.arange(200) % 3 == 2)[:, None]
    rows = (centres[person] + 0.6 * random.normal(size=(photos, 8))).astype(np.float32)
    rows[::50] = np.nan
    names: list[str | None] = [f"g{g}" for g in group]
    # some photos have another group than the person's others, or none
    names[3], names[4], names[77], names[78] = "g1", "g0", None, None
    return rows, [f"p{p}" for p in person], names


def test_every_comparison_counted_again() -> None:
    rows, people, groups = _drawn()
    fmr, threshold = group_threshold(all_pairs(rows, people))
    assert fmr == 1e-3
    rates = group_rates(rows, people, groups, threshold, fmr)
    assert rates.names == ("g0", "g1", "g2")
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    matches, non_mated, scores = np.zeros((3, 3), int), np.zeros((3, 3), int), np.zeros((3, 3))
    mated, missed, across = np.zeros(3, int), np.zeros(3, int), 0
    usable = [i for i in range(len(rows)) if groups[i] is not None and np.isfinite(rows[i]).all()]
    for i in usable:
        for j in usable:
            if j <= i:
                continue
            a, b = int(groups[i][1]), int(groups[j][1])
            score = float(unit[i] @ unit[j])
            match = score >= threshold
            if people[i] != people[j]:
                for place in {(a, b), (b, a)}:
                    non_mated[place] += 1
                    matches[place] += match
                    scores[place] += score
            elif a == b:
                mated[a] += 1
                missed[a] += not match
            else:
                across += 1
    np.testing.assert_array_equal(rates.non_mated, non_mated)
    np.testing.assert_array_equal(rates.matches, matches)
    np.testing.assert_allclose(rates.likeness, scores / non_mated, rtol=1e-5)
    assert rates.likeness[2, 2] > rates.likeness[0, 1]
    np.testing.assert_array_equal(rates.mated, mated)
    np.testing.assert_array_equal(rates.missed, missed)
    assert rates.across == across > 0
    assert rates.left_out == 2
    assert rates.photos.sum() == len(usable)
    within = matches.diagonal() / non_mated.diagonal()
    assert within[2] > 3 * within[:2].max()
    if within.min() > 0:
        assert rates.fmr_ratio == pytest.approx(within.max() / within.min())
    else:
        assert rates.fmr_ratio is None
    assert rates.fnmr_ratio == pytest.approx((missed / mated).max() / (missed / mated).min())
    told = rates.to_dict()
    assert told["groups"][2]["fmr"]["errors"] == matches[2, 2]
    assert told["between"][0][2] == told["between"][2][0]
    assert told["between"][0][2]["comparisons"] == non_mated[0, 2]
    assert told["between"][0][2]["mean_score"] == pytest.approx(scores[0, 2] / non_mated[0, 2], rel=1e-5)
    # two maps, each with its colours
    assert len(figure(rates).axes) == 4


def test_everybody_together_has_the_fmr_that_was_asked_for() -> None:
    rows, people, _ = _drawn()
    fmr, threshold = group_threshold(all_pairs(rows, people))
    groups = [f"g{i % 2}" for i in range(len(rows))]
    rates = group_rates(rows, people, groups, threshold, fmr)
    once = np.triu(np.ones((2, 2), int))
    total = (rates.non_mated * once).sum()
    assert total == all_pairs(rows, people).non_mated
    assert (rates.matches * once).sum() == int(total * fmr)


def test_ratios_and_shares_without_errors() -> None:
    counts = np.array([[1000, 10], [10, 0]])
    rates = GroupRates(
        1e-2, 0.5, ("a", "b"), np.array([50, 1]), np.array([10, 0]), np.array([0, 0]), counts,
        np.zeros((2, 2), int), np.array([[0.1, 0.2], [0.2, np.nan]]), 0, 0,
    )  # fmt: skip
    assert rates.fmr_ratio is None
    assert rates.fmr_of(1).rate is None
    assert rates.fmr_of(1).to_dict() == {"rate": None, "interval": None, "errors": 0, "comparisons": 0}
    assert rates.fmr_of(0).interval.high > 0
    assert Share(3, 12).rate == 0.25
    assert "a, b" in rates.caveats()[1]
    assert rates.to_dict()["between"][1][1]["mean_score"] is None
    assert len(figure(rates).axes) >= 2
    for drawing in group_drawings("", rates):
        check_dark(drawing)


def test_too_little_to_judge() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(40, 4)).astype(np.float32)
    with pytest.raises(UsageError, match="too few for a threshold"):
        group_threshold(all_pairs(rows, [n // 2 for n in range(40)]))
    with pytest.raises(UsageError, match=r"1 group\(s\); at least two are needed"):
        group_rates(rows, ["p"] * 40, ["a"] * 40, 0.5, 1e-2)
    with pytest.raises(UsageError, match=r"0 group\(s\)"):
        group_rates(rows, ["p"] * 40, [None] * 40, 0.5, 1e-2)


def test_files_of_groups(tmp_path: Path) -> None:
    path = tmp_path / "g.csv"
    path.write_text("Photo, group\n./a/1.jpg,x\n\na\\2.jpg, y z\na/1.jpg,x\n")
    assert read_groups(path) == {"a/1.jpg": "x", "a/2.jpg": "y z"}
    for text, told in (
        ("a/1.jpg,x\n", "first line is 'a/1.jpg,x'"),
        ("photo,group\na/1.jpg\n", "line 2: expected"),
        ("photo,group\na/1.jpg,\n", "line 2: expected"),
        ("photo,group\na/1.jpg,x\na/1.jpg,y\n", "line 3: a/1.jpg has another group"),
    ):
        path.write_text(text)
        with pytest.raises(Unreadable, match=told):
            read_groups(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Unreadable, match="not a text file"):
        read_groups(path)
    with pytest.raises(InputOutput, match="No such file"):
        read_groups(tmp_path / "absent.csv")
