"""Class probabilities of student and teacher, and what the logit losses share."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from facekd.distillation.losses._base import Example, Loss, Setting, Terms, classes_of, unit, zero_like
from facekd.distillation.losses._teacher_classes import (
    By,
    TeacherClasses,
    entropy,
    right_probability,
    temperature_for,
)
from facekd.errors import RecipeError
from facekd.models import Outputs, Targets

Classifier = Literal["shared", "own"]


class Answers(NamedTuple):
    """Logits [M, C] divided by T of the labelled crops of a batch, and their classes [M]."""

    student: Tensor
    teacher: Tensor
    wanted: Tensor


class AnswerLoss(Loss):
    """A loss that compares the student's logits with the teacher's, ``z = scale * cos / T``.

    The teacher's logits come from its class means, each crop left out of its own, or, with ``by =
    "classifier"``, from the classifier it was trained with (`TeacherClasses`). With ``classifier =
    "shared"`` the student is compared with the same rows (a reweighted feature loss, through a learned
    projector if sizes differ); with ``"own"`` with a learned classifier of its own. ``sample`` below 1
    compares each crop with that share of the classes, its own among them (Partial FC, see `arcface`).

    ``standardise`` scales the logits of every crop to mean 0 and deviation 1 before they are divided
    by T, so that the student need not match their size (Sun et al., "Logit standardization in
    knowledge distillation", CVPR 2024). Identities with fewer than three crops (with a classifier:
    one), and crops without a label, are left out. The result is multiplied by T^2.

    ``temperature = "auto"`` finds the T at which the teacher gives the right class a mean probability of
    ``target_probability`` (0.5), or at which its probabilities have the mean entropy ``target_entropy``
    in nats (the useful window is narrow, and depends on the number of classes). ``final_temperature``
    moves T linearly to another value over the run.
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
        target_probability: float | None = None,
        final_temperature: float | None = None,
        target_entropy: float | None = None,
        by: By = "means",
        sample: float = 1.0,
    ) -> None:
        super().__init__()
        numbers = [scale, *(t for t in (temperature, final_temperature) if isinstance(t, int | float))]
        if min(numbers) <= 0 or (isinstance(temperature, str) and temperature != "auto"):
            raise RecipeError(
                f"loss '{self.name}': temperature (a number or auto) and scale must be above zero"
            )
        if target_probability is not None and not 0 < target_probability < 1:
            raise RecipeError(f"loss '{self.name}': target_probability must be between 0 and 1")
        if target_entropy is not None and target_entropy <= 0:
            raise RecipeError(f"loss '{self.name}': target_entropy must be above zero, in nats")
        if (target_probability, target_entropy).count(None) < (1 if temperature == "auto" else 2):
            raise RecipeError(
                f"loss '{self.name}': temperature = 'auto' takes target_probability or target_entropy, "
                "not both; a number takes neither"
            )
        if classifier not in ("shared", "own"):
            raise RecipeError(f"loss '{self.name}': classifier = '{classifier}' must be shared or own")
        if setting.classes.count < 2:
            raise RecipeError(
                f"loss '{self.name}' needs two or more identities with at least three crops",
                "Give labelled data, or leave the loss out.",
            )
        self.scale, self.standardise = scale, standardise
        self.classes = setting.classes
        self.teacher = TeacherClasses(setting, by, sample, self.name)
        if temperature == "auto":
            temperature = self._temperature_for(target_probability, target_entropy, setting)
        self.temperature: float = temperature
        self.final_temperature = temperature if final_temperature is None else final_temperature
        self.weight: nn.Parameter | None = None
        #: the student's classifier if some classes are sampled; its gradient covers their rows only
        self.rows: nn.Embedding | None = None
        if classifier == "own":
            rows = torch.randn(setting.classes.count, setting.student_dim)
            if sample == 1:
                self.weight = nn.Parameter(rows)
            else:
                self.rows = nn.Embedding.from_pretrained(rows, freeze=False, sparse=True)
            self.teacher.projector = nn.Identity()  # not used, and not to be trained

    def forward(self, student: Outputs, teacher: Targets | None, example: Example, progress: float) -> Terms:
        assert teacher is not None
        temperature = self.temperature + (self.final_temperature - self.temperature) * progress
        answers = self.answers(student, teacher, example, temperature)
        if answers is None:
            return {self.name: zero_like(student)}
        return {self.name: temperature**2 * self.compare(answers)}

    @abstractmethod
    def compare(self, answers: Answers) -> Tensor:
        """The loss of a batch, a scalar, without the factor T^2."""

    def answers(
        self, student: Outputs, teacher: Targets, example: Example, temperature: float
    ) -> Answers | None:
        wanted = classes_of(self.classes, example.labels)
        chosen = wanted >= 0
        if not chosen.any():
            return None
        wanted, own = wanted[chosen], example.own[chosen]
        compared = self.teacher.compared(wanted)
        theirs = self.teacher.of_teacher(teacher.embedding[chosen], wanted, own, compared)
        rows = student.embedding[chosen]
        if self.rows is not None:
            mine = unit(rows) @ unit(self.rows(compared)).T
        elif self.weight is not None:
            mine = unit(rows) @ unit(self.weight).T
        else:
            mine = self.teacher.of_student(rows, wanted, own, compared)
        place = wanted if compared is None else torch.searchsorted(compared, wanted)
        return Answers(self._logits(mine) / temperature, self._logits(theirs) / temperature, place)

    def _logits(self, cosines: Tensor) -> Tensor:
        logits = self.scale * cosines
        if self.standardise:
            spread, middle = torch.std_mean(logits, dim=1, keepdim=True, correction=0)
            logits = (logits - middle) / (spread + 1e-7)
        return logits

    def _temperature_for(self, probability: float | None, nats: float | None, setting: Setting) -> float:
        """The T at which the teacher has the given mean probability or entropy."""
        measure, stated, what = right_probability, 0.5 if probability is None else probability, "probability"
        if nats is not None:
            measure, stated, what = entropy, nats, "entropy"
        try:
            found = temperature_for(measure, stated, self._logits, self.teacher, setting)
        except ValueError as error:
            raise RecipeError(f"loss '{self.name}': temperature = 'auto' needs labelled crops") from error
        if found is None:
            raise RecipeError(
                f"loss '{self.name}': no temperature brings the teacher's mean target {what} to {stated:g} "
                f"over {self.classes.count} classes",
                "Choose another value, or give a temperature.",
            )
        return found


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """``KL(softmax(teacher) || softmax(student))`` of logits [M, C], mean over M."""
    return log_divergence(teacher.log_softmax(1), student.log_softmax(1))


def log_divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """``KL(teacher || student)`` of log-probabilities [M, C], mean over M."""
    return nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def shares(logits: Tensor, inside: Tensor) -> Tensor:
    """The log-probabilities [M, 2] that softmax gives to the classes ``inside`` [M, C] together
    and to all others together; neither set may be empty."""
    total = logits.logsumexp(1)
    mass = logits.masked_fill(~inside, -torch.inf).logsumexp(1) - total
    rest = logits.masked_fill(inside, -torch.inf).logsumexp(1) - total
    return torch.stack([mass, rest], 1)
