"""The training loop: batches, steps, a log, checkpoints. Methods are tasks (see `Task`).

Built on Lightning Fabric, which handles the device and the processes.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from facekd.errors import UsageError
from facekd.training.checkpoint import SCORE, Checkpoint
from facekd.training.data import Batch, CropSet, Order, View, ViewLoader
from facekd.training.distributed import make_fabric, processes, rank
from facekd.training.ema import running_mean
from facekd.training.interruption import StopRequest
from facekd.training.precision import Precision
from facekd.training.rng import seed_draws
from facekd.training.run_folder import RunFolder
from facekd.training.schedule import OptimizerName, Shape, make_optimizers, rate_at

#: how many crops an error lists
_NAMED = 4

#: scores a network on held-out identities at a share of the run; higher is better
Judge = Callable[[nn.Module, float], float]


class StepResult(NamedTuple):
    """``loss`` is minimised; ``terms`` are its named parts, which add up to it and are
    only logged, with their shares of the gradient. ``embeddings`` [N, D] are the student's for the
    batch, without gradients."""

    loss: Tensor
    terms: dict[str, Tensor]
    embeddings: Tensor


class Task(Protocol):
    """What is trained: a `torch.nn.Module` whose ``student`` is the network to be exported.
    ``networks`` are the student and the other networks, without classifiers and projectors."""

    student: nn.Module

    @property
    def networks(self) -> list[nn.Module]: ...

    def step(self, batch: Batch, progress: float) -> StepResult: ...


@dataclass(frozen=True)
class Plan:
    """How long and how fast. ``images`` counts views seen, repeats included."""

    images: int
    batch: int
    rate: float
    decay: float
    warmup: float
    optimizer: OptimizerName
    shape: Shape
    clip: float
    precision: Precision
    evaluations: int
    log_every: int = 20
    #: steps between measurements of each term's share of the gradient, which cost one pass each
    share_every: int = 200
    #: decay of the running mean of the student's weights, which is then evaluated and stored
    ema: float | None = None
    #: the share of the run, at its end, in which the learning rate of ``wsd`` falls to zero
    cooldown: float = 0.2

    @property
    def steps(self) -> int:
        return self.images // self.batch

    @property
    def stable_steps(self) -> int | None:
        """The steps before the learning rate of ``wsd`` begins to fall; `None` for the other shapes."""
        return math.floor(self.steps * (1 - self.cooldown)) if self.shape == "wsd" else None


@dataclass(frozen=True)
class Progress:
    """What the caller is told while a run is in progress."""

    images: int
    total: int
    loss: float
    images_per_second: float


class Diverged(UsageError):
    """The loss, its gradient or an embedding is not finite, or the student is no better than chance."""


def fit(
    task: nn.Module,
    loader: ViewLoader,
    order: Order,
    plan: Plan,
    run: RunFolder,
    fabric: Any = None,
    seed: int = 0,
    resume: bool = False,
    judge: Judge | None = None,
    tell: Callable[[Progress], None] | None = None,
    stop_after: int | None = None,
    stop: StopRequest | None = None,
    contract: dict[str, Any] | None = None,
) -> int:
    """Train ``task`` by ``plan`` and write checkpoints to ``run``; return the number of images seen.

    ``fabric`` comes from `make_fabric` (by default one process on the CPU); with several
    processes each works on its share of every batch, and the batches of ``loader`` have that size. The
    random numbers of a step follow from ``seed``, the step and the process (`seed_draws`).
    ``judge`` scores the student on held-out identities at every checkpoint; ``stop_after`` ends
    the call after that many steps, as a kill would. After a ``stop`` request the step is finished and
    a checkpoint written. Every checkpoint contains the ``contract``, JSON that states the run's inputs.

    Raises `KeyboardInterrupt` (or `Terminated`) after a stop; `Diverged` before a step with values that are
    not finite; `UsageError` for a plan without a step, or with a batch that cannot be divided.
    """
    if plan.steps < 1:
        raise UsageError(f"{plan.images} images in batches of {plan.batch} make no step")
    fabric = fabric or make_fabric("cpu")
    task.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learning: Any = task
    optimizers = make_optimizers(task, learning.networks, plan.optimizer, plan.rate, plan.decay)
    learned = [p for p in task.parameters() if p.requires_grad]
    module, *wrapped = fabric.setup(task, *optimizers)
    module.mark_forward_method("step")
    state = _State(learning, optimizers, plan, contract or {})
    first = step = state.restore(run) if resume and run.has("last") else 0
    marks = {math.ceil(plan.steps * k / plan.evaluations) for k in range(1, plan.evaluations + 1)}
    marks |= {plan.stable_steps} if plan.stable_steps else set()
    clock, stop = _Clock(), stop or StopRequest()
    run.show_on_board()
    task.train()
    batches = loader.batches(_own_views(order, plan, first))
    with stop.stop_between_steps(), contextlib.closing(batches):
        for step, batch in enumerate(batches, start=first + 1):
            progress = (step - 1) / plan.steps
            seed_draws(seed, step, rank())
            _set_rates(wrapped, plan, progress)
            with torch.autocast(fabric.device.type, torch.bfloat16, enabled=plan.precision == "bf16"):
                result: StepResult = module.step(_to(batch, fabric.device), progress)
            shared = len(result.terms) > 1 and (step == 1 or step % plan.share_every == 0)
            shares = gradient_shares(result.terms, state.student) if shared else {}
            fabric.backward(result.loss)
            norm = clipped_norm(learned, plan.clip)
            loss = _number(result, norm, step, batch, loader.crops)
            if shares:
                run.log({"step": step, "gradient_share": shares})
            for optimizer in wrapped:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            state.average()
            clock.count(len(batch.labels) * processes())
            if step % plan.log_every == 0 or step in marks or step == 1:
                _log(run, step, plan, result, norm, wrapped[0], clock, fabric)
            if tell:
                tell(Progress(step * plan.batch, plan.images, loss, clock.rate()))
            if step in marks and rank() == 0:
                state.keep(run, step, judge)
                clock.pause()
            if step < plan.steps and stop.made(fabric.device):
                if step not in marks and rank() == 0:
                    state.keep_unjudged(run, step, best=judge is None)
                raise stop.error()
            if stop_after is not None and step - first >= stop_after:
                break
    run.flush()
    return step * plan.batch


def _set_rates(optimizers: list[Any], plan: Plan, progress: float) -> None:
    """Set the learning rate of the step that begins at ``progress``."""
    share = rate_at(progress, plan.warmup, plan.shape, plan.cooldown, 1 / plan.steps)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * share


def clipped_norm(learned: list[nn.Parameter], most: float) -> Tensor:
    """The norm of the gradient, after clipping it to at most ``most`` (0: no clipping).

    Sparse gradients are neither clipped nor counted, unless they are not finite.
    """
    dense = [p for p in learned if p.grad is not None and not p.grad.is_sparse]
    norm = nn.utils.get_total_norm([p.grad for p in dense if p.grad is not None], foreach=True)
    if most:
        nn.utils.clip_grads_with_norm_(dense, most, norm, foreach=True)
    for p in learned:
        if p.grad is not None and p.grad.is_sparse:
            norm = norm + 0 * p.grad.coalesce().values().norm()  # zero, or NaN
    return norm


def _own_views(order: Order, plan: Plan, first: int) -> Iterator[View]:
    """The views of this process from step ``first``: its share of each batch, in order."""
    share, left = divmod(plan.batch, processes())
    if left:
        raise UsageError(f"a batch of {plan.batch} cannot be divided among {processes()} processes")
    for step in range(first, plan.steps):
        start = step * plan.batch + rank() * share
        yield from (order.at(position) for position in range(start, start + share))


def _number(result: StepResult, norm: Tensor, step: int, batch: Batch, crops: CropSet) -> float:
    """The loss as a number; `Diverged` if it, or the ``norm`` of its gradient, is not finite."""
    loss, length = torch.stack([result.loss.detach().double(), norm.double()]).tolist()
    if math.isfinite(loss) and math.isfinite(length):
        return float(loss)
    what = f"the norm of the gradient is {length}" if math.isfinite(loss) else f"the loss is {loss}"
    raise Diverged(
        f"{what} at step {step} ({_at_fault(result, batch, crops)})",
        "Start a new run with a lower learning rate; --resume would continue from the last checkpoint with "
        "the same one.",
    )


def _at_fault(result: StepResult, batch: Batch, crops: CropSet) -> str:
    """How many crops have embeddings that are not finite, with some of their names; all crops of the batch
    if all or none have."""
    lost = ~result.embeddings.isfinite().all(1)
    found = (batch.crops[lost.to(batch.crops.device)] if lost.any() else batch.crops).tolist()
    named = ", ".join(crops.called(index) for index in found[:_NAMED])
    return f"{len(found)} crops: {named}" + (", ..." if len(found) > _NAMED else "")


def gradient_shares(terms: dict[str, Tensor], network: nn.Module) -> dict[str, float]:
    """The norm of each term's gradient in the network's parameters, as a share of their sum."""
    weights = [p for p in network.parameters() if p.requires_grad]
    norms = {}
    for name, term in terms.items():
        found = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
        norms[name] = math.hypot(*(float(g.norm()) for g in found if g is not None))
    total = sum(norms.values())
    return {name: norm / total if total else 0.0 for name, norm in norms.items()}


class _Clock:
    """Images per second since the start, without the time of evaluations."""

    def __init__(self) -> None:
        self.seconds, self.images, self.since = 0.0, 0, time.perf_counter()

    def count(self, images: int) -> None:
        now = time.perf_counter()
        self.seconds += now - self.since
        self.since = now
        self.images += images

    def pause(self) -> None:
        self.since = time.perf_counter()

    def rate(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0


def _log(
    run: RunFolder,
    step: int,
    plan: Plan,
    result: StepResult,
    norm: Tensor,
    optimizer: Any,
    clock: _Clock,
    fabric: Any,
) -> None:
    """Log a line of metrics; losses are means over the processes."""
    parts = {"loss": result.loss, **result.terms}
    values = torch.stack([value.detach().float() for value in parts.values()])
    if processes() > 1:
        values = fabric.all_reduce(values, reduce_op="mean")
    record: dict[str, Any] = {"step": step, "images": step * plan.batch}
    record |= dict(zip(parts, values.tolist(), strict=True))
    record |= {"rate": optimizer.param_groups[0]["lr"], "images_per_second": round(clock.rate(), 1)}
    record["gradient_norm"] = float(norm)
    run.log(record | {"seconds": round(clock.seconds, 1)})


class _State:
    """The state of a run that a checkpoint contains: the task, the optimizers, the running mean of the
    weights and the best score so far."""

    def __init__(
        self, task: Any, optimizers: list[torch.optim.Optimizer], plan: Plan, contract: dict[str, Any]
    ) -> None:
        self.student: nn.Module = task.student
        self._task, self._optimizers, self._plan, self._contract = task, optimizers, plan, contract
        self._mean = running_mean(self.student, plan.ema) if plan.ema else None
        self._best = -math.inf

    def average(self) -> None:
        """Update the running mean with the weights after a step."""
        if self._mean:
            self._mean.update_parameters(self.student)

    def keep(self, run: RunFolder, step: int, judge: Judge | None) -> None:
        """Evaluate the student, or the running mean of its weights, and write a checkpoint."""
        kept = self._kept()
        score = None
        if judge:
            kept.eval()
            score = judge(kept, step / self._plan.steps)
            self._task.train()
        improved = score is None or score >= self._best
        self._best = self._best if score is None else max(self._best, score)
        self._save(run, step, score, improved)
        if score is not None:
            run.log({"step": step, "images": step * self._plan.batch, SCORE: score})

    def keep_unjudged(self, run: RunFolder, step: int, best: bool) -> None:
        """Write a checkpoint without a score; it becomes the best one only if ``best`` says so."""
        self._save(run, step, None, best)

    def _kept(self) -> nn.Module:
        """The network that is evaluated and exported."""
        return self._mean.module if self._mean else self.student

    def _save(self, run: RunFolder, step: int, score: float | None, best: bool) -> None:
        stable = self._plan.stable_steps is not None and step <= self._plan.stable_steps
        run.save(self._checkpoint(self._kept(), step, score), best=best, stable=stable)

    def _checkpoint(self, kept: nn.Module, step: int, score: float | None) -> Checkpoint:
        whole = self._task.state_dict()
        return Checkpoint(
            kept.state_dict(),
            {name: value for name, value in whole.items() if not name.startswith("student.")},
            {
                "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
                "student": self.student.state_dict() if self._mean else None,
                "averaged": int(self._mean.n_averaged) if self._mean else 0,
            },
            {
                "step": step,
                "images": step * self._plan.batch,
                "precision": self._plan.precision,
                SCORE: score,
                "best": self._best if math.isfinite(self._best) else None,
                "contract": self._contract,
            },
        )

    def _extends(self, run: RunFolder) -> bool:
        """Whether the learning rate had begun to fall at the run's last checkpoint but not in this plan."""
        before_fall = run.state("stable").get("step")
        if before_fall is None or self._plan.stable_steps is None:
            return False
        return bool(before_fall < self._plan.stable_steps and before_fall < run.state("last")["step"])

    def restore(self, run: RunFolder) -> int:
        """Restore the run's last checkpoint; return its step.

        If the learning rate of this plan is still at its peak where that of the last checkpoint had begun to
        fall (a run of shape ``wsd`` that is extended), restore the last checkpoint before the fall.
        """
        saved = run.load("stable" if self._extends(run) else "last")
        others = saved.optimizer
        student = others["student"] or saved.model
        self._task.load_state_dict({**{f"student.{k}": v for k, v in student.items()}, **saved.task})
        if self._mean:
            self._mean.module.load_state_dict(saved.model)
            self._mean.n_averaged.fill_(others["averaged"])
        for optimizer, state in zip(self._optimizers, others["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        run.cut_metrics(saved.state["step"])
        best = saved.state["best"]
        self._best = -math.inf if best is None else float(best)
        return int(saved.state["step"])


def _to(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    return Batch(
        *(getattr(batch, name).to(device) for name in ("views", "crops", "numbers", "mirrored", "labels"))
    )
