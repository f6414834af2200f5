"""A loss with a weight that changes over a run."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from facekd.distillation.loss_inputs import LossInputs, TeacherMember
from facekd.distillation.losses import Loss


@dataclass(frozen=True)
class WeightedLoss:
    """A loss and its weight, which goes linearly from ``weight`` at the share ``begin`` of a run to
    ``final_weight`` at ``end``; before and after that the loss is off. ``teacher`` is the one of several
    teachers that it uses; `None` for all."""

    loss: Loss
    weight: float = 1.0
    final_weight: float | None = None
    begin: float = 0.0
    end: float = 1.0
    teacher: TeacherMember | None = None

    def weight_at(self, progress: float) -> float:
        if not self.begin <= progress < self.end:
            return 0.0
        last = self.weight if self.final_weight is None else self.final_weight
        return self.weight + (last - self.weight) * (progress - self.begin) / (self.end - self.begin)

    def terms(self, seen: LossInputs, progress: float) -> dict[str, Tensor]:
        """The unweighted terms of the loss; with one teacher of several, named with that teacher's number."""
        if self.teacher is None:
            return dict(self.loss(*seen, progress))
        found = self.loss(*self.teacher.of(seen), progress)
        return {f"{name} {self.teacher.number}": value for name, value in found.items()}
