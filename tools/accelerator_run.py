"""A run on an accelerator within a time limit: the work of `train_on_accelerator.py`.

Everything stays on the device: crops, views, teachers, student, held-out people. The run folder is that of
`facekd distill`, so that `facekd export` accepts it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from accelerator_clock import Clock
from accelerator_recipe import Options, losses_of, recipe_of
from accelerator_teacher import (
    PRECISIONS,
    OnlineTeacher,
    in_batches,
    student_rows,
    tar_on_device,
)
from accelerator_views import ShuffledCrops, ViewMaker, decoded, drawn
from packed_weights import LEARNED, weights_of, write_shards
from torch import Tensor, nn

from facekd.distillation import (
    CHOOSING_FMR,
    TEACHER_SCORE,
    DistillTask,
    Recipe,
    heldout_crops,
    training_crops,
    write_card,
)
from facekd.errors import UsageError
from facekd.files import write_atomically
from facekd.models import build_model, start_from, torch_device
from facekd.models.teachers import load_teacher
from facekd.training import (
    SCORE,
    Checkpoint,
    Diverged,
    RunFolder,
    StopRequest,
    locked_run,
    make_optimizers,
    rate_at,
    stoppable,
)
from facekd.training.data import Batch, CropSet

Say = Callable[[str], None]

#: crops embedded at a time for evaluation, and those with which the cost of lower precision is measured
_JUDGED, _COMPARED = 512, 512
#: steps between two reads of the loss, each of which waits for the device
_LOOK_EVERY = 20
#: batches that are timed, after as many for warm-up
_TIMED = 5


def train_here(options: Options, say: Say) -> RunFolder:
    """Train with ``options`` until the time is up, or all images were seen; return the run folder.

    Raises `UsageError` for unsupported options, `Diverged` if the loss is not finite, and `KeyboardInterrupt`
    after a signal, once a checkpoint is written.
    """
    device = torch_device(options.device)
    recipe = recipe_of(options)
    # float32 is what figures are measured in, and shapes stay the same
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = False, True
    with locked_run(options.out), stoppable() as stop:
        run = RunFolder.open(options.out) if options.resume else RunFolder.create(options.out, options.force)
        try:
            if not options.resume:
                _write_recipe(run, recipe)
            leg = _Leg(options, recipe, run, device, say)
            leg.go_on() if options.resume else leg.begin()
        except BaseException:
            run.discard()  # if it has not begun
            raise
        with stop.stop_between_steps():
            leg.train(stop)
    return run


def _write_recipe(run: RunFolder, recipe: Recipe) -> None:
    write_atomically(run.path / "recipe.toml", recipe.to_toml().encode())


class _Leg:
    """One call of the tool: crops, views, task and optimizers on the device, and their progress."""

    def __init__(
        self, options: Options, recipe: Recipe, run: RunFolder, device: torch.device, say: Say
    ) -> None:
        self.options, self.recipe, self.run, self.device, self.say = options, recipe, run, device, say
        crops = training_crops(recipe, say)
        held = heldout_crops(recipe, "choose")
        assert held is not None
        say(crops.describe())
        pixels, judging = self._decoded(crops), self._decoded(held)  # before the device is used
        self.crops, self.heldout = pixels.to(device), judging.to(device)
        self.heldout_labels = torch.from_numpy(held.labels).to(device)
        self.labels = torch.from_numpy(crops.labels).to(device)
        self.order = ShuffledCrops(len(crops), recipe.seed, recipe.mirror)
        self.views = ViewMaker(recipe.augmentation, crops.size).to(device)
        self.teacher = self._asked_teacher()
        torch.manual_seed(recipe.seed)
        self.student = build_model(recipe.student.name, **recipe.student.settings)
        losses = losses_of(recipe, self.student, self.teacher.dim)
        self.task = DistillTask(self.student, losses, self.teacher.targets).to(device)
        self.task.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.schedule = recipe.schedule
        self.optimizers = make_optimizers(
            self.task, self.task.networks, self.schedule.optimizer, self.schedule.rate, self.schedule.decay
        )
        self.learned = [p for p in self.task.parameters() if p.requires_grad]
        self.step, self.images, self.best, self.warmup = 0, 0, -math.inf, self.schedule.warmup
        if options.compiled:
            for network in (self.student, *self.teacher.networks):
                network.compile()

    def _decoded(self, crops: CropSet) -> Tensor:
        begun = time.perf_counter()
        pixels = decoded(crops, self.options.processes)
        self.say(f"decoded {len(crops):,} crops in {time.perf_counter() - begun:.1f} s")
        return pixels

    def _asked_teacher(self) -> OnlineTeacher:
        """The teacher; prints how close it is to float32, and its accuracy on the held-out people."""
        assert self.recipe.teacher is not None
        teacher = OnlineTeacher(self.recipe.teacher.models, self.device, self.options.teacher_precision)
        for told in teacher.settle_precision(self.heldout[:_COMPARED]):
            self.say(told)
        rows = in_batches(teacher.embed, self.heldout, _JUDGED)
        tar = tar_on_device(rows, self.heldout_labels, CHOOSING_FMR)
        self.say(f"teacher {teacher.name}: held-out TAR {tar:.2%} at FMR {CHOOSING_FMR:g}")
        if tar < self.recipe.teacher.floor:
            raise UsageError(
                f"the teacher {teacher.name} hardly tells the held-out people apart (TAR {tar:.2%})",
                "For a teacher that is known to be so weak set floor = 0 under [teacher].",
            )
        if not self.options.resume:
            self.run.log({"step": 0, TEACHER_SCORE: tar})
        return teacher

    def begin(self) -> None:
        """Load the starting weights into the student and the losses; write the card."""
        if self.options.start is not None:
            weights, learned = weights_of(self.options.start)
            weights = {name: value.to(self.device) for name, value in weights.items()}
            taken = start_from(self.student, weights, "whole").taken
            own = {name: value for name, value in self.task.state_dict().items() if name.startswith(LEARNED)}
            same = [
                name for name, value in own.items() if name in learned and learned[name].shape == value.shape
            ]
            for name in same:
                own[name].copy_(learned[name])
            self.say(
                f"{len(taken)} tensors of the student and {len(same)} of {len(own)} that the losses learn "
                f"begin as in {self.options.start.name}"
            )
        models = self.recipe.teacher.models if self.recipe.teacher else ()
        write_card(self.recipe, self.student, load_teacher(models), self.run)

    def go_on(self) -> None:
        """Resume a run from where its learning rate had not begun to fall: its last checkpoint, if it never
        fell."""
        self.run.repair()
        saved = self.run.load("stable" if self.run.has("stable") else "last")
        begun = saved.state["contract"]
        if begun != self._contract():
            changed = [key for key in begun if begun[key] != self._contract().get(key)]
            raise UsageError(f"{self.run.path} was begun with different settings: {', '.join(changed)}")
        student = {f"student.{name}": value for name, value in saved.model.items()}
        self.task.load_state_dict({**student, **saved.task})
        for optimizer, state in zip(self.optimizers, saved.optimizer["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.step, self.images = saved.state["step"], saved.state["images"]
        self.warmup = 0.0  # the optimizers keep their state
        self.run.cut_metrics(self.step)
        best = self.run.state("best").get(SCORE)
        self.best = -math.inf if best is None else float(best)
        self.say(f"goes on after {self.images:,} images")

    def _contract(self) -> dict[str, Any]:
        """What a run and its resumption must have in common."""
        raw = self.recipe.model_dump(mode="json")
        keys = ("seed", "student", "loss", "augmentation", "mirror")
        return {key: raw[key] for key in keys} | {"teachers": self.teacher.members, "crops": len(self.crops)}

    def train(self, stop: StopRequest) -> None:
        """Steps until the end of the plan, with a checkpoint now and then."""
        self._time_parts()
        clock = Clock(self.options, self.images, self._kept_in())
        if not clock.left():
            raise UsageError(
                f"no time is left to train: preparation took {clock.passed():.0f} s",
                "Give more --seconds.",
            )
        self.say(f"training {self.recipe.student.name} for {clock.left():.0f} s")
        self.task.train()
        while (progress := clock.progress(self.images)) < 1:
            stable = self.schedule.shape != "wsd" or progress < 1 - self.schedule.cooldown
            falls = clock.falls(stable)
            if falls or clock.to_save():
                self._keep(stable=falls or stable)
                clock.saved()
            self._set_rates(progress, clock.share_of_step)
            result, norm = self._step(progress)
            if self.step % _LOOK_EVERY == 0:
                self._look(result, norm, clock)
            if stop.made(self.device):
                self._keep(stable=not clock.fallen)
                raise stop.error()
        self._keep(stable=self.schedule.shape != "wsd")
        self.run.log(
            {
                "step": self.step,
                "finished": True,
                "images": self.images,
                "train_seconds": round(clock.trained(), 1),
            }
        )
        self.say(f"{self.images:,} images seen, best held-out TAR {self.best:.2%}; {self.run.path}")

    def _batch(self) -> Batch:
        """The views of the next step."""
        crops, mirrored = self.order.batch(self.images, self.schedule.batch)
        chances = drawn(
            self.recipe.augmentation, mirrored, self.recipe.seed, self.images, self.crops.shape[1]
        )
        here = crops.to(self.device)
        return Batch(self.views(self.crops[here], chances), here, here, mirrored, self.labels[here])

    def _step(self, progress: float) -> tuple[Tensor, Tensor]:
        """Run one step; return the loss and the norm of its gradient without waiting for the device."""
        wanted = PRECISIONS[self.options.precision]
        batch = self._batch()
        with torch.autocast(self.device.type, wanted, enabled=wanted is not None):
            loss = self.task.step(batch, progress).loss
        loss.backward()
        most = self.schedule.clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.learned, most, foreach=True)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.images += self.schedule.batch
        return loss.detach(), norm

    def _set_rates(self, progress: float, share: float) -> None:
        s = self.schedule
        rate = s.rate * rate_at(progress, self.warmup, s.shape, s.cooldown, share)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def _look(self, loss: Tensor, norm: Tensor, clock: Clock) -> None:
        """Log a step. Raises `Diverged` if its loss or gradient is not finite."""
        value, length = torch.stack([loss.double(), norm.double()]).tolist()
        if not (math.isfinite(value) and math.isfinite(length)):
            raise Diverged(
                f"the loss is {value} and the norm of its gradient {length} at step {self.step}",
                "Begin a new run with a lower --rate.",
            )
        rate, speed = self.optimizers[0].param_groups[0]["lr"], clock.images_per_second(self.images)
        record = {"step": self.step, "images": self.images, "loss": value, "rate": rate}
        record |= {"images_per_second": round(speed, 1), "gradient_norm": length}
        self.run.log(record | {"seconds": round(clock.trained(), 1)})
        if clock.to_say():
            self.say(
                f"{clock.passed():4.0f} s {self.images:,} images, {speed:,.0f} a second, loss {value:.4f}"
            )

    def _judge(self) -> float:
        self.student.eval()
        rows = in_batches(lambda some: student_rows(self.student, some), self.heldout, _JUDGED)
        self.task.train()
        if not rows.isfinite().all():
            raise Diverged(
                "the student's embeddings are no longer finite", "Begin a new run with a lower --rate."
            )
        return tar_on_device(rows, self.heldout_labels, CHOOSING_FMR)

    def _keep(self, stable: bool) -> None:
        """Judge the student and write a checkpoint of the run."""
        score = self._judge()
        better = score >= self.best
        self.best = max(self.best, score)
        whole = self.task.state_dict()
        others = {name: value for name, value in whole.items() if not name.startswith("student.")}
        model = self.student.state_dict()
        state = {"step": self.step, "images": self.images, "precision": self.options.precision, SCORE: score}
        state |= {"best": self.best, "contract": self._contract()}
        # the run may be resumed on another device
        optimizers: dict[str, Any] = {"optimizers": [_on_cpu(o.state_dict()) for o in self.optimizers]}
        optimizers |= {"student": None, "averaged": 0}
        self.run.save(Checkpoint(model, others, optimizers, state), best=better, stable=stable)
        self.run.log({"step": self.step, "images": self.images, SCORE: score})
        seen = {"images": max(self.images, self.schedule.batch)}
        _write_recipe(
            self.run, self.recipe.model_copy(update={"schedule": self.schedule.model_copy(update=seen)})
        )
        if self.options.shards is not None:
            write_shards({**model, **others}, self.options.shards, self.images, self.step)
        self.say(f"after {self.images:,} images: held-out TAR {score:.2%} at FMR {CHOOSING_FMR:g}")

    def _kept_in(self) -> float:
        """Save a checkpoint before the first step; return how many seconds that took."""
        begun = time.perf_counter()
        self._keep(stable=True)
        return time.perf_counter() - begun

    def _time_parts(self) -> None:
        """Print the time that each part of a batch takes, without training on it."""
        batch = self._batch()
        views, teacher = (
            self._milliseconds(part) for part in (self._batch, lambda: self.teacher.embed(batch.views))
        )
        self.say(f"a batch of {self.schedule.batch}: views {views:.1f} ms, teacher {teacher:.1f} ms")

    def _milliseconds(self, part: Callable[[], object]) -> float:
        begun = 0.0
        for number in range(2 * _TIMED):
            if number == _TIMED:
                self._wait()
                begun = time.perf_counter()
            part()
        self._wait()
        return 1000 * (time.perf_counter() - begun) / _TIMED

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _on_cpu(value: Any) -> Any:
    """An optimizer's state with its tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(one) for key, one in value.items()}
    return [_on_cpu(one) for one in value] if isinstance(value, list) else value
