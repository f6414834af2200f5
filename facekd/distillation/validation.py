"""Check a recipe's tables against each other, whatever other faults the document has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from facekd.distillation.dry_run import Networks, learners_setting, try_loss, try_network
from facekd.distillation.losses import Loss, Setting, loss_class, loss_names, unfit_settings
from facekd.errors import FacekdError
from facekd.models import Rehearsed
from facekd.models.teachers import named_file

#: the student of a recipe that does not name one
DEFAULT_STUDENT = "plainres"


def faults_across(raw: dict[str, Any]) -> list[str]:
    """What is inconsistent in a recipe's document, whatever other faults it has."""
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
        faults.append(f"sampling: {people} people with {crops} crops each do not make a batch of {batch}")
    if people and not data.get("labelled"):
        faults.append("sampling.people: identities need labelled data")
    if people and sampling.get("weights"):
        faults.append("sampling.weights: batches of people are drawn from all identities equally often")
    labels = bool(data.get("labelled") or _table(raw.get("pseudo")).get("clusters"))
    losses = _entries(raw.get("loss"))
    for entry in losses:
        faults += _faults_of_loss(entry, teacher, labels, networks)
        if _table(raw.get("schedule")).get("compile") is True:
            faults += _faults_if_compiled(entry)
    return faults + _faults_of_stages(losses)


def _networks(raw: dict[str, Any]) -> tuple[Networks, list[str]]:
    """The networks of a document, and what is wrong with them."""
    student, teacher = _table(raw.get("student")), _table(raw.get("teacher"))
    mine, faults = _network("student", student.get("name", DEFAULT_STUDENT), student)
    peer, told = _network("teacher", teacher.get("network"), teacher)
    models = [model for model in _listed(teacher.get("models")) if isinstance(model, str)]
    return Networks(mine, peer, models, student.get("start") is not None), faults + told


def _network(whose: str, name: Any, table: dict[str, Any]) -> tuple[Rehearsed | None, list[str]]:
    if not isinstance(name, str):
        return None, []  # pydantic reports it
    return try_network(whose, name, _table(table.get("settings")))


def _faults_of_schedule(schedule: dict[str, Any], networks: Networks) -> list[str]:
    """Whether there is at least one step, and whether the networks accept views of the given size."""
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
    """What mixing and pseudo-labels require of the teacher."""
    faults, mixing = [], _table(raw.get("mixing"))
    if any(mixing.get(kind) for kind in ("p_mixup", "p_cutmix", "p_cutpaste")):
        if teacher is not None and _cached(teacher):
            faults.append('mixing: mixed samples need targets at every step: teacher.targets = "online"')
        if _table(teacher).get("gate") is not None:
            faults.append("mixing: every mixed sample is far from its crop: leave teacher.gate out")
        if teacher is None:
            faults.append("mixing: mixed samples are unlabelled, so they need a [teacher]")
    if _table(raw.get("pseudo")).get("clusters") and not _table(teacher).get("models"):
        faults.append("pseudo.clusters: they are made from teacher embeddings, so they need a [teacher]")
    return faults


def _faults_of_teacher(teacher: Any) -> list[str]:
    """Whether a teacher is either frozen or co-trained."""
    if teacher is None:
        return []
    table, faults = _table(teacher), []
    if bool(table.get("models")) == bool(table.get("network")):
        faults.append("teacher: name either frozen models or a network that is co-trained")
    learns = bool(table.get("network"))
    if learns and not table.get("loss"):
        faults.append("teacher.network: it is trained from labels by a [[teacher.loss]] of its own")
    if not learns and table.get("loss"):
        faults.append("teacher.loss: only a teacher.network is trained")
    if learns and table.get("gate") is not None:
        faults.append("teacher.gate: the targets of a co-trained teacher change: leave it out")
    if table.get("rule") == "clean-view" and not _cached(teacher):
        faults.append('teacher.rule = "clean-view": the targets of crops are cached: targets = "cached"')
    if table.get("rule") == "clean-view" and not learns and table.get("gate") is not None:
        faults.append('teacher.gate: it has no effect with rule = "clean-view": leave one of them out')
    if table.get("keep_views") and (not _cached(teacher) or table.get("rule") == "clean-view"):
        faults.append(
            'teacher.keep_views: only views with targets of their own are used again: targets = "cached", '
            'rule = "same-view"'
        )
    for model in _listed(table.get("models")):
        faults += _faults_of_spec(model)
    for entry in _entries(table.get("loss")):
        loss, told = _named_loss(entry, learners_setting())
        faults += [f"teacher.{fault}" for fault in told]
        if loss and (loss.needs_teacher or loss.needs_features):
            faults.append(
                f"teacher.loss '{entry['name']}' needs a teacher; a teacher is trained from labels alone"
            )
    return faults


def _faults_of_spec(spec: Any) -> list[str]:
    """Whether a teacher's name is valid, whether or not the file exists."""
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
        faults.append(f"loss '{name}' needs teacher.models: principal axes are those of a frozen teacher")
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
    """What a loss over classes lacks if its teacher is co-trained."""
    learned = [e for e in losses if e.get("name") in ("arcface", "cosface")]
    whole = [e for e in learned if _table(e.get("settings")).get("sample", 1) == 1]
    if settings.get("by") != "classifier":
        yield (
            f"loss '{name}': class means need a frozen teacher; a co-trained one has a "
            'classifier: by = "classifier"'
        )
    if not whole:
        yield f"loss '{name}': the classifier of teacher.network must be of an unsampled arcface or cosface"
    if settings.get("temperature") == "auto":
        yield f"loss '{name}': temperature = \"auto\" needs a frozen teacher: give a number"


def _faults_if_compiled(entry: dict[str, Any]) -> Iterator[str]:
    """Feature maps are read by hooks, which a compiled network does not call."""
    name = entry.get("name")
    if isinstance(name, str) and name in loss_names() and loss_class(name).needs_features:
        yield f"schedule.compile: loss '{name}' reads feature maps, which a compiled network does not give"


def _named_loss(entry: dict[str, Any], setting: Setting) -> tuple[type[Loss] | None, list[str]]:
    """The class of the loss that an entry names, if there is one, and what is wrong with the entry."""
    name, settings = entry.get("name"), _table(entry.get("settings"))
    if not isinstance(name, str):
        return None, []  # pydantic reports it
    try:
        loss, unfit = loss_class(name), unfit_settings(name, settings)
    except FacekdError as error:
        return None, [str(error).replace("\n", ". ")]
    fit = {key: value for key, value in settings.items() if key not in unfit}
    return loss, [*unfit.values(), *try_loss(name, fit, setting)]


def _faults_of_stages(losses: list[dict[str, Any]]) -> list[str]:
    """At least one loss must be on at every moment of a run."""
    spans = [(e.get("begin", 0.0), e.get("end", 1.0)) for e in losses]
    if not spans or not all(isinstance(x, int | float) for span in spans for x in span):
        return []
    reached = 0.0
    for begin, end in sorted(spans):
        if begin > reached:
            break
        reached = max(reached, end)
    return [] if reached >= 1 else [f"loss: none is on from {reached:g} of the run"]


def _cached(teacher: Any) -> bool:
    table = _table(teacher)
    return not table.get("network") and table.get("targets", "cached") == "cached"


def _entries(value: Any) -> list[dict[str, Any]]:
    return [_table(entry) for entry in value] if isinstance(value, list | tuple) else []


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
