"""The answers of student and teacher to "who is it?", and what logit losses share."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from facekd.distill.losses.base import Example, Loss, Setting, Terms, classes_of, unit, zero_like
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets

Classifier = Literal["shared", "own"]


class ClassMeans(nn.Module):
    """The teacher's class means as a classifier that does not learn; each crop is left out of its
    own class's mean. Where the sizes differ the student goes through a learned projector."""

    sums: Tensor

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.register_buffer("sums", setting.classes.sums, persistent=False)
        same = setting.student_dim == setting.teacher_dim
        self.projector: nn.Module = nn.Identity()
        if not same:
            self.projector = nn.Linear(setting.student_dim, setting.teacher_dim, bias=False)

    def of_teacher(self, rows: Tensor, wanted: Tensor, own: Tensor) -> Tensor:
        """Cosines [N, C] of ``rows`` [N, D_t] of classes ``wanted`` [N], whose own shares in their
        classes' sums are ``own`` [N, D_t]."""
        rows = unit(rows)
        without = unit(self.sums[wanted] - own.float())
        left_out = (rows * without).sum(1, keepdim=True)
        return (rows @ unit(self.sums).T).scatter(1, wanted[:, None], left_out)

    def of_student(self, rows: Tensor, wanted: Tensor, own: Tensor) -> Tensor:
        """Cosines [N, C] of the student's ``rows`` [N, D_s]."""
        return self.of_teacher(self.projector(rows), wanted, own)


class Answers(NamedTuple):
    """Logits [M, C] over T of the labelled crops of a batch, and their classes [M]."""

    student: Tensor
    teacher: Tensor
    wanted: Tensor


class AnswerLoss(Loss):
    """A loss that compares the student's logits with the teacher's, ``z = scale * cos / T``.

    The teacher answers by its class means, each crop left out of its own. With ``classifier =
    "shared"`` the student is scored against the same prototypes (a reweighted feature loss,
    through a learned projector where sizes differ); with ``"own"`` against a classifier that it
    learns. ``standardise`` brings the logits of every crop to mean 0 and deviation 1 before they
    are divided by T, so that the student need not match their size (Sun et al., "Logit
    standardization in knowledge distillation", CVPR 2024). Identities with fewer than three
    crops, and crops without a label, take no part. The result is multiplied by T^2.

    ``temperature = "auto"`` finds the T at which the teacher gives the right class
    ``target_probability`` on average (the useful window is narrow, and moves with the number of
    classes); ``final_temperature`` moves T in a line to another value over the run.
    """

    name: ClassVar[str]
    needs_labels = True
    needs_means = True

    def __init__(
        self,
        setting: Setting,
        temperature: float | Literal["auto"] = 4.0,
        scale: float = 64.0,
        classifier: Classifier = "own",
        standardise: bool = False,
        target_probability: float = 0.5,
        final_temperature: float | None = None,
    ) -> None:
        super().__init__()
        numbers = [scale, *(t for t in (temperature, final_temperature) if isinstance(t, int | float))]
        if min(numbers) <= 0 or (isinstance(temperature, str) and temperature != "auto"):
            raise RecipeError(f"loss '{self.name}': temperature (a number or auto) and scale are above zero")
        if not 0 < target_probability < 1:
            raise RecipeError(f"loss '{self.name}': target_probability lies between 0 and 1")
        if classifier not in ("shared", "own"):
            raise RecipeError(f"loss '{self.name}': classifier = '{classifier}' is neither shared nor own")
        if setting.classes.count < 2:
            raise RecipeError(
                f"loss '{self.name}' needs two or more identities with at least three crops",
                "Give labelled data, or leave the loss out.",
            )
        self.scale, self.standardise = scale, standardise
        self.classes = setting.classes
        self.means = ClassMeans(setting)
        if temperature == "auto":
            temperature = self._temperature_for(target_probability, setting)
        self.temperature: float = temperature
        self.final_temperature = temperature if final_temperature is None else final_temperature
        self.weight: nn.Parameter | None = None
        if classifier == "own":
            self.weight = nn.Parameter(torch.randn(setting.classes.count, setting.student_dim))
            self.means.projector = nn.Identity()  # of no use, and not to be trained

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        temperature = self.temperature + (self.final_temperature - self.temperature) * progress
        answers = self._answers(student, teacher, example, temperature)
        if answers is None:
            return {self.name: zero_like(student)}
        return {self.name: temperature**2 * self.compare(answers)}

    @abstractmethod
    def compare(self, answers: Answers) -> Tensor:
        """The loss of a batch, a scalar, without the T^2."""

    def _answers(
        self, student: Outputs, teacher: Targets, example: Example, temperature: float
    ) -> Answers | None:
        wanted = classes_of(self.classes, example.labels)
        chosen = wanted >= 0
        if not chosen.any():
            return None
        wanted, own = wanted[chosen], example.own[chosen]
        theirs = self.means.of_teacher(teacher.embedding[chosen], wanted, own)
        rows = student.embedding[chosen]
        if self.weight is not None:
            mine = unit(rows) @ unit(self.weight).T
        else:
            mine = self.means.of_student(rows, wanted, own)
        return Answers(self._logits(mine) / temperature, self._logits(theirs) / temperature, wanted)

    def _logits(self, cosines: Tensor) -> Tensor:
        logits = self.scale * cosines
        if self.standardise:
            spread, middle = torch.std_mean(logits, dim=1, keepdim=True, correction=0)
            logits = (logits - middle) / (spread + 1e-7)
        return logits

    def _temperature_for(self, probability: float, setting: Setting) -> float:
        """The T at which the teacher gives the right class ``probability`` on average."""
        wanted = classes_of(self.classes, setting.sample_labels)
        rows, wanted = setting.sample[wanted >= 0], wanted[wanted >= 0]
        if not len(wanted):
            raise RecipeError(f"loss '{self.name}': temperature = 'auto' needs labelled crops")
        logits = self._logits(self.means.of_teacher(rows, wanted, rows))
        right = logits.gather(1, wanted[:, None])

        def excess(log_t: float) -> float:
            # the probability of the right class is 1 / sum exp((z - z_right) / T)
            return float((-((logits - right) / math.exp(log_t)).logsumexp(1)).exp().mean()) - probability

        low, high = math.log(1e-2), math.log(1e3)
        if excess(low) * excess(high) > 0:
            most = excess(low) + probability
            raise RecipeError(
                f"loss '{self.name}': no temperature brings the teacher's mean target probability to "
                f"{probability:g}: it is {most:.2f} at the sharpest, over {logits.shape[1]} classes"
            )
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) > 0 else (low, middle)
        return math.exp(low)


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """``KL(softmax(teacher) || softmax(student))`` of logits [M, C], mean over M."""
    return log_divergence(teacher.log_softmax(1), student.log_softmax(1))


def log_divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """``KL(teacher || student)`` of log-probabilities [M, C], mean over M."""
    return nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def shares(logits: Tensor, inside: Tensor) -> Tensor:
    """The log-probabilities [M, 2] that softmax gives to the classes ``inside`` [M, C] together
    and to all others together; neither side may be empty."""
    total = logits.logsumexp(1)
    mass = logits.masked_fill(~inside, -torch.inf).logsumexp(1) - total
    rest = logits.masked_fill(inside, -torch.inf).logsumexp(1) - total
    return torch.stack([mass, rest], 1)
