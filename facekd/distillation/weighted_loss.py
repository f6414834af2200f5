"""A loss with a weight that moves over a run."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from facekd.distillation.loss_inputs import LossInputs, TeacherMember
from facekd.distillation.losses import Loss


@dataclass(frozen=True)
class WeightedLoss:
    """A loss and its weight, which goes in a line from ``weight`` at the share ``begin`` of a run to
    ``final_weight`` at ``end``; before and after the loss rests. ``teacher`` is the one of several
    that it listens to, if not to all."""

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
        """The terms of the loss, not weighted; with several teachers named with the number of its own."""
        if self.teacher is None:
            return dict(self.loss(*seen, progress))
        found = self.loss(*self.teacher.of(seen), progress)
        return {f"{name} {self.teacher.number}": value for name, value in found.items()}
