"""Logit distillation over identities: the teacher's soft answer to "who is it?"."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from facekd.distill.losses.base import (
    Example,
    Loss,
    Setting,
    Terms,
    classes_of,
    register_loss,
    unit,
    zero_like,
)
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets


@register_loss("logit")
class Logit(Loss):
    """``T^2 KL(softmax(z_t / T) || softmax(z_s / T))``, mean over the labelled crops of a batch.

    Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015, with
    ``z = scale * cos(embedding, class)``. The teacher's classes are its class means, each crop
    left out of its own. With ``classifier = "shared"`` the student is scored against the same
    prototypes (a reweighted feature loss, through a learned projector where sizes differ); with
    ``"own"`` against a classifier that it learns. Identities with fewer than three crops, and
    crops without a label, take no part.
    """

    needs_labels = True
    sums: Tensor

    def __init__(
        self,
        setting: Setting,
        temperature: float = 4.0,
        scale: float = 64.0,
        classifier: Literal["shared", "own"] = "own",
    ) -> None:
        super().__init__()
        if temperature <= 0 or scale <= 0:
            raise RecipeError("loss 'logit': temperature and scale are above zero")
        if classifier not in ("shared", "own"):
            raise RecipeError(f"loss 'logit': classifier = '{classifier}' is neither shared nor own")
        if setting.classes.count < 2:
            raise RecipeError(
                "loss 'logit' needs two or more identities with at least three crops",
                "Give labelled data, or leave the loss out.",
            )
        self.temperature, self.scale = temperature, scale
        self.classes = setting.classes
        self.register_buffer("sums", setting.classes.sums, persistent=False)
        same = setting.student_dim == setting.teacher_dim
        self.projector: nn.Module = nn.Identity()
        self.weight: nn.Parameter | None = None
        if classifier == "own":
            self.weight = nn.Parameter(torch.randn(setting.classes.count, setting.student_dim))
        elif not same:
            self.projector = nn.Linear(setting.student_dim, setting.teacher_dim, bias=False)

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        wanted = classes_of(self.classes, example.labels)
        chosen = wanted >= 0
        if not chosen.any():
            return {"logit": zero_like(student)}
        wanted, own = wanted[chosen], example.own[chosen]
        teacher_logits = self._against_prototypes(unit(teacher.embedding[chosen]), wanted, own)
        embedding = student.embedding[chosen]
        if self.weight is not None:
            student_logits = self.scale * unit(embedding) @ unit(self.weight).T
        else:
            student_logits = self._against_prototypes(unit(self.projector(embedding)), wanted, own)
        divergence = nn.functional.kl_div(
            (student_logits / self.temperature).log_softmax(1),
            (teacher_logits / self.temperature).log_softmax(1),
            reduction="batchmean",
            log_target=True,
        )
        return {"logit": divergence * self.temperature**2}

    def _against_prototypes(self, rows: Tensor, wanted: Tensor, own: Tensor) -> Tensor:
        """``scale * cos`` [N, C] to the class means; the crop's own share is taken from its own."""
        logits = self.scale * rows @ unit(self.sums).T
        without = unit(self.sums[wanted] - own.float())
        left_out = self.scale * (rows * without).sum(1, keepdim=True)
        return logits.scatter(1, wanted[:, None], left_out)
