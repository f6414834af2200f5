"""One step for each loss and each way that a gate may fall over a batch: alone, or as one of
`torchrun`'s processes, which share the batch.

    python gated_steps.py FILE
    python -m torch.distributed.run --nproc-per-node 2 gated_steps.py FILE

FILE gets, by case and loss, what the steps came to.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facekd.card.contract import InputSpec
from facekd.distillation.losses import Classes, Setting, loss_class
from facekd.distillation.task import DistillTask, Gate
from facekd.distillation.weighted_loss import WeightedLoss
from facekd.models import Outputs, Targets
from facekd.training import make_fabric, processes, rank
from facekd.training.data import Batch
from facekd.training.loop import gradient_shares

N, DIM = 8, 6

#: which of the eight views the gate lets through; with two processes the first four are one share
CASES = {
    "all": [1, 1, 1, 1, 1, 1, 1, 1],
    "unevenly": [1, 1, 1, 0, 0, 0, 1, 0],
    "one share": [1, 1, 0, 1, 0, 0, 0, 0],
    "other share": [0, 0, 0, 0, 0, 1, 1, 0],
    "one view": [0, 0, 0, 0, 0, 1, 0, 0],
    "none": [0, 0, 0, 0, 0, 0, 0, 0],
}

#: of single crops, of the whole batch, of feature maps; and of two kinds at once
LOSSES = (
    ("cosine",), ("mse",), ("rkd",), ("prototypes",), ("adadistill",), ("fitnet",), ("attention",),
    ("cosine", "rkd", "fitnet"),
)  # fmt: skip


class Student(nn.Module):
    """A convolution, whose map is tapped, and a projection."""

    input = InputSpec()

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Conv2d(3, 4, 4, stride=4)
        self.head = nn.Linear(64, DIM, bias=False)

    def outputs(self, planes: Tensor, features: bool = False) -> Outputs:
        maps = self.map(planes).tanh()
        return Outputs(self.head(maps.flatten(1)), {"map": maps} if features else {})


def step(fabric: Any, kept: list[int], names: tuple[str, ...]) -> dict[str, Any]:
    """Terms (means over the processes), their names in each, and gradients of one step."""
    torch.manual_seed(0)
    views = torch.randint(0, 256, (N, 16, 16, 3), dtype=torch.uint8)
    rows = nn.functional.normalize(torch.randn(N, DIM), dim=1)
    maps = torch.randn(N, 5, 4, 4)
    own = torch.where(torch.tensor(kept)[:, None] > 0, rows, -rows)
    labels = torch.arange(N) % 2
    sums = torch.stack([rows[labels == k].sum(0) for k in (0, 1)]) + torch.randn(2, DIM)
    classes = Classes(torch.tensor([0, 1, -1]), sums, torch.tensor([4, 4]))
    setting = Setting(DIM, DIM, classes, rows, {"map": (4, 4, 4)}, {"map": (5, 4, 4)})
    task = DistillTask(
        Student(),
        [WeightedLoss(loss_class(name)(setting), 0.5) for name in names],
        lambda batch: Targets(rows[batch.crops], {"map": maps[batch.crops]}),
        lambda crops: own[crops],
        gate=Gate(0.5, lambda crops: own[crops]),
    )
    module = fabric.setup_module(task)
    module.mark_forward_method("step")
    share = N // processes()
    mine = torch.arange(rank() * share, (rank() + 1) * share)
    nothing = torch.zeros(share, dtype=torch.int64)
    result = module.step(Batch(views[mine], mine, nothing, nothing > 0, labels[mine]), 0.5)
    gradient_shares(result.terms, task.student)  # every process asks for the same ones, or all wait
    fabric.backward(result.loss)
    gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in task.named_parameters()}
    terms = fabric.all_reduce(torch.stack(list(result.terms.values())).detach(), reduce_op="mean")
    named: list[Any] = [None] * processes()
    if processes() > 1:
        torch.distributed.all_gather_object(named, list(result.terms))
    return {
        "terms": dict(zip(result.terms, terms.tolist(), strict=True)),
        "names": named if processes() > 1 else [list(result.terms)],
        "gradients": gradients,
        "buffers": dict(task.named_buffers()),
    }


def main(file: Path) -> None:
    torch.set_num_threads(1)
    fabric = make_fabric("cpu")
    found = {
        f"{case}: {', '.join(names)}": step(fabric, kept, names)
        for case, kept in CASES.items()
        for names in LOSSES
    }
    if rank() == 0:
        torch.save(found, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
