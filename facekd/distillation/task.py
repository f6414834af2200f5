"""One task for everything that trains here: a student, and losses that judge it.

With a teacher the losses compare with its targets; without one they use the labels alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from facekd.distillation.losses import Example, Loss
from facekd.models import FaceNet, Outputs, Targets, to_planes
from facekd.training import Mixing, StepResult, gathered, processes
from facekd.training.data import Batch

#: gives the teacher's targets for a batch
Ask = Callable[[Batch], Targets]
M = TypeVar("M")
#: gives each crop's own share in its class's sum, float32 [N, D]
Own = Callable[[Tensor], Tensor]


class Gate(NamedTuple):
    """Lets views through whose target has a cosine of ``least`` or more to that of their crop as it is,
    which ``clean`` gives."""

    least: float
    clean: Own


class Sides(NamedTuple):
    """What the losses see of a batch: the student's, the teacher's and the labels' side."""

    outputs: Outputs
    targets: Targets | None
    example: Example


@dataclass(frozen=True)
class Member:
    """One of several teachers: its ``number`` from 1, and its ``columns`` of the joined targets."""

    number: int
    columns: slice

    def of(self, sides: Sides) -> Sides:
        """What a batch is to this teacher alone."""
        assert sides.targets is not None
        rows = nn.functional.normalize(sides.targets.embedding[:, self.columns], dim=1)
        example = Example(sides.example.labels, sides.example.own[:, self.columns])
        return Sides(sides.outputs, Targets(rows, self.maps(sides.targets.features)), example)

    def maps(self, maps: Mapping[str, M]) -> dict[str, M]:
        """Its own among the maps of all, by their own names."""
        before = f"{self.number - 1}."
        return {name.removeprefix(before): m for name, m in maps.items() if name.startswith(before)}


@dataclass(frozen=True)
class Part:
    """A loss and its weight, which goes in a line from ``weight`` at the share ``begin`` of a run to
    ``final_weight`` at ``end``; before and after the loss rests. ``teacher`` is the one of several
    that it listens to, if not to all."""

    loss: Loss
    weight: float = 1.0
    final_weight: float | None = None
    begin: float = 0.0
    end: float = 1.0
    teacher: Member | None = None

    def weight_at(self, progress: float) -> float:
        if not self.begin <= progress < self.end:
            return 0.0
        last = self.weight if self.final_weight is None else self.final_weight
        return self.weight + (last - self.weight) * (progress - self.begin) / (self.end - self.begin)

    def terms(self, seen: Sides, progress: float) -> dict[str, Tensor]:
        """The terms of the loss, not weighted; with several teachers named with the number of its own."""
        if self.teacher is None:
            return dict(self.loss(*seen, progress))
        found = self.loss(*self.teacher.of(seen), progress)
        return {f"{name} {self.teacher.number}": value for name, value in found.items()}


