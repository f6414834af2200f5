"""Logit distillation, one class against the rest at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from facekd.distillation.losses._base import register_loss
from facekd.distillation.losses._class_probabilities import AnswerLoss, Answers


@register_loss("one_vs_rest")
class OneVsRest(AnswerLoss):
    """``-T^2 sum_c [p_t log p_s + (1 - p_t) log(1 - p_s)]``, mean over the labelled crops: the
    binary cross-entropy of every class's softmax probability at temperature T against the
    teacher's. Unlike the divergence it also penalises mass on classes that the teacher excludes.

    One against the rest as in Yang et al., "Multi-label knowledge distillation", ICCV 2023, whose
    probabilities are sigmoids of the logits, since their labels do not exclude each other.
    """

    whole_batch = True
    name = "one_vs_rest"

    def compare(self, answers: Answers) -> Tensor:
        wanted, mine = answers.teacher.softmax(1), answers.student.log_softmax(1)
        # expm1 computes 1 - p exactly for small p; p is clipped just below 1
        others = torch.log(-torch.expm1(mine.clamp(max=-1e-6)))
        return -(wanted * mine + (1 - wanted) * others).sum(1).mean()
