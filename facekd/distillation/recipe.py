"""The recipe: a TOML file that states a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from facekd.distillation.validation import DEFAULT_STUDENT, faults_across
from facekd.models import StartBy
from facekd.training import Augmentation, Mixing, OptimizerName, Plan, Precision, Shape


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(_Table):
    """Which crops. Paths are relative to the recipe file; folders or zip packs."""

    #: folders or packs with a folder for each identity
    labelled: tuple[Path, ...] = ()
    #: the folder in each of them that contains the identities' folders; ``.`` if they are at the top
    root: str | None = None
    #: folders or packs of crops whose identity is unknown; their folders mean nothing
    unlabelled: tuple[Path, ...] = ()
    #: a CSV file with the columns ``label,merge_into``, for two labels of one identity
    merge: Path | None = None
    #: lists of identities, or of crops as ``pack/name``, that are left out
    exclude: tuple[Path, ...] = ()
    #: a CSV file with the columns ``pack,crop``, for crops whose label is not used; they still teach the
    #: direction of their embedding
    doubts: Path | None = None
    #: the most crops of one identity that are used; the others are left out
    cap: int | None = Field(None, ge=1)
    #: the share of the crops that is used, chosen by their names
    share: float = Field(1.0, gt=0, le=1)
    #: a list of identities of ``labelled`` that are never trained on: its odd lines choose
    #: checkpoints, its even lines calibrate
    heldout: Path | None = None
    #: the detector that found the faces; stated with the thresholds in the card
    detector: str = "as the crops were given"
    #: the aligner that cut the crops; stated with the thresholds in the card
    aligner: str = "as the crops were given"
    #: the name of the data in the card
    name: str = "unnamed"
    #: the terms of the data in the card
    licence: str = "unknown"


class Student(_Table):
    """The network that is trained."""

    #: a network of ``facekd/models``
    name: str = DEFAULT_STUDENT
    #: the network's own settings, such as ``dim`` or ``widths``
    settings: dict[str, Any] = Field(default_factory=dict)
    #: a run folder or a ``.safetensors`` file of a network of the same architecture whose weights the student
    #: begins with
    start: Path | None = None
    #: ``selection`` takes evenly spaced channels; ``norms`` those with the largest filters, and also the head
    #: and what the losses learned; ``equal`` all weights of equal shape except the head; ``whole`` the same
    #: network with its head and what the losses learned, to train it further
    start_by: StartBy = "selection"
    #: the share of those weights in the start; the rest is random. With 0 the student begins at random, and
    #: the weights are only what the loss ``l2_sp`` pulls it to
    blend: float = Field(1.0, ge=0, le=1)


class LossTable(_Table):
    """A loss with its weight, which moves along a line between ``begin`` and ``end``. Before and after, the
    loss is switched off."""

    #: a loss of ``facekd/distillation/losses``
    name: str
    #: the weight at ``begin``
    weight: float = Field(1.0, ge=0)
    #: the weight at ``end``; the same as ``weight`` unless given
    final_weight: float | None = Field(None, ge=0)
    #: the share of the run at which the loss is switched on
    begin: float = Field(0.0, ge=0, lt=1)
    #: the share of the run at which the loss is switched off
    end: float = Field(1.0, gt=0, le=1)
    #: the number, from 1, of the one teacher that the loss compares with; all of them joined unless given
    teacher: int | None = Field(None, ge=1)
    #: the loss's own settings
    settings: dict[str, Any] = Field(default_factory=dict)


class TeacherTable(_Table):
    """One frozen teacher, or several whose embeddings are joined; or a co-trained ``network``, which learns
    from the labels by losses of its own while it teaches."""

    #: the frozen teachers: ONNX files, ensembles, run folders, ``timm:NAME:FILE`` or ``inception:FILE``
    models: tuple[str, ...] = ()
    #: ``cached`` embeds ``views`` seeded views of every crop once and keeps the embeddings; ``online`` runs
    #: the teacher at every step
    targets: Literal["cached", "online"] = "cached"
    #: what the teacher embeds: the view that the student sees, or the crop itself whatever the view
    rule: Literal["same-view", "clean-view"] = "same-view"
    #: the number of views of each crop with cached targets
    views: int = Field(2, ge=1)
    #: keep these views as pixels too, 38 kB each, so that a run decodes and augments nothing
    keep_views: bool = False
    #: leave out views whose target has a smaller cosine than this to the target of the crop itself
    gate: float | None = Field(None, gt=-1, lt=1)
    #: end the run before its first step if the teacher's own TAR on the held-out identities is lower
    floor: float = Field(0.2, ge=0, le=1)
    #: a network of ``facekd/models`` that is co-trained with the student
    network: str | None = None
    #: the co-trained network's own settings
    settings: dict[str, Any] = Field(default_factory=dict)
    #: the losses that the co-trained network learns by: tables like ``[[loss]]``
    loss: tuple[LossTable, ...] = ()

    @property
    def repeats(self) -> int:
        """How many views of each crop a run shows, again and again; 0: every epoch fresh ones."""
        return self.views if self.cached and self.rule == "same-view" else 0

    @property
    def cached(self) -> bool:
        return self.network is None and self.targets == "cached"


class Pseudo(_Table):
    """Pseudo-labels for unlabelled crops: clusters of the teacher's embeddings that count as classes."""

    #: the number of clusters; 0 for none
    clusters: int = Field(0, ge=0)
    #: the least cosine of a crop to its nearest cluster at which it belongs to it
    gate: float = Field(0.5, gt=-1, lt=1)


