"""A small batch that every loss is tried on, and how its gradient is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from facekd.distillation.losses import Classes, Example, Setting
from facekd.models import Outputs, Targets

N, STUDENT, TEACHER, CLASSES = 12, 6, 9, 4
STUDENT_MAPS = {"small": (3, 2, 2), "large": (2, 4, 4)}
TEACHER_MAPS = {"first": (3, 8, 8), "second": (4, 4, 4), "third": (5, 2, 2)}


class Data(NamedTuple):
    student: Outputs
    teacher: Targets
    example: Example
    setting: Setting


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max())
    return e / e.sum()


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    return float(np.sum(p * (np.log(p) - np.log(q))))


def make_data() -> Data:
    """Twelve crops; labels 0 to 4, of which label 2 has too few crops to be a class."""
    torch.manual_seed(3)  # what a loss begins with
    rng = np.random.default_rng(3)
    teacher = unit(rng.normal(size=(N, TEACHER))).astype(np.float32)
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 3, 3, 3, -1, -1])
    of_label = torch.tensor([0, 1, -1, 2, 3, -1])
    sums = np.zeros((CLASSES, TEACHER), np.float32)
    for row, label in zip(teacher, labels, strict=True):
        if of_label[label] >= 0:
            sums[of_label[label]] += row
    sums[3] = unit(rng.normal(size=TEACHER)) * 3  # a class with nobody in this batch
    classes = Classes(of_label, torch.tensor(sums))
    setting = Setting(STUDENT, TEACHER, classes, torch.tensor(teacher), STUDENT_MAPS, TEACHER_MAPS)
    student = torch.tensor(rng.normal(size=(N, STUDENT)), dtype=torch.float32, requires_grad=True)
    mine, theirs = (
        {
            name: torch.tensor(rng.normal(size=(N, *shape)), dtype=torch.float32)
            for name, shape in maps.items()
        }
        for maps in (STUDENT_MAPS, TEACHER_MAPS)
    )
    example = Example(torch.tensor(labels), torch.tensor(teacher))
    return Data(Outputs(student, mine), Targets(torch.tensor(teacher), theirs), example, setting)


def classes_in(data: Data) -> list[tuple[int, int]]:
    """Number and class of every crop that has a class."""
    of_label = data.setting.classes.of_label
    found = [(i, int(of_label[label])) for i, label in enumerate(data.example.labels.tolist())]
    return [(i, wanted) for i, wanted in found if wanted >= 0]


def slopes_agree(value: Callable[[Tensor], Tensor], at: Tensor) -> None:
    """The whole gradient of ``value``, by autograd and by central differences of every number of ``at``:
    they are less than a hundredth of its length apart, so that nothing is too small to count."""
    start = at.detach().clone().requires_grad_()
    value(start).backward()
    step = 4e-3  # losses work in float32 inside, and a ReLU has a kink
    moves = step * torch.eye(at.numel()).view(-1, *at.shape)
    with torch.no_grad():
        ends = [[value(at + sign * move).item() for sign in (1, -1)] for move in moves]
    slopes = (torch.tensor(ends, dtype=torch.float64) @ torch.tensor([1.0, -1.0]).double()) / (2 * step)
    assert start.grad is not None
    apart = (start.grad.flatten().double() - slopes).norm()
    assert apart < 1e-2 * slopes.norm()


def gradient_agrees(loss: torch.nn.Module, name: str, embedding: Tensor, *rest: object) -> None:
    """The gradient of a loss by the student's embedding."""
    slopes_agree(lambda rows: loss(Outputs(rows), *rest)[name], embedding)


def map_gradient_agrees(data: Data, loss: torch.nn.Module, name: str, which: str) -> None:
    """The gradient of a loss by the student's feature map ``which``."""
    embedding, maps = data.student.embedding, data.student.features

    def value(moved: Tensor) -> Tensor:
        return loss(Outputs(embedding, maps | {which: moved}), data.teacher, data.example, 0.0)[name]

    slopes_agree(value, maps[which])


def agrees(data: Data, loss: torch.nn.Module, name: str, expected: float) -> None:
    """The value, and the gradient by differences."""
    given = data.teacher, data.example, 0.0
    assert loss(data.student, *given)[name].item() == pytest.approx(expected, rel=1e-4)
    gradient_agrees(loss, name, data.student.embedding, *given)
