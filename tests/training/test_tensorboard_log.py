"""Every number of a run, for TensorBoard too."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import make_place, recipe, run

from facekd.training import RunFolder
from facekd.training import tensorboard_log as boards


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_place(tmp_path)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = events.EventAccumulator(str(folder))
    read.Reload()
    return {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_tensorboard_shows_what_the_metrics_say(place: Path) -> None:
    metrics = run(place, "run", recipe(place))
    shown = scalars(place / "run" / "tensorboard")
    for name in ("loss", "cosine", "logit", "rate", "images_per_second", "heldout_tar_1e-3"):
        expected = [(r["step"], r[name]) for r in metrics if name in r]
        assert [step for step, _ in shown[name]] == [step for step, _ in expected]
        assert [v for _, v in shown[name]] == pytest.approx([v for _, v in expected], rel=1e-5)
    shares = next(r["gradient_share"] for r in metrics if "gradient_share" in r)
    for name, share in shares.items():
        assert shown[f"gradient_share/{name}"] == [(1, pytest.approx(share, rel=1e-5))]


def test_a_run_needs_no_tensorboard(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards.importlib.util, "find_spec", lambda name: None)
    run(place, "run", recipe(place))
    assert not (place / "run" / "tensorboard").exists()
    assert RunFolder(place / "run").metrics()[-1]["finished"]
