"""The rows that represent classes in the teacher's space: its class means, or its own classifier."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from facekd.distillation.losses._base import Setting, unit
from facekd.distillation.losses._margin_softmax import check_sample, some_classes
from facekd.errors import RecipeError

By = Literal["means", "classifier"]


class TeacherClasses(nn.Module):
    """A row for each class in the teacher's space; student embeddings of another size are mapped to it by
    a learned projector.

    ``by = "means"``: the teacher's class means, each crop left out of its own class's. ``"classifier"``:
    the classifier that the teacher was trained with, read from a run folder or, for a co-trained teacher,
    its current state at each step; this loss does not train it.

    With ``sample`` below 1 each step compares with that share of the classes, those of the batch among
    them (`some_classes`).
    """

    sums: Tensor

    def __init__(self, setting: Setting, by: By, sample: float, loss: str) -> None:
        super().__init__()
        if by not in ("means", "classifier"):
            raise RecipeError(f"loss '{loss}': by = '{by}' must be means or classifier")
        check_sample(loss, sample)
        self.count, self.sample = setting.classes.count, sample
        self._classifier: Callable[[], Tensor] | None = None
        if by == "classifier":
            if setting.classifier is None:
                raise RecipeError(
                    f"loss '{loss}': by = 'classifier' needs a teacher with a classifier",
                    "The run folder of a teacher trained from labels has one, and a co-trained teacher.",
                )
            self._classifier = setting.classifier
        self.register_buffer("sums", setting.classes.sums, persistent=False)
        self.projector: nn.Module = nn.Identity()
        if setting.student_dim != setting.teacher_dim:
            self.projector = nn.Linear(setting.student_dim, setting.teacher_dim, bias=False)

    def compared(self, wanted: Tensor) -> Tensor | None:
        """The classes [M], ascending, that crops of classes ``wanted`` [N] are compared with; `None`: all."""
        return None if self.sample == 1 else some_classes(wanted, self.count, self.sample)

    def of_teacher(self, rows: Tensor, wanted: Tensor, own: Tensor, compared: Tensor | None = None) -> Tensor:
        """Cosines [N, C] of ``rows`` [N, D_t] of classes ``wanted`` [N], whose contributions to their
        classes' sums are ``own`` [N, D_t]; [N, M] if only the classes ``compared`` are used."""
        cosines = unit(rows) @ unit(self._all(compared)).T
        if self._classifier is not None:
            return cosines
        place = wanted if compared is None else torch.searchsorted(compared, wanted)
        return cosines.scatter(1, place[:, None], self.of_own_class(rows, wanted, own))

    def of_student(self, rows: Tensor, wanted: Tensor, own: Tensor, compared: Tensor | None = None) -> Tensor:
        """Cosines [N, C] of the student's ``rows`` [N, D_s]."""
        return self.of_teacher(self.projector(rows), wanted, own, compared)

    def of_own_class(self, rows: Tensor, wanted: Tensor, own: Tensor) -> Tensor:
        """Cosine [N, 1] of each of ``rows`` [N, D_t] to its own class."""
        centres = self._all(wanted) if self._classifier else self.sums[wanted] - own.float()
        return (unit(rows) * unit(centres)).sum(1, keepdim=True)

    def _all(self, classes: Tensor | None) -> Tensor:
        rows = self.sums if self._classifier is None else self._classifier().detach().to(self.sums.device)
        return rows if classes is None else rows[classes]


#: the number of cosines used to find an automatic temperature
_MOST = 50_000_000
#: crops processed together, compared with the same classes
_BLOCK = 512


def temperature_for(
    measure: Callable[[Tensor, Tensor, float], Tensor],
    stated: float,
    logits: Callable[[Tensor], Tensor],
    teacher: TeacherClasses,
    setting: Setting,
) -> float | None:
    """The T at which the mean of ``measure`` over the teacher's logits is ``stated``; `None` if no T from
    0.01 to 1000 gives it. ``measure`` takes logits [N, C], those of the right classes [N, 1] and T, and
    returns [N].

    ``logits`` computes logits from cosines. Evenly spaced crops of the setting's labelled sample are used,
    as many as make fifty million cosines. Raises `ValueError` if it has none.
    """
    wanted = setting.classes.of_label[setting.sample_labels]
    known = (wanted >= 0).nonzero().flatten()
    if not len(known):
        raise ValueError("no labelled crops")
    most = max(_BLOCK, _MOST // math.ceil(teacher.sample * teacher.count))
    known = known[:: math.ceil(len(known) / most)]
    own = setting.sample if setting.sample_own is None else setting.sample_own
    found = []
    for some in known.split(_BLOCK):
        classes = teacher.compared(wanted[some])
        z = logits(teacher.of_teacher(setting.sample[some], wanted[some], own[some], classes))
        place = wanted[some] if classes is None else torch.searchsorted(classes, wanted[some])
        found.append((z, z.gather(1, place[:, None])))

    def excess(log_t: float) -> float:
        return float(torch.cat([measure(z, right, math.exp(log_t)) for z, right in found]).mean()) - stated

    low, high = math.log(1e-2), math.log(1e3)
    at_low, at_high = excess(low), excess(high)
    if at_low * at_high > 0:
        return None
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) * at_low > 0 else (low, middle)
    return math.exp(low)


def right_probability(logits: Tensor, right: Tensor, temperature: float) -> Tensor:
    """The probability [N] of the right class, whose logits are ``right`` [N, 1]:
    ``1 / sum exp((z - z_right) / T)``."""
    return (-((logits - right) / temperature).logsumexp(1)).exp()


def entropy(logits: Tensor, right: Tensor, temperature: float) -> Tensor:
    """The entropy [N] in nats of softmax(z / T)."""
    log_p = (logits / temperature).log_softmax(1)
    return -(log_p.exp() * log_p).sum(1)
