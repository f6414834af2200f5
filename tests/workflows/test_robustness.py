"""What worse photos cost: the counts behind it, and that no work is done twice."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dark_drawings import check_dark
from patterned_people import write_people
from tiny_model import write_tiny_model

from facekd.card import PhotoLimit, PhotoLimits, Sample, card_of, load_onnx, write_card
from facekd.preprocess import CLEAN, DEGRADATIONS, photo_limits
from facekd.reporting.robustness_figure import robustness_drawings
from facekd.verification.protocols import open_protocol
from facekd.workflows.robustness import at_clean_threshold, measure_robustness, robustness_steps


def test_at_the_threshold_of_clean_crops(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pairs = [f"{n % 2}/{n}.jpg,x/{n}.jpg,{int(n % 3 == 0)}" for n in range(60)]
    (tmp_path / "pairs.csv").write_text("\n".join(["path1,path2,label", *pairs]))
    protocol = open_protocol("pairs", tmp_path / "pairs.csv")
    rows = random.normal(size=(len(protocol.photos), 4)).astype(np.float32)
    rows[5] = np.nan
    result = protocol.evaluate(lambda _: rows)
    found = at_clean_threshold(result, 0.1)
    done = [(s, m) for s, m in zip(result.scores, result.mated, strict=True) if np.isfinite(s)]
    assert (found.mated, found.misses) == (sum(m for _, m in done), sum(m and s < 0.1 for s, m in done))
    assert found.non_mated == sum(not m for _, m in done) == len(done) - found.mated
    assert found.false_matches == sum(not m and s >= 0.1 for s, m in done)
    assert found.fmr == found.false_matches / found.non_mated
    assert found.tar == 1 - found.misses / found.mated
    for rate, interval in zip((found.fmr, found.tar), found.intervals, strict=True):
        assert interval.low < rate < interval.high


def limited(model: Path, reason: str, limit: float) -> Path:
    """The ``model`` with this limit in its card."""
    limits = PhotoLimits(
        limits=(PhotoLimit(reason=reason, limit=limit, refused=0),), fmr=1e-2, threshold=0.5, photos=80,
        data="people", sample=Sample(people=20, photos=80, digest="0" * 64), detector="none", aligner="a",
        date="2026-01-01",
    )  # fmt: skip
    network = load_onnx(model)
    write_card(network, card_of(network, model.stem)[0].model_copy(update={"photo_limits": limits}), model)
    return model


def test_a_crop_is_measured_once_for_all_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_people(tmp_path / "crops", 6, 2)
    lines = [f"P{n:02d}/1.png,P{n:02d}/2.png,1" for n in range(6)]
    lines += [f"P{n:02d}/1.png,P{(n + 1) % 6:02d}/2.png,0" for n in range(6)]
    (tmp_path / "pairs.csv").write_text("\n".join(["path1,path2,label", *lines]))
    protocol = open_protocol("pairs", tmp_path / "pairs.csv")
    models = [
        limited(write_tiny_model(tmp_path / f"{name}.onnx", seed=seed), "too_blurred", limit)
        for seed, (name, limit) in enumerate((("none", 0.0), ("all", 10.0)))
    ]
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def counted(fault: photo_limits.Fault) -> photo_limits.Fault:
        def measure(crop: np.ndarray) -> float:
            with lock:
                counts[fault.reason] += 1
            return fault.measure(crop)

        return replace(fault, measure=measure)

    monkeypatch.setattr(photo_limits, "FAULTS", tuple(map(counted, photo_limits.FAULTS)))
    told: list[int] = []
    found = measure_robustness(models, protocol, tmp_path / "crops", detector=None, advance=told.append)
    assert sum(told) == robustness_steps(protocol)
    assert counts == {"too_blurred": 12 * len((CLEAN, *DEGRADATIONS))}
    assert {row.refused for row in found.models["none"]} == {0.0}
    assert {row.refused for row in found.models["all"]} == {1.0}
    check_dark(next(robustness_drawings(found)))
