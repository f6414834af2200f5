"""The loop: batches in, steps, a log, checkpoints. Methods live in tasks.

Built on Lightning Fabric, which brings the device, the precision and (later) the processes.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from facekd.errors import FacekdError, UsageError
from facekd.models import torch_device
from facekd.training.checkpoint import Checkpoint, RunFolder
from facekd.training.data import Batch, ViewLoader
from facekd.training.data.views import Order
from facekd.training.precision import Precision
from facekd.training.schedule import OptimizerName, make_optimizer, rate_at


@dataclass(frozen=True)
class StepResult:
    """``loss`` is what is minimised; ``terms`` are its named parts, which add up to it and are
    only logged, with their shares in the gradient."""

    loss: Tensor
    terms: dict[str, Tensor]


class Task(Protocol):
    """What is being learned. A `torch.nn.Module` whose ``student`` is what will be shipped."""

    student: nn.Module

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
    shape: Literal["cosine", "linear"]
    clip: float
    precision: Precision
    evaluations: int
    log_every: int = 20
    #: steps between looks at the share of each part in the gradient, which cost a pass each
    share_every: int = 200

    @property
    def steps(self) -> int:
        return self.images // self.batch


@dataclass(frozen=True)
class Progress:
    """What the caller is told while a run goes on."""

    images: int
    total: int
    loss: float
    images_per_second: float


class Diverged(FacekdError):
    """The loss is no longer a number."""


def fit(
    task: nn.Module,
    loader: ViewLoader,
    order: Order,
    plan: Plan,
    run: RunFolder,
    device: str = "cpu",
    resume: bool = False,
    judge: Callable[[], float] | None = None,
    tell: Callable[[Progress], None] | None = None,
    stop_after: int | None = None,
) -> int:
    """Train ``task`` by ``plan`` and leave checkpoints in ``run``; return the images seen.

    ``judge`` scores the student on held-out identities (higher is better) at every checkpoint;
    ``stop_after`` ends the call after so many steps, as a kill would. Raises `DeviceError`,
    `Diverged`, or `UsageError` for a plan without a step.
    """
    if plan.steps < 1:
        raise UsageError(f"{plan.images} images in batches of {plan.batch} make no step")
    fabric = make_fabric(device, plan.precision)
    task.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = task.get_submodule("student")
    optimizer = make_optimizer(task, network, plan.optimizer, plan.rate, plan.decay)
    first, best = 0, -math.inf
    if resume and run.has("last"):
        first, best = _restore(task, optimizer, run)
    module, wrapped = fabric.setup(task, optimizer)
    module.mark_forward_method("step")
    marks = {math.ceil(plan.steps * k / plan.evaluations) for k in range(1, plan.evaluations + 1)}
    views = (order.at(p) for p in range(first * plan.batch, plan.steps * plan.batch))
    clock = _Clock()
    task.train()
    for step, batch in enumerate(loader.batches(views), start=first + 1):
        progress = (step - 1) / plan.steps
        for group in wrapped.param_groups:
            group["lr"] = plan.rate * rate_at(progress, plan.warmup, plan.shape)
        with fabric.autocast():  # a marked method of a module on one device is called without it
            result: StepResult = module.step(_to(batch, fabric.device), progress)
        if len(result.terms) > 1 and (step == 1 or step % plan.share_every == 0):
            run.log({"step": step, "gradient_share": gradient_shares(result.terms, network)})
        fabric.backward(result.loss)
        norm = fabric.clip_gradients(module, wrapped, max_norm=plan.clip) if plan.clip else None
        wrapped.step()
        wrapped.zero_grad(set_to_none=True)
        clock.count(len(batch.labels))
        if step % plan.log_every == 0 or step in marks or step == 1:
            _log(run, step, plan, result, norm, wrapped, clock, batch)
        if tell:
            tell(Progress(step * plan.batch, plan.images, float(result.loss.detach()), clock.rate()))
        if step in marks:
            score = _judge(task, judge)
            clock.pause()
            improved = score is None or score >= best
            best = best if score is None else max(best, score)
            run.save(_checkpoint(task, optimizer, step, plan, score, best), best=improved)
            if score is not None:
                run.log({"step": step, "images": step * plan.batch, "heldout_tar_1e-3": score})
        if stop_after is not None and step - first >= stop_after:
            break
    return plan.steps * plan.batch


def gradient_shares(terms: dict[str, Tensor], network: nn.Module) -> dict[str, float]:
    """The norm of each term's gradient by the network's parameters, as a share of their sum."""
    weights = [p for p in network.parameters() if p.requires_grad]
    norms = {}
    for name, term in terms.items():
        found = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
        norms[name] = math.hypot(*(float(g.norm()) for g in found if g is not None))
    total = sum(norms.values())
    return {name: norm / total if total else 0.0 for name, norm in norms.items()}


def make_fabric(device: str, precision: Precision) -> Any:
    """Fabric on ``device``; bf16 is autocast, the weights stay in float32."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from lightning_fabric import Fabric

    kind = torch_device(device).type
    return Fabric(accelerator=kind, devices=1, precision="bf16-mixed" if precision == "bf16" else "32-true")


class _Clock:
    """Images a second since the start, evaluations not counted."""

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
    norm: Tensor | None,
    optimizer: Any,
    clock: _Clock,
    batch: Batch,
) -> None:
    loss = float(result.loss.detach())
    if not math.isfinite(loss):
        raise Diverged(
            f"the loss is {loss} at step {step} (crops {batch.crops[:8].tolist()} ...)",
            "Lower the learning rate, or start again from the last checkpoint with --resume.",
        )
    record: dict[str, Any] = {"step": step, "images": step * plan.batch, "loss": loss}
    record |= {name: float(value.detach()) for name, value in result.terms.items()}
    record |= {"rate": optimizer.param_groups[0]["lr"], "images_per_second": round(clock.rate(), 1)}
    if norm is not None:
        record["gradient_norm"] = float(norm)
    run.log(record | {"seconds": round(clock.seconds, 1)})


def _judge(task: Any, judge: Callable[[], float] | None) -> float | None:
    if judge is None:
        return None
    task.eval()
    try:
        return judge()
    finally:
        task.train()


def _checkpoint(
    task: Any, optimizer: torch.optim.Optimizer, step: int, plan: Plan, score: float | None, best: float
) -> Checkpoint:
    whole = task.state_dict()
    prefix = "student."
    return Checkpoint(
        {k.removeprefix(prefix): v for k, v in whole.items() if k.startswith(prefix)},
        {k: v for k, v in whole.items() if not k.startswith(prefix)},
        {"optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()},
        {
            "step": step,
            "images": step * plan.batch,
            "precision": plan.precision,
            "heldout_tar_1e-3": score,
            "best": best if math.isfinite(best) else None,
        },
    )


def _restore(task: nn.Module, optimizer: torch.optim.Optimizer, run: RunFolder) -> tuple[int, float]:
    saved = run.load("last")
    task.load_state_dict({**{f"student.{k}": v for k, v in saved.model.items()}, **saved.task})
    optimizer.load_state_dict(saved.optimizer["optimizer"])
    torch.set_rng_state(saved.optimizer["rng"])
    run.cut_metrics(saved.state["step"])
    best = saved.state["best"]
    return int(saved.state["step"]), -math.inf if best is None else float(best)


def _to(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    return Batch(
        *(getattr(batch, name).to(device) for name in ("views", "crops", "numbers", "mirrored", "labels"))
    )