class Sampling(_Table):
    """What a batch is made of: every crop in turn, or P identities with K crops each."""

    #: identities in a batch (P); 0 for every crop in turn
    people: int = Field(0, ge=0)
    #: crops of each of them (K)
    crops: int = Field(4, ge=2)
    #: how often the crops of a pack, or of a folder in it (`pack/folder`), come, where others come once; a
    #: longer name counts before a shorter one
    weights: dict[str, Annotated[float, Field(gt=0, le=100)]] = {}


class Schedule(_Table):
    """How long, how fast and how precisely the student is trained."""

    #: views seen in the whole run, repeats included
    images: int = Field(ge=1)
    #: views in a batch, over all processes
    batch: int = Field(128, ge=2)
    #: the peak learning rate
    rate: float = Field(2e-3, gt=0)
    #: the weight decay
    decay: float = Field(0.05, ge=0)
    #: the share of the run in which the learning rate rises to its peak
    warmup: float = Field(0.05, ge=0, lt=1)
    #: the optimizer of the student and of what the losses learn
    optimizer: OptimizerName = "adamw"
    #: how the learning rate falls to zero after the warm-up; with ``wsd`` it stays at its peak until the
    #: cooldown
    shape: Shape = "cosine"
    #: the share of the run, at its end, in which the learning rate of ``wsd`` falls to zero
    cooldown: float = Field(0.2, gt=0, le=1)
    #: the decay of a running mean of the weights, which is then what is evaluated and exported
    ema: float | None = Field(None, gt=0, lt=1)
    #: the norm to which the gradient is clipped; 0 for no clipping
    clip: float = Field(5.0, ge=0)
    #: ``auto`` times both and takes bf16 where the hardware multiplies it and it is at least a tenth faster
    precision: Literal["auto", "float32", "bf16"] = "auto"
    #: run the networks through torch.compile: a minute's wait, then an IResNet is 1.2 times as fast on a CPU
    compile: bool = False
    #: the side in pixels of the views in the first ``start_share`` of the run; full size afterwards
    start_size: int | None = Field(None, ge=32, le=112, multiple_of=16)
    #: the share of the run with views of ``start_size``
    start_share: float = Field(0.5, gt=0, le=0.9)
    #: the number of checkpoints, each evaluated on the held-out identities
    evaluations: int = Field(5, ge=1)

    @property
    def steps(self) -> int:
        return self.images // self.batch


class Recipe(_Table):
    """A run: data, student, teacher (none for a baseline from labels), losses, schedule."""

    #: the seed of the order of the crops, their views, and everything that is drawn at random
    seed: int = Field(0, ge=0)
    #: the crops
    data: Data
    #: the network that is trained
    student: Student = Student()
    #: the teacher or teachers; none for a baseline from labels
    teacher: TeacherTable | None = None
    #: classes for unlabelled crops
    pseudo: Pseudo = Pseudo()
    #: the losses: one ``[[loss]]`` table each
    loss: tuple[LossTable, ...] = Field(min_length=1)
    #: mirror each view left to right with a probability of a half
    mirror: bool = True
    #: what happens to a crop before the student sees it
    augmentation: Augmentation = Augmentation()
    #: joining views of a batch with each other
    mixing: Mixing = Mixing()
    #: what a batch is made of
    sampling: Sampling = Sampling()
    #: how long, how fast and how precisely
    schedule: Schedule

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Recipe:
        checked = info.context is not None and info.context.get("checked")
        faults = [] if checked else faults_across(self.model_dump())
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def plan(self, precision: Precision) -> Plan:
        """The part that the loop needs, with the ``precision`` chosen for ``schedule.precision``."""
        s = self.schedule
        return Plan(
            s.images, s.batch, s.rate, s.decay, s.warmup,
            s.optimizer, s.shape, s.clip, precision, s.evaluations, ema=s.ema, cooldown=s.cooldown,
        )  # fmt: skip

    def view_numbers(self, crops: int) -> range:
        """The view numbers that a run over ``crops`` crops needs cached targets of."""
        if self.teacher is None or not self.teacher.cached:
            return range(0)
        if self.teacher.rule == "clean-view":
            return range(1)
        if self.sampling.people:
            return range(self.teacher.views)
        epochs = -(-self.schedule.images // crops)
        return range(min(self.teacher.views, epochs))

    def to_toml(self) -> str:
        """The recipe with every default written out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    def without_teacher(self) -> Recipe:
        """The baseline: the same student and schedule, ArcFace from the labels. Crops without a
        label, and mixed views, would teach it nothing, so every image it sees is a labelled one."""
        data = {**self.data.model_dump(), "unlabelled": ()}
        left = {path.name.removesuffix(".zip") for path in self.data.labelled}
        weights = {name: one for name, one in self.sampling.weights.items() if name.split("/")[0] in left}
        changed = {
            "data": data, "teacher": None, "mixing": {}, "pseudo": {}, "loss": [{"name": "arcface"}],
            "sampling": {**self.sampling.model_dump(), "weights": weights},
        }  # fmt: skip
        return Recipe.model_validate({**self.model_dump(), **changed})
