"""One task for everything that trains here: a student, and losses that judge it.

With a teacher the losses compare with its targets; without one they use the labels alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from facekd.distill.losses import Example, Loss
from facekd.models import FaceNet, Outputs, Targets, to_planes
from facekd.training import Mixing, StepResult
from facekd.training.data import Batch

#: gives the teacher's targets for a batch
Ask = Callable[[Batch], Targets]
#: gives each crop's own share in its class's sum, float32 [N, D]
Own = Callable[[Tensor], Tensor]


class DistillTask(nn.Module):
    """``losses`` are weighted and summed; ``ask`` is `None` without a teacher.

    For the first ``start_share`` of the run the student sees its views reduced to ``start_size``
    pixels, which costs it a fraction of the work (progressive resizing); the teacher's targets
    are those of the whole views throughout. Views whose target has a cosine below ``gate`` to that
    of their crop's view 0 are shown to no loss.
    """

    def __init__(
        self,
        student: FaceNet,
        losses: list[tuple[float, Loss]],
        ask: Ask | None = None,
        own: Own | None = None,
        start_size: int | None = None,
        start_share: float = 0.0,
        mixing: Mixing | None = None,
        gate: float | None = None,
    ) -> None:
        super().__init__()
        self._start = (start_size, start_share)
        self._gate = gate
        self._mixing = mixing if mixing and mixing.active else None
        self.student = student
        self.losses = nn.ModuleList(loss for _, loss in losses)
        self._weights = [weight for weight, _ in losses]
        self._features = any(loss.needs_features for _, loss in losses)
        # kept out of the module: neither the teacher nor its cache is saved or trained
        self._ask, self._own = ask, own

    def step(self, batch: Batch, progress: float) -> StepResult:
        """The loss of one batch; terms are weighted, so that they add up to it."""
        if self._mixing:
            batch = self._mixing.mix(batch)
        planes = to_planes(batch.views, self.student.input, batch.labels.device)
        size, share = self._start
        if size is not None and progress < share:
            planes = nn.functional.interpolate(planes, (size, size), mode="bilinear", antialias=True)
        outputs = self.student.outputs(planes.contiguous(memory_format=torch.channels_last), self._features)
        with torch.autocast(planes.device.type, enabled=False):  # teacher and losses keep their digits
            targets = self._ask(batch) if self._ask else None
            own = self._own(batch.crops) if self._own else torch.empty(len(batch.labels), 0)
            example = Example(batch.labels, own.to(batch.labels.device))
            outputs = _whole(outputs)
            if self._gate is not None and targets is not None:
                kept = nn.functional.cosine_similarity(targets.embedding, example.own) >= self._gate
                outputs, targets, example = _rows(outputs, targets, example, kept)
                if not kept.any():
                    nothing = outputs.embedding.sum()  # zero, and a graph to go back through
                    return StepResult(nothing, {"dropped": nothing})
            terms = self._terms(outputs, targets, example, progress)
        return StepResult(torch.stack(list(terms.values())).sum(), terms)

    def _terms(
        self, outputs: Outputs, targets: Targets | None, example: Example, progress: float
    ) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        for weight, loss in zip(self._weights, self.losses, strict=True):
            for name, value in loss(outputs, targets, example, progress).items():
                terms[name] = terms[name] + weight * value if name in terms else weight * value
        return terms


def _rows(
    outputs: Outputs, targets: Targets, example: Example, kept: Tensor
) -> tuple[Outputs, Targets, Example]:
    """The part of a batch where ``kept`` [N] is true."""
    return (
        Outputs(outputs.embedding[kept], {name: m[kept] for name, m in outputs.features.items()}),
        Targets(targets.embedding[kept], {name: m[kept] for name, m in targets.features.items()}),
        Example(example.labels[kept], example.own[kept]),
    )


def _whole(outputs: Outputs) -> Outputs:
    """The student's outputs in float32, whatever it was run in."""
    return Outputs(outputs.embedding.float(), {name: m.float() for name, m in outputs.features.items()})
