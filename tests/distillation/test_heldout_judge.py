"""The judge of students, on people that they were never trained on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from facekd.distillation import heldout_judge
from facekd.models import build_model
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
