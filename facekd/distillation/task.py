"""The one training task: a student, and the losses that train it.

With a teacher the losses compare with its targets; without one they use the labels alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from facekd.distillation.compiled import compiled_outputs
from facekd.distillation.loss_inputs import LossInputs, of_all_processes, passed
from facekd.distillation.losses import Example, Loss
from facekd.distillation.weighted_loss import WeightedLoss
from facekd.models import FaceNet, Outputs, Targets, to_planes
from facekd.training import Mixing, StepResult, gathered, processes
from facekd.training.data import Batch

#: returns the teacher's targets for a batch
BatchTargets = Callable[[Batch], Targets]
#: returns the teacher's targets float32 [N, D] of one view of the crops [N] of a batch
CropTargets = Callable[[Tensor], Tensor]


class Gate(NamedTuple):
    """Keeps the views whose target has a cosine of at least ``least`` to the target of the unaugmented crop,
    which ``clean`` returns."""

    least: float
    clean: CropTargets


class DistillTask(nn.Module):
    """``losses`` are weighted and summed. ``targets`` returns the teacher's targets for a batch, and
    ``first_view`` those of view 0 of its crops, each crop's contribution to its class's sum; both are
    `None` without a teacher.

    A ``peer`` is a co-trained teacher: ``peer_losses``, which need labels alone, train it
    (``L(teacher, y)``), and its embeddings, without gradients, are the targets of ``losses``.

    For the first ``start_share`` of the run the networks see their views reduced to ``start_size``
    pixels, which costs a fraction of the work (progressive resizing); the teacher's targets
    are always those of the full views. Views that the ``gate`` rejects are passed to no loss;
    if fewer than two of a batch are left (a relation needs two) all terms are zero.

    With ``compiled`` the networks run through `torch.compile`, which no loss of feature maps may need.

    With several processes, losses that compare the crops of a batch get the rows of all processes, and with
    a gate, which leaves each process a different number of rows, so do the others. Losses of feature maps,
    which are not exchanged, are weighted by the share of rows that the gate keeps in each process.
    """

    def __init__(
        self,
        student: FaceNet,
        losses: Sequence[WeightedLoss],
        targets: BatchTargets | None = None,
        first_view: CropTargets | None = None,
        start_size: int | None = None,
        start_share: float = 0.0,
        mixing: Mixing | None = None,
        gate: Gate | None = None,
        peer: FaceNet | None = None,
        peer_losses: Sequence[WeightedLoss] = (),
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self._start = (start_size, start_share)
        self._gate = gate
        self._mixing = mixing if mixing and mixing.active else None
        self.student, self.peer = student, peer
        self.losses = nn.ModuleList(weighted.loss for weighted in losses)
        self.peer_losses = nn.ModuleList(weighted.loss for weighted in peer_losses)
        self._weighted, self._peer_weighted = tuple(losses), tuple(peer_losses)
        self._features = any(weighted.loss.needs_features for weighted in losses)
        # kept out of the module: neither the teacher nor its cache is saved or trained
        self._targets, self._first_view = targets, first_view
        self._outputs = compiled_outputs() if compiled else _own_outputs

    @property
    def networks(self) -> list[nn.Module]:
        return [self.student] if self.peer is None else [self.student, self.peer]

    def step(self, batch: Batch, progress: float) -> StepResult:
        """The loss of one batch; terms are weighted, so that they add up to it."""
        if self._mixing:
            batch = self._mixing.mix(batch)
        outputs = self._seen(self.student, batch, progress)
        peer = self._seen(self.peer, batch, progress) if self.peer else None
        with torch.autocast(batch.labels.device.type, enabled=False):  # losses need full precision
            own = self._first_view(batch.crops) if self._first_view else torch.empty(len(batch.labels), 0)
            example = Example(batch.labels, own.to(batch.labels.device))
            targets = _as_targets(peer) if peer else self._targets(batch) if self._targets else None
            kept = self._kept(batch, targets)
            terms = self._terms(self._weighted, LossInputs(outputs, targets, example), progress, kept)
            if peer:
                alone = self._terms(self._peer_weighted, LossInputs(peer, None, example), progress, None)
                terms |= {f"teacher {name}": value for name, value in alone.items()}
        return StepResult(torch.stack(list(terms.values())).sum(), terms, outputs.embedding.detach())

    def _seen(self, network: FaceNet, batch: Batch, progress: float) -> Outputs:
        """The outputs of ``network`` for a batch, in float32 whatever its precision."""
        planes = to_planes(batch.views, network.input, batch.labels.device)
        size, share = self._start
        if size is not None and progress < share:
            planes = nn.functional.interpolate(planes, (size, size), mode="bilinear", antialias=True)
        found = self._outputs(network, planes.contiguous(memory_format=torch.channels_last), self._features)
        return Outputs(found.embedding.float(), {name: m.float() for name, m in found.features.items()})

    def _terms(
        self, parts: Sequence[WeightedLoss], inputs: LossInputs, progress: float, kept: Tensor | None
    ) -> dict[str, Tensor]:
        at_work = [(part.weight_at(progress), part) for part in parts]
        at_work = [(weight, part) for weight, part in at_work if weight > 0]
        of_all = None if kept is None else gathered(kept)
        across = [_looks_across(part.loss, kept is not None) for _, part in at_work]
        shown = passed(inputs, kept)
        whole = passed(of_all_processes(inputs), of_all) if processes() > 1 and any(across) else shown
        terms: dict[str, Tensor] = {}
        for (weight, part), wide in zip(at_work, across, strict=True):
            share = 1.0 if wide else _share_left(kept, of_all)
            if share == 0 or (of_all is not None and of_all.sum() < 2):
                found = _zeros(part, inputs, progress)
            else:
                found = part.terms(whole if wide else shown, progress)
            for name, value in found.items():
                terms[name] = terms.get(name, 0.0) + weight * share * value
        return terms

    def _kept(self, batch: Batch, targets: Targets | None) -> Tensor | None:
        """Which rows the gate keeps, bool [N]; `None` if there is no gate."""
        if self._gate is None or targets is None:
            return None
        clean = self._gate.clean(batch.crops).to(targets.embedding.device)
        return nn.functional.cosine_similarity(targets.embedding, clean) >= self._gate.least


def _own_outputs(network: FaceNet, planes: Tensor, features: bool) -> Outputs:
    return network.outputs(planes, features)


def _looks_across(loss: Loss, gated: bool) -> bool:
    """Whether a loss gets the rows of all processes: with a gate the mean of the processes' means is not
    the mean of the batch."""
    return loss.whole_batch or (gated and not loss.needs_features)


def _share_left(kept: Tensor | None, of_all: Tensor | None) -> float:
    """The factor that turns a mean over the rows ``kept`` here into one over the rows kept ``of_all``
    processes, once it is averaged over them."""
    if kept is None or of_all is None:
        return 1.0
    return float(kept.sum() * processes() / of_all.sum().clamp(min=1))


def _zeros(part: WeightedLoss, inputs: LossInputs, progress: float) -> dict[str, Tensor]:
    """A zero for each term of a loss that has nothing to compute on, since every process needs the same
    terms. The names come from a call on rows without gradients."""
    learns = part.loss.training
    part.loss.eval()
    with torch.no_grad():
        named = part.terms(inputs, progress)
    part.loss.train(learns)
    return dict.fromkeys(named, inputs.outputs.embedding.sum() * 0.0)


def _as_targets(peer: Outputs) -> Targets:
    unit = nn.functional.normalize(peer.embedding.detach(), dim=1)
    return Targets(unit, {name: m.detach() for name, m in peer.features.items()})
