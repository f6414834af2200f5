"""The tool that sets distillation beside pruning and quantisation, on next to nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from small_run import TEACHER, make_place, recipe, run

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import compare_compression

from facekd.models._saved import read_saved
from facekd.training import load_weights


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """As for small runs, with more people and crops; twelve are held out, and six of them are used for
    evaluation."""
    make_place(tmp_path)
    rng = np.random.default_rng(1)
    for person in range(20):
        folder = tmp_path / "crops" / f"h{person}"
        folder.mkdir()
        base = cv2.resize(rng.integers(0, 256, (7, 7, 3), np.uint8), (112, 112)).astype(int)
        for number in range(12):
            crop = (base + rng.integers(-20, 20, base.shape)).clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{number}.png"), crop)
    (tmp_path / "heldout.txt").write_text("".join(f"h{person}\n" for person in range(12)))
    return tmp_path


def test_the_pruned_network_is_that_of_the_run_it_lies_in(place: Path) -> None:
    wide = {"wide": ("widths = [8, 8, 16, 16]", "widths = [12, 10, 24, 20]")}
    run(place, "large", recipe(place, teacher=TEACHER, **wide))
    small = recipe(place, teacher=TEACHER)
    chosen = compare_compression.started(small, place / "large", teacher=True)
    assert (chosen.student.start, chosen.student.start_by) == (place / "large", "norms")
    assert compare_compression.started(small, place / "large", teacher=False).teacher is None
    run(place, "small", chosen)
    net, card = read_saved(compare_compression.pruned(small, place / "large", place / "small"))
    assert card.embedding.dim == 16
    large = load_weights(place / "large")
    kept = net.state_dict()["stage1.0.0.weight"]
    worth = large["stage1.0.0.weight"].abs().sum((1, 2, 3))
    assert len(kept) == 8
    assert all(any(torch.equal(one, other) for other in large["stage1.0.0.weight"]) for one in kept)
    assert worth.max() == pytest.approx(float(kept.abs().sum((1, 2, 3)).max()))


@pytest.mark.slow
def test_every_way_gets_a_row_with_figures_or_a_reason(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEKD_CACHE", str(place / "cache"))
    monkeypatch.setattr(compare_compression, "FMR", 0.1)
    wide = {"wide": ("widths = [8, 8, 16, 16]", "widths = [12, 10, 24, 20]")}
    run(place, "large", recipe(place, teacher=TEACHER, **wide))
    recipe(place, teacher=TEACHER)
    call = [str(place / "recipe.toml"), "--large", str(place / "large"), "--images", "64"]
    ran = CliRunner().invoke(
        compare_compression.main, [*call, "--out", str(place / "out")], catch_exceptions=False
    )
    assert ran.exit_code == 0, ran.output
    told = json.loads((place / "out" / "compression.json").read_text())
    rows = {(row["way"], row["form"]): row for row in told["rows"]}
    assert len(rows) == 10
    for row in rows.values():
        assert (row["tar"] is None) == bool(row["refused"])
        if row["tar"] is not None:
            assert 0 <= row["low"] <= row["tar"] <= row["high"] <= 100
    ways = [way for way, form in rows if form == "float32"]
    assert [rows[way, "float32"]["images"] for way in ways] == [
        32,
        0,
        64,
        64,
        64,
    ]  # the best checkpoint of the first
    # pruned to one size, all but the first do the same work
    macs = list(told["macs"].values())
    assert len(set(macs[1:])) == 1
    assert macs[0] > macs[1]
    left = load_weights(place / "out" / "pruned-distilled" / "pruned.safetensors")
    tuned = load_weights(place / "out" / "pruned-distilled")
    assert any(not torch.equal(left[name], tuned[name]) for name in left)
