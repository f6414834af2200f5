"""The recipe: a TOML file that states a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from facekd.distillation.validation import DEFAULT_STUDENT, faults_across
from facekd.models import StartBy
from facekd.training import Augmentation, Mixing, OptimizerName, Plan, Precision, Shape


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(_Table):
    """Which crops. Paths are relative to the recipe file; folders or zip packs."""

    #: a folder per identity
    labelled: tuple[Path, ...] = ()
    #: the folder in each of them that holds the identities' folders; "." where they lie at the top
    root: str | None = None
    #: folders mean nothing
    unlabelled: tuple[Path, ...] = ()
    #: CSV ``label,merge_into``: two labels of one person
    merge: Path | None = None
    #: lists of identities or ``pack/crop`` that are left out
    exclude: tuple[Path, ...] = ()
    #: CSV ``pack,crop``: crops whose label is not used
    doubts: Path | None = None
    #: the most crops of one identity that are used; the others are left out
    cap: int | None = Field(None, ge=1)
    #: the share of the crops that is used, chosen by their names
    share: float = Field(1.0, gt=0, le=1)
    #: a list of identities of ``labelled`` that are never trained on: its odd lines choose
    #: checkpoints, its even lines calibrate
    heldout: Path | None = None
    #: how the crops were found and cut, where that is known: the card's thresholds state it
    detector: str = "as the crops were given"
    aligner: str = "as the crops were given"
    #: what the card says of the data
    name: str = "unnamed"
    licence: str = "unknown"


class Student(_Table):
    """``start``: a run folder or weights file of a larger network of the same family, whose
    weights the student begins with (``start_by``: evenly spaced channels, those of the largest norms, all
    of equal shape but the head, or the whole of the same network and what the losses learned with it;
    ``blend``: their share, the rest is random; with 0 the student begins at random, and those weights
    are only what `l2_sp` pulls it to)."""

    name: str = DEFAULT_STUDENT
    settings: dict[str, Any] = Field(default_factory=dict)
    start: Path | None = None
    start_by: StartBy = "selection"
    blend: float = Field(1.0, ge=0, le=1)


class LossTable(_Table):
    """A loss with its weight: from ``weight`` at the share ``begin`` of the run to ``final_weight``
    (the same, unless given) at ``end``, along a line; before and after it rests. ``teacher`` is
    the number (from 1) of the one teacher of several that it listens to."""

    name: str
    weight: float = Field(1.0, ge=0)
    final_weight: float | None = Field(None, ge=0)
    begin: float = Field(0.0, ge=0, lt=1)
    end: float = Field(1.0, gt=0, le=1)
    teacher: int | None = Field(None, ge=1)
    settings: dict[str, Any] = Field(default_factory=dict)


class TeacherTable(_Table):
    """One teacher, or several whose embeddings are joined. ``targets``: ``cached`` keeps what the
    teacher says of ``views`` seeded views of every crop, with ``keep_views`` the views too; ``online``
    asks it at every step.

    Or a ``network`` that learns from the labels by losses of its own while it teaches."""

    models: tuple[str, ...] = ()
    targets: Literal["cached", "online"] = "cached"
    #: what is labelled: the view that the student sees, or the crop itself whatever the view
    rule: Literal["same-view", "clean-view"] = "same-view"
    #: views of each crop with cached targets
    views: int = Field(2, ge=1)
    #: those views are kept as they are shown, 38 kB each, so that a run decodes and moves nothing
    keep_views: bool = False
    #: views whose target has a smaller cosine than this to that of the crop itself teach nothing
    gate: float | None = Field(None, gt=-1, lt=1)
    #: a run ends before its first step where the teacher's own TAR on the held-out identities is lower
    floor: float = Field(0.2, ge=0, le=1)
    network: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    loss: tuple[LossTable, ...] = ()

    @property
    def repeats(self) -> int:
        """How many views of each crop a run shows, again and again; 0: every epoch fresh ones."""
        return self.views if self.cached and self.rule == "same-view" else 0

    @property
    def cached(self) -> bool:
        return self.network is None and self.targets == "cached"


class Pseudo(_Table):
    """Classes for crops without a label: ``clusters`` of the teacher's embeddings (0: none); a
    crop belongs to its nearest if their cosine reaches ``gate``."""

    clusters: int = Field(0, ge=0)
    gate: float = Field(0.5, gt=-1, lt=1)


class Sampling(_Table):
    """``people`` identities with ``crops`` crops in every batch (P x K); 0: every crop in turn."""

    people: int = Field(0, ge=0)
    crops: int = Field(4, ge=2)


class Schedule(_Table):
    """``images``: views seen, repeats included. ``rate``: the peak learning rate."""

    images: int = Field(ge=1)
    batch: int = Field(128, ge=2)
    rate: float = Field(2e-3, gt=0)
    decay: float = Field(0.05, ge=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    optimizer: OptimizerName = "adamw"
    shape: Shape = "cosine"
    #: the share of the run, at its end, in which the rate of ``wsd`` falls to zero
    cooldown: float = Field(0.2, gt=0, le=1)
    #: decay of a running mean of the weights, which is then what is judged and exported
    ema: float | None = Field(None, gt=0, lt=1)
    clip: float = Field(5.0, ge=0)
    precision: Literal["auto", "float32", "bf16"] = "auto"
    #: the student sees views of this size for the first ``start_share`` of the run, whole ones after
    start_size: int | None = Field(None, ge=32, le=112, multiple_of=16)
    start_share: float = Field(0.5, gt=0, le=0.9)
    #: checkpoints, each with a look at the held-out identities
    evaluations: int = Field(5, ge=1)

    @property
    def steps(self) -> int:
        return self.images // self.batch


class Recipe(_Table):
    """A run: data, student, teacher (none for a baseline from labels), losses, schedule."""

    seed: int = Field(0, ge=0)
    data: Data
    student: Student = Student()
    teacher: TeacherTable | None = None
    pseudo: Pseudo = Pseudo()
    loss: tuple[LossTable, ...] = Field(min_length=1)
    mirror: bool = True
    augmentation: Augmentation = Augmentation()
    mixing: Mixing = Mixing()
    sampling: Sampling = Sampling()
    schedule: Schedule

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Recipe:
        checked = info.context is not None and info.context.get("checked")
        faults = [] if checked else faults_across(self.model_dump())
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def plan(self, precision: Precision) -> Plan:
        """The part that the loop needs, with the precision that ``schedule.precision`` came to."""
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
        changed = {"data": data, "teacher": None, "mixing": {}, "pseudo": {}, "loss": [{"name": "arcface"}]}
        return Recipe.model_validate({**self.model_dump(), **changed})
