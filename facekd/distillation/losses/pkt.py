"""Probabilistic knowledge transfer."""

from __future__ import annotations

import torch
from torch import Tensor

from facekd.distillation.losses._base import Example, Loss, Setting, Terms, register_loss, unit
from facekd.models import Outputs, Targets


@register_loss("pkt")
class PKT(Loss):
    """The divergence between neighbour distributions: ``KL(p_t || p_s)``, mean over the crops i of the
    batch, with ``p(j | i)`` proportional to ``(cos(x_i, x_j) + 1) / 2`` over j != i (Passalis,
    Tefas, "Learning deep representations with probabilistic knowledge transfer", ECCV 2018).
    Sizes may differ.
    """

    whole_batch = True

    def __init__(self, setting: Setting) -> None:
        super().__init__()

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        mine, wanted = _neighbours(student.embedding), _neighbours(teacher.embedding)
        return {"pkt": (wanted * (wanted / mine).log()).sum(1).mean()}


def _neighbours(rows: Tensor) -> Tensor:
    """p(j | i) [N, N - 1]."""
    count = len(rows)
    rows = unit(rows)
    kernel = (rows @ rows.T + 1) / 2
    apart = ~torch.eye(count, dtype=torch.bool, device=rows.device)
    others = kernel[apart].view(count, count - 1).clamp(min=1e-7)
    return others / others.sum(1, keepdim=True)
