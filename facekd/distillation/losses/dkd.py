"""Decoupled logit distillation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from facekd.distillation.losses._base import Setting, register_loss
from facekd.distillation.losses._class_probabilities import (
    AnswerLoss,
    Answers,
    divergence,
    log_divergence,
    shares,
)
from facekd.errors import RecipeError


@register_loss("dkd")
class DKD(AnswerLoss):
    """``T^2 (alpha TCKD + beta NCKD)``: the divergence of (target, all others) as two classes, and
    that among the others (Zhao et al., "Decoupled knowledge distillation", CVPR 2022, equation 7).
    Classic logit distillation is ``alpha = 1`` with beta = 1 - p_t(target) for each crop.
    """

    whole_batch = True
    name = "dkd"

    def __init__(self, setting: Setting, alpha: float = 1.0, beta: float = 8.0, **answers: Any) -> None:
        super().__init__(setting, **answers)
        if alpha < 0 or beta < 0 or alpha + beta == 0:
            raise RecipeError("loss 'dkd': alpha and beta must not be negative, and one must be above zero")
        self.alpha, self.beta = alpha, beta

    def compare(self, answers: Answers) -> Tensor:
        target = torch.zeros_like(answers.teacher, dtype=torch.bool)
        target[torch.arange(len(target)), answers.wanted] = True
        binary = log_divergence(shares(answers.teacher, target), shares(answers.student, target))
        others = divergence(_without(answers.teacher, target), _without(answers.student, target))
        return self.alpha * binary + self.beta * others


def _without(logits: Tensor, target: Tensor) -> Tensor:
    """The logits [M, C - 1] of all classes except the target."""
    return logits[~target].view(len(logits), -1)
