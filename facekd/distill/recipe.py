"""The recipe: a TOML file that states a training run, checked whole before anything is loaded."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from facekd.distill.losses import Loss, Setting, loss_class, unfit_settings
from facekd.distill.paths import missing_in, resolved
from facekd.distill.rehearsal import Networks, learners_setting, rehearse_loss, rehearse_network
from facekd.errors import FacekdError, InputOutput, RecipeError
from facekd.models import Rehearsed
from facekd.models.teachers import named_file
from facekd.training import Augmentation, Mixing, Plan, Precision
from facekd.training.schedule import OptimizerName, Shape


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Data(_Table):
    """Which crops. Paths are relative to the recipe file; folders or zip packs."""

    #: a folder per identity
    labelled: tuple[Path, ...] = ()
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
    weights the student begins with (``start_by``: evenly spaced channels, or all of equal shape;
    ``blend``: their share, the rest is random; with 0 the student begins at random, and those weights
    are only what `l2_sp` pulls it to)."""

    name: str = "plainres"
    settings: dict[str, Any] = Field(default_factory=dict)
    start: Path | None = None
    start_by: Literal["selection", "equal"] = "selection"
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
    teacher says of ``views`` seeded views of every crop; ``online`` asks it at every step.

    Or a ``network`` that learns from the labels by losses of its own while it teaches."""

    models: tuple[str, ...] = ()
    targets: Literal["cached", "online"] = "cached"
    #: what is labelled: the view that the student sees, or the crop itself whatever the view
    rule: Literal["same-view", "clean-view"] = "same-view"
    #: views of each crop with cached targets
    views: int = Field(2, ge=1)
    #: views whose target has a smaller cosine than this to their crop's view 0 teach nothing
    gate: float | None = Field(None, gt=-1, lt=1)
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
        faults = [] if checked else _faults_across(self.model_dump())
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def plan(self, precision: Precision) -> Plan:
        """The part that the loop needs, with the precision that ``schedule.precision`` came to."""
        s = self.schedule
        return Plan(
            s.images, s.batch, s.rate, s.decay, s.warmup,
            s.optimizer, s.shape, s.clip, precision, s.evaluations, ema=s.ema,
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
        return _toml(self.model_dump(mode="json", exclude_none=True))

    def without_teacher(self) -> Recipe:
        """The baseline: the same student and schedule, ArcFace from the labels. Crops without a
        label, and mixed views, would teach it nothing, so every image it sees is a labelled one."""
        data = {**self.data.model_dump(), "unlabelled": ()}
        changed = {"data": data, "teacher": None, "mixing": {}, "pseudo": {}, "loss": [{"name": "arcface"}]}
        return Recipe.model_validate({**self.model_dump(), **changed})


def read_recipe(path: Path) -> Recipe:
    """The recipe in ``path``, its paths made absolute.

    Raises `InputOutput` where it cannot be read and `RecipeError`, which lists every fault, where
    it does not say what it must. Files that are not there are listed with them; they alone are
    no fault, for a recipe may be written for another machine (see `require_files`).
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputOutput(f"{path}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    base = path.parent.resolve()
    return resolved(check_recipe(raw, str(path), base), base)


def check_recipe(raw: dict[str, Any], origin: str, base: Path = Path()) -> Recipe:
    """A recipe from a parsed document whose paths begin at ``base``; `RecipeError` lists all its faults
    at once, and the files that are not there."""
    faults, document = [], raw
    try:
        recipe = Recipe.model_validate(raw, context={"checked": True})
        document = recipe.model_dump()
    except ValidationError as error:
        faults = [_fault(fault) for fault in error.errors()]
    faults += _faults_across(document)  # apart, since pydantic looks no further where a field is wrong
    if faults:
        faults += map(str, missing_in(raw, base))
        raise RecipeError(f"{origin}: {len(faults)} fault(s)\n  " + "\n  ".join(faults))
    return recipe


def _faults_across(raw: dict[str, Any]) -> list[str]:
    """What does not fit together in a recipe's document, whatever else is wrong with it."""
    data, teacher = _table(raw.get("data")), raw.get("teacher")
    faults = []
    if not (data.get("labelled") or data.get("unlabelled")):
        faults.append("data: name at least one folder or pack in labelled or unlabelled")
    if data.get("heldout") and not data.get("labelled"):
        faults.append("data.heldout: its identities must be in labelled data")
    networks, told = _networks(raw)
    faults += told + _faults_of_schedule(_table(raw.get("schedule")), networks)
    faults += _faults_of_views(raw, teacher) + _faults_of_teacher(teacher)
    sampling, batch = _table(raw.get("sampling")), _table(raw.get("schedule")).get("batch", 128)
    people, crops = sampling.get("people", 0), sampling.get("crops", 4)
    if people and isinstance(people, int) and isinstance(crops, int) and people * crops != batch:
        faults.append(f"sampling: {people} people with {crops} crops are no batch of {batch}")
    if people and not data.get("labelled"):
        faults.append("sampling.people: identities need labelled data")
    labels = bool(data.get("labelled") or _table(raw.get("pseudo")).get("clusters"))
    losses = _entries(raw.get("loss"))
    for entry in losses:
        faults += _faults_of_loss(entry, teacher, labels, networks)
    return faults + _faults_of_stages(losses)


def _networks(raw: dict[str, Any]) -> tuple[Networks, list[str]]:
    """The networks of a document, and what is wrong with them."""
    student, teacher = _table(raw.get("student")), _table(raw.get("teacher"))
    mine, faults = _network("student", student.get("name", Student().name), student)
    peer, told = _network("teacher", teacher.get("network"), teacher)
    models = [model for model in _listed(teacher.get("models")) if isinstance(model, str)]
    return Networks(mine, peer, models, student.get("start") is not None), faults + told


def _network(whose: str, name: Any, table: dict[str, Any]) -> tuple[Rehearsed | None, list[str]]:
    if not isinstance(name, str):
        return None, []  # pydantic says so
    return rehearse_network(whose, name, _table(table.get("settings")))


def _faults_of_schedule(schedule: dict[str, Any], networks: Networks) -> list[str]:
    """Whether there is a step, and whether the networks see views as small as are wanted."""
    faults = []
    images, batch = schedule.get("images"), schedule.get("batch", 128)
    if isinstance(images, int) and isinstance(batch, int) and 0 < images < batch:
        faults.append(f"schedule: {images} images in batches of {batch} make no step")
    for whose, found in (("student", networks.student), ("teacher.network", networks.peer)):
        if schedule.get("start_size") is not None and found and not found.network.any_size:
            size = found.network.input.size
            faults.append(f"schedule.start_size: the {whose} takes {size} pixels only: leave start_size out")
    return faults


def _faults_of_views(raw: dict[str, Any], teacher: Any) -> list[str]:
    """What mixing and pseudo-labels ask of the teacher."""
    faults, mixing = [], _table(raw.get("mixing"))
    if any(mixing.get(kind) for kind in ("p_mixup", "p_cutmix", "p_cutpaste")):
        if teacher is not None and _cached(teacher):
            faults.append('mixing: only the teacher itself knows a mixed view: teacher.targets = "online"')
        if _table(teacher).get("gate") is not None:
            faults.append("mixing: every mixed view is far from its crop: leave teacher.gate out")
        if teacher is None:
            faults.append("mixing: mixed views have no label, so they need a [teacher]")
    if _table(raw.get("pseudo")).get("clusters") and not _table(teacher).get("models"):
        faults.append("pseudo.clusters: they are of the teacher's embeddings, so they need a [teacher]")
    return faults


def _faults_of_teacher(teacher: Any) -> list[str]:
    """A teacher is either there, or learns along."""
    if teacher is None:
        return []
    table, faults = _table(teacher), []
    if bool(table.get("models")) == bool(table.get("network")):
        faults.append("teacher: name either models that are there or a network that learns along")
    learns = bool(table.get("network"))
    if learns and not table.get("loss"):
        faults.append("teacher.network: it learns from labels by a [[teacher.loss]] of its own")
    if not learns and table.get("loss"):
        faults.append("teacher.loss: only a teacher.network learns")
    if learns and table.get("gate") is not None:
        faults.append("teacher.gate: view 0 of a teacher that learns along means nothing: leave it out")
    if table.get("rule") == "clean-view" and not _cached(teacher):
        faults.append('teacher.rule = "clean-view": the targets of crops are cached: targets = "cached"')
    if table.get("rule") == "clean-view" and not learns and table.get("gate") is not None:
        faults.append('teacher.gate: with rule = "clean-view" no target has moved: leave one of them out')
    for model in _listed(table.get("models")):
        faults += _faults_of_spec(model)
    for entry in _entries(table.get("loss")):
        loss, told = _named_loss(entry, learners_setting())
        faults += [f"teacher.{fault}" for fault in told]
        if loss and (loss.needs_teacher or loss.needs_features):
            faults.append(
                f"teacher.loss '{entry['name']}' needs a teacher; a teacher learns from labels alone"
            )
    return faults


def _faults_of_spec(spec: Any) -> list[str]:
    """Whether a teacher's name can name one, there or not."""
    try:
        if isinstance(spec, str):
            named_file(spec)
    except FacekdError as error:
        return ["teacher.models: " + str(error).replace("\n", ". ")]
    return []


def _faults_of_loss(entry: dict[str, Any], teacher: Any, labels: bool, networks: Networks) -> list[str]:
    """What is wrong with one loss, or with the teacher and the data for it."""
    of = entry.get("teacher")
    setting = networks.for_loss(_table(entry.get("settings")), of if isinstance(of, int) else None)
    loss, faults = _named_loss(entry, setting)
    if loss is None:
        return faults
    name, settings, table = entry["name"], _table(entry.get("settings")), _table(teacher)
    if loss.needs_teacher and teacher is None:
        faults.append(f"loss '{name}' needs a [teacher]")
    if loss.needs_features and teacher and _cached(teacher):
        faults.append(f"loss '{name}' needs feature maps: teacher.targets = \"online\"")
    if loss.needs_labels and not labels:
        faults.append(f"loss '{name}' needs labelled data")
    if table.get("network") and settings.get("match") == "pca":
        faults.append(f"loss '{name}' needs teacher.models: principal axes are of a finished teacher")
    if table.get("network") and loss.needs_means:
        faults += _faults_beside_a_learner(name, settings, _entries(table.get("loss")))
    if isinstance(of, int) and of > len(_listed(table.get("models"))):
        faults.append(f"loss '{name}': there is no teacher {of}")
    begin, end = entry.get("begin", 0.0), entry.get("end", 1.0)
    if isinstance(begin, int | float) and isinstance(end, int | float) and begin >= end:
        faults.append(f"loss '{name}': it ends before it begins")
    if entry.get("weight") == 0 and not entry.get("final_weight"):
        faults.append(f"loss '{name}': its weight is 0 throughout")
    return faults


def _faults_beside_a_learner(
    name: str, settings: dict[str, Any], losses: list[dict[str, Any]]
) -> Iterator[str]:
    """What a loss over classes lacks that listens to a teacher which learns along."""
    learned = [e for e in losses if e.get("name") in ("arcface", "cosface")]
    whole = [e for e in learned if _table(e.get("settings")).get("sample", 1) == 1]
    if settings.get("by") != "classifier":
        yield (
            f"loss '{name}': class means are of a finished teacher; one that learns along has a "
            'classifier: by = "classifier"'
        )
    if not whole:
        yield f"loss '{name}': the classifier of teacher.network is that of an arcface or cosface, unsampled"
    if settings.get("temperature") == "auto":
        yield f"loss '{name}': temperature = \"auto\" is of a finished teacher: give a number"


def _named_loss(entry: dict[str, Any], setting: Setting) -> tuple[type[Loss] | None, list[str]]:
    """The loss that an entry names, if there is one, and what is wrong with its name and its settings."""
    name, settings = entry.get("name"), _table(entry.get("settings"))
    if not isinstance(name, str):
        return None, []  # pydantic says so
    try:
        loss, unfit = loss_class(name), unfit_settings(name, settings)
    except FacekdError as error:
        return None, [str(error).replace("\n", ". ")]
    fit = {key: value for key, value in settings.items() if key not in unfit}
    return loss, [*unfit.values(), *rehearse_loss(name, fit, setting)]


def _faults_of_stages(losses: list[dict[str, Any]]) -> list[str]:
    """At every moment of a run some loss has to work."""
    spans = [(e.get("begin", 0.0), e.get("end", 1.0)) for e in losses]
    if not spans or not all(isinstance(x, int | float) for span in spans for x in span):
        return []
    reached = 0.0
    for begin, end in sorted(spans):
        if begin > reached:
            break
        reached = max(reached, end)
    return [] if reached >= 1 else [f"loss: none works from {reached:g} of the run on"]


def _cached(teacher: Any) -> bool:
    table = _table(teacher)
    return not table.get("network") and table.get("targets", "cached") == "cached"


def _entries(value: Any) -> list[dict[str, Any]]:
    return [_table(entry) for entry in value] if isinstance(value, list | tuple) else []


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _fault(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "no such setting"
    return f"{place}: {message}" if place else message


def _toml(table: dict[str, Any], prefix: str = "") -> str:
    """TOML of nested tables of plain values (strings, numbers, booleans and lists of them)."""
    plain = {k: v for k, v in table.items() if not _is_table(v)}
    lines = [f"{key} = {_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict) and value:
            lines += ["", f"[{prefix}{key}]", _toml(value, f"{prefix}{key}.")]
        elif _is_table(value) and isinstance(value, list):
            for entry in value:
                lines += ["", f"[[{prefix}{key}]]", _toml(entry, f"{prefix}{key}.")]
    return "\n".join(lines).strip("\n") + ("\n" if not prefix else "")


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
