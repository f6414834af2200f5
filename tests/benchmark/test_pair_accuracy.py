"""The reported accuracy of a list of pairs, recomputed from embeddings with plain loops."""

from pathlib import Path

import numpy as np
import pytest

from facekd.benchmark import roc_points, roc_words
from facekd.benchmark.pair_accuracy import rates_of
from facekd.verification.protocols import PairList, open_protocol


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[PairList, dict[str, np.ndarray], object]:
    """20 people with 4 photos each, 120 mated and 150 non-mated pairs; one photo without embedding."""
    random = np.random.default_rng(3)
    photos = [f"p{person}/{number}.jpg" for person in range(20) for number in range(4)]
    rows = {}
    for person in range(20):
        centre = random.normal(size=16)
        for number in range(4):
            rows[f"p{person}/{number}.jpg"] = (centre + random.normal(size=16)).astype(np.float32)
    rows["p3/0.jpg"] = np.full(16, np.nan, np.float32)
    mated = [
        (a, b, 1) for i, a in enumerate(photos) for b in photos[i + 1 :] if a.split("/")[0] == b.split("/")[0]
    ]
    non_mated = [(a, b, 0) for i, a in enumerate(photos) for b in photos[i + 4 :: 17] if a[:3] != b[:3]][:150]
    path: Path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    lines = ["path1,path2,label", *(f"{a},{b},{label}" for a, b, label in mated + non_mated)]
    path.write_text("\n".join(lines))
    protocol = open_protocol("pairs", path)
    assert isinstance(protocol, PairList)
    return protocol, rows, protocol.evaluate(lambda names: np.stack([rows[n] for n in names]))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(
        one.astype(float) @ other / np.linalg.norm(one.astype(float)) / np.linalg.norm(other.astype(float))
    )


def test_the_curve_counts_all_pairs_where_people_are_known(judged) -> None:
    _, rows, result = judged
    found = roc_points(result)
    names = [n for n in rows if not np.isnan(rows[n]).any()]
    mated, non_mated = [], []
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            same = one.split("/")[0] == other.split("/")[0]
            (mated if same else non_mated).append(cosine(rows[one], rows[other]))
    assert found.non_mated == len(non_mated)
    assert f"{len(mated):,} mated, {len(non_mated):,} non-mated" in roc_words(result)
    ranked = np.sort(non_mated)[::-1]
    for place in (0, 5, 20):
        threshold = ranked[place] - 1e-7
        assert found.fmr[place] == pytest.approx((place + 1) / len(non_mated))
        assert found.tar[place] == pytest.approx(np.mean(np.array(mated) >= threshold))
    assert (np.diff(found.fmr) > 0).all()


def test_rates_carry_what_they_rest_on(judged) -> None:
    _, _, result = judged
    rates = {rate.name: rate for rate in rates_of(result)}
    assert rates["Accuracy"].value == pytest.approx(result.accuracy.mean)
    with_failures = rates["Accuracy, failures as errors"]
    assert with_failures.value < rates["Accuracy"].value
    assert "failed and counted as errors" in with_failures.basis
    low = rates["TAR at FMR 0.0001, all pairs"]
    assert low.value is None
    assert low.basis.startswith("insufficient data")
    for rate in rates.values():
        if rate.low is not None:
            assert rate.low <= rate.value <= rate.high
