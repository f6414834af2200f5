"""The recipe: a TOML file that states a training run, checked whole before anything is loaded."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from facekd.distill.losses import check_settings, loss_class
from facekd.errors import FacekdError, InputOutput, RecipeError
from facekd.training import Augmentation, Mixing, Plan, Precision
from facekd.training.schedule import OptimizerName


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
    ``blend``: their share, the rest is random)."""

    name: str = "plainres"
    settings: dict[str, Any] = Field(default_factory=dict)
    start: Path | None = None
    start_by: Literal["selection", "equal"] = "selection"
    blend: float = Field(1.0, gt=0, le=1)


class TeacherTable(_Table):
    """One teacher, or several whose embeddings are joined. ``targets``: ``cached`` keeps what the
    teacher says of ``views`` seeded views of every crop; ``online`` asks it at every step."""

    models: tuple[str, ...] = Field(min_length=1)
    targets: Literal["cached", "online"] = "cached"
    #: views of each crop with cached targets
    views: int = Field(2, ge=1)
    #: views whose target has a smaller cosine than this to their crop's view 0 teach nothing
    gate: float | None = Field(None, gt=-1, lt=1)


class Pseudo(_Table):
    """Classes for crops without a label: ``clusters`` of the teacher's embeddings (0: none); a
    crop belongs to its nearest if their cosine reaches ``gate``."""

    clusters: int = Field(0, ge=0)
    gate: float = Field(0.5, gt=-1, lt=1)


class LossTable(_Table):
    name: str
    weight: float = Field(1.0, gt=0)
    settings: dict[str, Any] = Field(default_factory=dict)


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
    shape: Literal["cosine", "linear"] = "cosine"
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
            s.optimizer, s.shape, s.clip, precision, s.evaluations,
        )  # fmt: skip

    def view_numbers(self, crops: int) -> range:
        """The view numbers that a run over ``crops`` crops reaches with cached targets."""
        if self.teacher is None or self.teacher.targets == "online":
            return range(0)
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
    it does not say what it must.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputOutput(f"{path}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    recipe = check_recipe(raw, str(path))
    return _resolved(recipe, path.parent.resolve())


def check_recipe(raw: dict[str, Any], origin: str) -> Recipe:
    """A recipe from a parsed document; `RecipeError` lists all its faults at once."""
    faults = _faults_across(raw)  # apart, since pydantic looks no further where a field is wrong
    try:
        recipe = Recipe.model_validate(raw, context={"checked": True})
    except ValidationError as error:
        faults = [_fault(fault) for fault in error.errors()] + faults
    if faults:
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
    mixing = _table(raw.get("mixing"))
    if mixing.get("p_mixup") or mixing.get("p_cutmix"):
        if teacher is not None and _table(teacher).get("targets", "cached") == "cached":
            faults.append('mixing: only the teacher itself knows a mixed view: teacher.targets = "online"')
        if _table(teacher).get("gate") is not None:
            faults.append("mixing: every mixed view is far from its crop: leave teacher.gate out")
        if teacher is None:
            faults.append("mixing: mixed views have no label, so they need a [teacher]")
    if _table(raw.get("pseudo")).get("clusters") and teacher is None:
        faults.append("pseudo.clusters: they are of the teacher's embeddings, so they need a [teacher]")
    sampling, batch = _table(raw.get("sampling")), _table(raw.get("schedule")).get("batch", 128)
    people, crops = sampling.get("people", 0), sampling.get("crops", 4)
    if people and isinstance(people, int) and isinstance(crops, int) and people * crops != batch:
        faults.append(f"sampling: {people} people with {crops} crops are no batch of {batch}")
    if people and not data.get("labelled"):
        faults.append("sampling.people: identities need labelled data")
    losses = raw.get("loss")
    for entry in losses if isinstance(losses, list | tuple) else ():
        name, settings = _table(entry).get("name"), _table(_table(entry).get("settings"))
        if not isinstance(name, str):
            continue
        try:
            loss = loss_class(name)
        except FacekdError as error:
            faults.append(str(error).replace("\n", ". "))
            continue
        faults += check_settings(name, settings)
        if loss.needs_teacher and teacher is None:
            faults.append(f"loss '{name}' needs a [teacher]")
        if loss.needs_features and teacher and _table(teacher).get("targets", "cached") == "cached":
            faults.append(f"loss '{name}' needs feature maps: teacher.targets = \"online\"")
        if loss.needs_labels and not (data.get("labelled") or _table(raw.get("pseudo")).get("clusters")):
            faults.append(f"loss '{name}' needs labelled data")
    return faults


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def missing_files(recipe: Recipe) -> list[str]:
    """The files and folders that the recipe names and that are not there."""
    data = recipe.data
    named = [*data.labelled, *data.unlabelled, *data.exclude]
    named += [p for p in (data.merge, data.doubts, data.heldout) if p]
    named += [recipe.student.start] if recipe.student.start else []
    models = recipe.teacher.models if recipe.teacher else ()
    named += [Path(model) for model in models if model.endswith((".onnx", ".toml"))]
    return [str(path) for path in named if not path.exists()]


def _fault(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "no such setting"
    return f"{place}: {message}" if place else message


def _resolved(recipe: Recipe, base: Path) -> Recipe:
    def place(path: Path | None) -> Path | None:
        return None if path is None else base / path

    data = recipe.data.model_copy(
        update={
            "labelled": tuple(base / p for p in recipe.data.labelled),
            "unlabelled": tuple(base / p for p in recipe.data.unlabelled),
            "exclude": tuple(base / p for p in recipe.data.exclude),
            "merge": place(recipe.data.merge),
            "doubts": place(recipe.data.doubts),
            "heldout": place(recipe.data.heldout),
        }
    )
    teacher = recipe.teacher
    if teacher is not None:
        teacher = teacher.model_copy(update={"models": tuple(_model_at(base, m) for m in teacher.models)})
    student = recipe.student.model_copy(update={"start": place(recipe.student.start)})
    return recipe.model_copy(update={"data": data, "student": student, "teacher": teacher})


def _model_at(base: Path, spec: str) -> str:
    """``FILE`` or ``kind:...:FILE`` with FILE relative to the recipe."""
    head, separator, file = spec.rpartition(":")
    return head + separator + str(base / file) if (base / file).exists() else spec


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
