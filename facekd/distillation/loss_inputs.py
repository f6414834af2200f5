"""The inputs of the losses for a batch: of this process, of all processes, of one teacher of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from torch import Tensor, nn

from facekd.distillation.losses import Example
from facekd.models import Outputs, Targets
from facekd.training import gathered

M = TypeVar("M")


class LossInputs(NamedTuple):
    """The inputs of the losses for a batch: student outputs, teacher targets and labels."""

    outputs: Outputs
    targets: Targets | None
    example: Example


@dataclass(frozen=True)
class TeacherMember:
    """One of several teachers: its ``number`` from 1, and its ``columns`` of the joined targets."""

    number: int
    columns: slice

    def of(self, inputs: LossInputs) -> LossInputs:
        """The inputs with this teacher's targets only."""
        assert inputs.targets is not None
        rows = nn.functional.normalize(inputs.targets.embedding[:, self.columns], dim=1)
        example = Example(inputs.example.labels, inputs.example.own[:, self.columns])
        return LossInputs(inputs.outputs, Targets(rows, self.maps(inputs.targets.features)), example)

    def maps(self, maps: Mapping[str, M]) -> dict[str, M]:
        """This teacher's feature maps among those of all teachers, under their original names."""
        before = f"{self.number - 1}."
        return {name.removeprefix(before): m for name, m in maps.items() if name.startswith(before)}


def passed(inputs: LossInputs, kept: Tensor | None) -> LossInputs:
    """The rows ``kept``, or all if it is `None`."""
    outputs, targets, example = inputs
    if kept is None or targets is None:
        return inputs
    return LossInputs(
        Outputs(outputs.embedding[kept], {name: m[kept] for name, m in outputs.features.items()}),
        Targets(targets.embedding[kept], {name: m[kept] for name, m in targets.features.items()}),
        Example(example.labels[kept], example.own[kept]),
    )


def of_all_processes(inputs: LossInputs) -> LossInputs:
    """The rows of all processes; feature maps are not exchanged."""
    outputs, targets, example = inputs
    return LossInputs(
        Outputs(gathered(outputs.embedding)),
        Targets(gathered(targets.embedding)) if targets else None,
        Example(gathered(example.labels), gathered(example.own)),
    )
