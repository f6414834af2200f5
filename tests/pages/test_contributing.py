"""The loss that CONTRIBUTING.md shows works: in a recipe's checks, in its value and its gradient."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from shown_commands import ROOT, blocks_in

#: run by itself, so that the registry of the other tests does not know the loss
TRIED = """
import torch
from facekd.distillation.losses import Classes, Example, Setting, check_settings, loss_class
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets
import huber

(fault,) = check_settings("huber", {"delta": "much"})
assert fault == "loss 'huber': delta = \\"much\\" should be a valid number"
classes = Classes(torch.full((1,), -1), torch.empty(0, 8))
setting = Setting(8, 8, classes, torch.empty(0, 8))
for settings, wrong in (({"delta": 0.0}, setting), ({}, Setting(8, 9, classes, torch.empty(0, 9)))):
    try:
        loss_class("huber")(wrong, **settings)
    except RecipeError:
        continue
    raise SystemExit("a wrong setting was accepted")

torch.manual_seed(0)
mine, wanted = torch.randn(5, 8, requires_grad=True), torch.randn(5, 8)
example = Example(torch.full((5,), -1), torch.zeros(5, 8))
loss = loss_class("huber")(setting, delta=0.3)
(term,) = loss(Outputs(mine, {}), Targets(wanted, {}), example, 0.0).values()
gap = (mine / mine.norm(dim=1, keepdim=True) - wanted / wanted.norm(dim=1, keepdim=True)).abs()
by_hand = torch.where(gap < 0.3, gap**2 / 2, 0.3 * (gap - 0.15)).sum(1).mean()
assert torch.allclose(term, by_hand), (term, by_hand)
term.backward()
assert mine.grad.abs().min() > 0
"""


def test_the_loss_shown_is_found_checked_and_right(tmp_path: Path) -> None:
    (code,) = blocks_in(ROOT / "CONTRIBUTING.md", "python")
    (tmp_path / "huber.py").write_text(code, encoding="utf-8")
    (tmp_path / "tried.py").write_text(TRIED, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "tried.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


def test_the_targets_of_make_are_there() -> None:
    targets = {line.split(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line}
    assert {"test", "slow", "lint", "demo", "docs", "serve-docs"} <= targets