class DistillTask(nn.Module):
    """``parts`` are weighted and summed; ``ask`` is `None` without a teacher.

    A ``peer`` is a teacher that learns along: ``peer_parts``, which need labels alone, train it
    (``L(teacher, y)``), and its embeddings, without gradients, are the targets of ``parts``.

    For the first ``start_share`` of the run the networks see their views reduced to ``start_size``
    pixels, which costs them a fraction of the work (progressive resizing); the teacher's targets
    are those of the whole views throughout. Views that the ``gate`` holds back are shown to no loss;
    where fewer than two of a batch are left (a relation takes two) all terms are zero.

    With several processes the losses that look across the batch are given the rows of all, and with
    a gate, which leaves each another number of rows, so are the others. Those of feature maps, which
    stay where they are, are weighted by what the gate left of each share.
    """

    def __init__(
        self,
        student: FaceNet,
        parts: Sequence[Part],
        ask: Ask | None = None,
        own: Own | None = None,
        start_size: int | None = None,
        start_share: float = 0.0,
        mixing: Mixing | None = None,
        gate: Gate | None = None,
        peer: FaceNet | None = None,
        peer_parts: Sequence[Part] = (),
    ) -> None:
        super().__init__()
        self._start = (start_size, start_share)
        self._gate = gate
        self._mixing = mixing if mixing and mixing.active else None
        self.student, self.peer = student, peer
        self.losses = nn.ModuleList(part.loss for part in parts)
        self.peer_losses = nn.ModuleList(part.loss for part in peer_parts)
        self._parts, self._peer_parts = tuple(parts), tuple(peer_parts)
        self._features = any(part.loss.needs_features for part in parts)
        # kept out of the module: neither the teacher nor its cache is saved or trained
        self._ask, self._own = ask, own

    @property
    def networks(self) -> list[nn.Module]:
        return [self.student] if self.peer is None else [self.student, self.peer]

    def step(self, batch: Batch, progress: float) -> StepResult:
        """The loss of one batch; terms are weighted, so that they add up to it."""
        if self._mixing:
            batch = self._mixing.mix(batch)
        outputs = self._seen(self.student, batch, progress)
        peer = self._seen(self.peer, batch, progress) if self.peer else None
        with torch.autocast(batch.labels.device.type, enabled=False):  # losses keep their digits
            own = self._own(batch.crops) if self._own else torch.empty(len(batch.labels), 0)
            example = Example(batch.labels, own.to(batch.labels.device))
            targets = _as_targets(peer) if peer else self._ask(batch) if self._ask else None
            kept = self._kept(batch, targets)
            terms = self._terms(self._parts, Sides(outputs, targets, example), progress, kept)
            if peer:
                alone = self._terms(self._peer_parts, Sides(peer, None, example), progress, None)
                terms |= {f"teacher {name}": value for name, value in alone.items()}
        return StepResult(torch.stack(list(terms.values())).sum(), terms, outputs.embedding.detach())

    def _seen(self, network: FaceNet, batch: Batch, progress: float) -> Outputs:
        """What ``network`` says of a batch, in float32 whatever it computes in."""
        planes = to_planes(batch.views, network.input, batch.labels.device)
        size, share = self._start
        if size is not None and progress < share:
            planes = nn.functional.interpolate(planes, (size, size), mode="bilinear", antialias=True)
        found = network.outputs(planes.contiguous(memory_format=torch.channels_last), self._features)
        return Outputs(found.embedding.float(), {name: m.float() for name, m in found.features.items()})

    def _terms(
        self, parts: Sequence[Part], sides: Sides, progress: float, kept: Tensor | None
    ) -> dict[str, Tensor]:
        at_work = [(part.weight_at(progress), part) for part in parts]
        at_work = [(weight, part) for weight, part in at_work if weight > 0]
        of_all = None if kept is None else gathered(kept)
        across = [_looks_across(part.loss, kept is not None) for _, part in at_work]
        shown = _passed(sides, kept)
        whole = _passed(_of_all(sides), of_all) if processes() > 1 and any(across) else shown
        terms: dict[str, Tensor] = {}
        for (weight, part), wide in zip(at_work, across, strict=True):
            share = 1.0 if wide else _share_left(kept, of_all)
            if share == 0 or (of_all is not None and of_all.sum() < 2):
                found = _zeros(part, sides, progress)
            else:
                found = part.terms(whole if wide else shown, progress)
            for name, value in found.items():
                terms[name] = terms.get(name, 0.0) + weight * share * value
        return terms

    def _kept(self, batch: Batch, targets: Targets | None) -> Tensor | None:
        """Which rows the gate lets through, bool [N]; `None` where there is no gate."""
        if self._gate is None or targets is None:
            return None
        clean = self._gate.clean(batch.crops).to(targets.embedding.device)
        return nn.functional.cosine_similarity(targets.embedding, clean) >= self._gate.least


def _looks_across(loss: Loss, gated: bool) -> bool:
    """Whether a loss is given the rows of all processes: with a gate the mean of their means is not
    that of the batch."""
    return loss.whole_batch or (gated and not loss.needs_features)


def _share_left(kept: Tensor | None, of_all: Tensor | None) -> float:
    """By what a mean over the rows ``kept`` here is multiplied, so that the mean over the processes is
    one over the rows kept ``of_all``."""
    if kept is None or of_all is None:
        return 1.0
    return float(kept.sum() * processes() / of_all.sum().clamp(min=1))


def _zeros(part: Part, sides: Sides, progress: float) -> dict[str, Tensor]:
    """A zero for each term of a loss that has nothing to look at: every process has the same terms.
    Their names it says of rows from which it does not learn."""
    learns = part.loss.training
    part.loss.eval()
    with torch.no_grad():
        named = part.terms(sides, progress)
    part.loss.train(learns)
    return dict.fromkeys(named, sides.outputs.embedding.sum() * 0.0)


def _passed(sides: Sides, kept: Tensor | None) -> Sides:
    """The rows ``kept``, or all."""
    outputs, targets, example = sides
    if kept is None or targets is None:
        return sides
    return Sides(
        Outputs(outputs.embedding[kept], {name: m[kept] for name, m in outputs.features.items()}),
        Targets(targets.embedding[kept], {name: m[kept] for name, m in targets.features.items()}),
        Example(example.labels[kept], example.own[kept]),
    )


def _as_targets(peer: Outputs) -> Targets:
    unit = nn.functional.normalize(peer.embedding.detach(), dim=1)
    return Targets(unit, {name: m.detach() for name, m in peer.features.items()})


def _of_all(sides: Sides) -> Sides:
    """The rows of all processes; feature maps stay where they are."""
    outputs, targets, example = sides
    return Sides(
        Outputs(gathered(outputs.embedding)),
        Targets(gathered(targets.embedding)) if targets else None,
        Example(gathered(example.labels), gathered(example.own)),
    )
