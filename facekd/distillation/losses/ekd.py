"""Evaluation-oriented distillation: the ranks of scores among the relevant thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from facekd.distillation.losses._base import Example, Loss, Setting, Terms, register_loss, unit, zero_like
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets


@register_loss("ekd")
class EKD(Loss):
    """Each student score should exceed as many of the student's thresholds as the teacher's of its own.

    The rank of a score x is ``sum_k sigmoid((x - tau_k) / temperature)``, where ``tau_k`` is the
    score that a share ``fmrs[k]`` of the batch's non-mated pairs exceeds, a running mean with
    ``momentum`` for each network. The loss is ``mated`` times the mean squared difference of the
    ranks of student and teacher over the mated pairs, plus ``non_mated`` times that over the
    ``hardest`` non-mated pairs, those with the highest student scores (Huang, Wu, Xu, Ding,
    "Evaluation-oriented knowledge distillation for deep face recognition", CVPR 2022; the paper uses,
    for batches of thousands, six thresholds down to 1e-6, 2,000 pairs, weights 0.02 and 0.01).

    Pairs with an unlabelled crop count as non-mated. For an FMR below one pair of the batch, the
    threshold is the highest score.
    """

    whole_batch = True
    needs_labels = True
    mine: Tensor
    theirs: Tensor

    def __init__(
        self,
        setting: Setting,
        fmrs: Sequence[float] = (1e-1, 1e-2, 1e-3),
        temperature: float = 0.02,
        momentum: float = 0.01,
        hardest: int = 200,
        mated: float = 1.0,
        non_mated: float = 0.5,
    ) -> None:
        super().__init__()
        if not fmrs or not all(0 < fmr < 1 for fmr in fmrs):
            raise RecipeError("loss 'ekd': fmrs must be between 0 and 1")
        if temperature <= 0 or not 0 < momentum <= 1 or hardest < 1 or min(mated, non_mated) < 0:
            raise RecipeError(
                "loss 'ekd': temperature must be above zero, momentum in (0, 1], hardest one or more, "
                "mated and non_mated not negative"
            )
        self.fmrs, self.temperature, self.momentum = tuple(fmrs), temperature, momentum
        self.hardest, self.mated, self.non_mated = hardest, mated, non_mated
        self.register_buffer("mine", torch.full((len(self.fmrs),), torch.nan))
        self.register_buffer("theirs", torch.full((len(self.fmrs),), torch.nan))

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        labels = example.labels
        above = torch.ones(len(labels), len(labels), dtype=torch.bool, device=labels.device).triu(1)
        known = labels >= 0
        same = ((labels[:, None] == labels) & known[:, None] & known)[above]
        mine, theirs = (_scores(x.embedding)[above] for x in (student, teacher))
        if not (~same).any():
            return {"ekd": zero_like(student)}
        if self.training:
            self._follow(mine.detach()[~same], theirs[~same])
        loss = zero_like(student)
        if same.any():
            loss = loss + self.mated * self._apart(mine[same], theirs[same])
        hard = mine.detach()[~same].topk(min(self.hardest, int((~same).sum()))).indices
        return {"ekd": loss + self.non_mated * self._apart(mine[~same][hard], theirs[~same][hard])}

    def _follow(self, mine: Tensor, theirs: Tensor) -> None:
        for running, scores in ((self.mine, mine), (self.theirs, theirs)):
            ordered = scores.sort(descending=True).values
            found = torch.stack([ordered[int(fmr * len(ordered))] for fmr in self.fmrs])
            first = bool(running.isnan().any())
            running.copy_(found if first else running.lerp(found, self.momentum))

    def _apart(self, mine: Tensor, theirs: Tensor) -> Tensor:
        return nn.functional.mse_loss(self._ranks(mine, self.mine), self._ranks(theirs, self.theirs))

    def _ranks(self, scores: Tensor, thresholds: Tensor) -> Tensor:
        return ((scores[:, None] - thresholds) / self.temperature).sigmoid().sum(1)


def _scores(rows: Tensor) -> Tensor:
    rows = unit(rows)
    return rows @ rows.T
