"""Logit distillation over identities."""

from __future__ import annotations

from torch import Tensor

from facekd.distillation.losses._base import register_loss
from facekd.distillation.losses._class_probabilities import AnswerLoss, Answers, divergence


@register_loss("logit")
class Logit(AnswerLoss):
    """``T^2 KL(softmax(z_t / T) || softmax(z_s / T))``, mean over the labelled crops of a batch.

    Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015, with
    ``z = scale * cos(embedding, class)``; the settings are those of `AnswerLoss`.
    """

    whole_batch = True
    name = "logit"

    def compare(self, answers: Answers) -> Tensor:
        return divergence(answers.teacher, answers.student)
