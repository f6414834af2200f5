"""The judge of students, on people that they were never trained on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from facekd.distillation import heldout_judge
from facekd.distillation.heldout_judge import at_chance
from facekd.models import build_model
from facekd.training import Diverged
from facekd.verification import all_pairs


def test_the_last_look_at_held_out_people_has_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(70), 4)
    rows = random.normal(size=(70, 16))[labels] + 0.8 * random.normal(size=(280, 16))
    monkeypatch.setattr(heldout_judge, "embed_crops", lambda *_: rows.astype(np.float32))
    student = build_model("plainres", dim=16, widths=[8, 8, 8, 8], depths=[0, 0, 0, 0])
    judge = heldout_judge.HeldOutJudge(SimpleNamespace(labels=labels), "cpu")
    assert judge.interval() is None
    point = all_pairs(rows.astype(np.float32), labels).operating_point(1e-3)
    assert judge(student) == pytest.approx(point.tar)
    assert judge.interval() == (point.interval.low, point.interval.high)
    few = heldout_judge.HeldOutJudge(SimpleNamespace(labels=labels[:40]), "cpu")
    monkeypatch.setattr(heldout_judge, "embed_crops", lambda *_: rows[:40].astype(np.float32))
    assert 0 <= few(student) <= 1
    assert few.interval() is None


def crowd(people: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of ``people`` with four crops each, whose directions count ``apart`` times the noise."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), 4)
    rows = apart * random.normal(size=(people, 16))[labels] + random.normal(size=(4 * people, 16))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels


def test_chance_is_told_from_little() -> None:
    for seed in range(20):
        told = at_chance(*crowd(60, 0.0, seed))
        assert told is not None
        assert "60 held-out people" in told
        assert at_chance(*crowd(60, 0.5, seed)) is None
    rows, labels = crowd(60, 1.0)
    assert at_chance(np.ones_like(rows) / 4, labels) is not None  # everybody is one point
    assert at_chance(*crowd(9, 0.0)) is None  # too few to tell


def test_the_means_are_those_of_the_pairs() -> None:
    rows, labels = crowd(12, 0.0)
    scores, same = rows @ rows.T, labels[:, None] == labels
    np.fill_diagonal(scores, np.nan)
    means = [np.nanmean(scores[labels == k][:, labels == k]) for k in range(12)]
    means = np.array(means) - [scores[labels == k][:, labels != k].mean() for k in range(12)]
    told = at_chance(rows, labels)
    assert told is not None
    assert f"by {means.mean():.2g}," in told
    assert f"error of {means.std(ddof=1) / 12**0.5:.2g}" in told
    assert same.sum() == 12 * 16


def test_a_student_at_chance_ends_its_run_from_the_half_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = crowd(60, 0.0)
    monkeypatch.setattr(heldout_judge, "embed_crops", lambda *_: rows.astype(np.float32))
    student = build_model("plainres", dim=16, widths=[8, 8, 8, 8], depths=[0, 0, 0, 0])
    judge = heldout_judge.HeldOutJudge(SimpleNamespace(labels=labels), "cpu")
    assert judge(student, 0.4) < 0.1
    with pytest.raises(Diverged, match="the student is no better than chance after 60% of the run") as told:
        judge(student, 0.6)
    assert told.value.exit_code == 2
    assert "lower schedule.rate" in (told.value.fix or "")
