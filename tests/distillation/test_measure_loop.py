"""What `tools/measure_loop.py` counts as the student's passes."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import pytest
from small_run import TEACHER, recipe, run

from facekd.distillation.losses.cosine import Cosine
from facekd.models.teachers.onnx import OnnxTeacher
from facekd.training.data import ViewLoader

TOOL = Path(__file__).parents[2] / "tools" / "measure_loop.py"
NAP = 0.2


def slowed(method: Any) -> Any:
    def call(*given: Any) -> Any:
        time.sleep(NAP)
        return method(*given)

    return call


@pytest.mark.parametrize("targets", ["cached", "online"])
def test_the_teacher_and_the_data_are_no_passes_and_losses_are(
    place: Path, targets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("measure_loop", TOOL)
    assert spec
    assert spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    chosen = recipe(place, TEACHER + f'targets = "{targets}"\n', '[[loss]]\nname = "cosine"\n')

    def passes(name: str) -> list[float]:
        with tool.passes_timed() as spent:
            run(place, name, chosen, stop_after=4)
        return sorted(spent)

    quick = passes("warm")[1]  # the first step of all builds its kernels
    with monkeypatch.context() as patches:
        patches.setattr(OnnxTeacher, "targets", slowed(OnnxTeacher.targets))
        patches.setattr(ViewLoader, "batches", slowed(ViewLoader.batches))
        still = passes("slow-teacher")
    assert len(still) == 4
    assert 0 < still[1] < NAP
    monkeypatch.setattr(Cosine, "forward", slowed(Cosine.forward))
    assert passes("slow-loss")[1] >= NAP > quick
