"""Grouped logit distillation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from facekd.distillation.losses._base import Setting, register_loss
from facekd.distillation.losses._class_probabilities import AnswerLoss, Answers, log_divergence, shares
from facekd.errors import RecipeError


@register_loss("gkd")
class GKD(AnswerLoss):
    """``T^2 (primary + binary)``: the divergence within the teacher's top classes, which together
    hold ``mass`` of its probability, and that of (top, tail) as two classes; the divergence within
    the tail is dropped (Zhao et al., "Grouped knowledge distillation for deep face recognition",
    AAAI 2023). The tail is never empty.
    """

    whole_batch = True
    name = "gkd"

    def __init__(self, setting: Setting, mass: float = 0.9, **answers: Any) -> None:
        super().__init__(setting, **answers)
        if not 0 < mass < 1:
            raise RecipeError("loss 'gkd': mass must be between 0 and 1")
        self.mass = mass

    def compare(self, answers: Answers) -> Tensor:
        top = top_group(answers.teacher.softmax(1), self.mass)
        binary = log_divergence(shares(answers.teacher, top), shares(answers.student, top))
        theirs, mine = _within(answers.teacher, top), _within(answers.student, top)
        primary = torch.where(top, theirs.exp() * (theirs - mine), 0.0).sum(1).mean()
        return primary + binary


def top_group(probabilities: Tensor, mass: float) -> Tensor:
    """The fewest classes, most probable first, that together hold ``mass``, bool [M, C]; at most
    C - 1."""
    ordered, places = probabilities.sort(dim=1, descending=True)
    before = ordered.cumsum(1) - ordered
    inside = before < mass
    inside[:, -1] = False
    return torch.zeros_like(inside).scatter(1, places, inside)


def _within(logits: Tensor, group: Tensor) -> Tensor:
    """Log-probabilities among the classes of ``group`` only; other entries are meaningless."""
    return logits - logits.masked_fill(~group, -torch.inf).logsumexp(1, keepdim=True)
