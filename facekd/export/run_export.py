"""Export a run, a checkpoint or a teacher to a file."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from facekd.card import BoxCrop, Card, write_card
from facekd.errors import Misfit, UsageError
from facekd.export.measured_crops import Measured, measured_crops, sample_of, some_of
from facekd.export.onnx_graph import PARITY_CROPS, check_parity, fitted, frozen, to_onnx
from facekd.export.quantise import RANGE_CROPS, Int8Cost, check_cosine, check_tar, crops_processed, quantise
from facekd.export.trained_metric import MEAN_CROPS, MetricGain, in_trained_metric, linear_projector
from facekd.models import FaceNet, run_of, to_planes, weights_file
from facekd.models.teachers import load_network
from facekd.runtime import unit_rows
from facekd.training import load_learned
from facekd.training.data import CropSet

_BATCH = 64
#: opens a progress bar with a title and a total; the context returns ``advance(done)``
OpenBar = Callable[[str, int | None], AbstractContextManager[Callable[..., None]]]
Advance = Callable[[int], object]
#: the false match rates at which a metric, and int8, are compared with the network before
_METRIC_FMRS, _INT8_FMRS = (1e-2, 1e-3, 1e-4), (1e-3, 1e-4)


@dataclass(frozen=True)
class Exported:
    """The file that was written. ``uncalibrated`` states why the card has no threshold, ``int8`` is the cost
    of int8 if it was requested, and ``metric`` the gain from the metric of a projector if there was one. If
    the card has thresholds, ``no_map`` and ``no_limits`` state why it has no score map and no photo limits.
    """

    path: Path
    card: Card
    uncalibrated: str | None
    int8: Int8Cost | None = None
    metric: MetricGain | None = None
    no_map: str | None = None
    no_limits: str | None = None


def export(
    spec: str | os.PathLike[str],
    out: Path | None = None,
    data: Sequence[Path] = (),
    tell: Callable[[str], None] = lambda doing: None,
    *,
    int8: bool = False,
    any_processor: bool = False,
    progress: OpenBar = lambda title, total: nullcontext(lambda *_: None),
) -> Exported:
    """Write the network that ``spec`` names (see `facekd.models.teachers.load_teacher`) to ``out``.

    ``out`` is by default ``student.onnx`` in the run folder, or the network's name in the current folder.
    Parity, thresholds, score map and photo limits are measured on ``data``: packs of aligned crops of people
    it was not trained on, or a recipe; by default the held-out people of the run's own recipe. ``tell``
    receives progress messages, and ``progress`` opens a bar, counting crops, for each long step. If the
    student was trained through a linear projector, its metric is kept (`in_trained_metric`), unless it is
    worse on the "choose" people.
    ``int8`` quantises weights and activations; the default file is then ``student-int8.onnx``. The mean and
    the ranges for these are measured on the recipe's training crops if there is a recipe, otherwise on
    ``data``. With ``any_processor`` the int8 network gives the same answers in every program, also on a
    processor without VNNI (`facekd.runtime.pair_sums`), for slightly coarser weights.

    Raises the errors of `load_network` and `export_network`, `UsageError` if there is no data to
    measure on, or ``any_processor`` without ``int8``; `Misfit` if int8 costs more than half a point of TAR.
    """
    if any_processor and not int8:
        raise UsageError("--any-processor needs --int8: a float32 network has no sums that overflow")
    net, card = load_network(spec)
    run = _run_folder(spec)
    ending = "-int8" if int8 else ""
    place = out or (run / f"student{ending}.onnx" if run else Path(f"{card.name}{ending}.onnx"))
    if place.suffix != ".onnx":
        raise UsageError(f"{place}: the name of an exported model must end with .onnx")
    measured = measured_crops(data, run)
    tell(f"exporting {card.architecture}")
    model = to_onnx(net, card)
    check_parity(net, model, card, measured.some(PARITY_CROPS))
    projector = linear_projector(load_learned(weights_file(Path(spec)))) if run else None
    gain = None
    if projector is not None:
        tell("keeping the metric of the projector")
        model, card, gain = _in_trained_metric(model, card, net, projector, measured, progress)
    cost = None
    if int8:
        tell("quantising to int8")
        model, cost = _quantised(model, card, measured, progress, any_processor)
        card = card.model_copy(update={"metrics": {**card.metrics, **cost.metrics()}})
    tell(f"measuring the threshold on {measured.name}")
    shown = _shown(model, card, measured, progress)
    written = write_card(model, card.model_copy(update=shown.fields), place)
    return Exported(place, written, shown.uncalibrated, cost, gain, shown.no_map, shown.no_limits)


def _in_trained_metric(
    model: onnx.ModelProto, card: Card, net: FaceNet, projector: NDArray[np.float64], measured: Measured,
    progress: OpenBar,
) -> tuple[onnx.ModelProto, Card, MetricGain | None]:  # fmt: skip
    """``model`` and ``card`` with the metric of ``projector``, and its gain. They are unchanged if it is
    worse on the "choose" people, if it cannot be measured, or if the graph does not allow it."""
    if measured.choosing is None:
        return model, card, None
    crops = fitted(some_of(measured.ranges(), MEAN_CROPS), card.crop)
    with progress("mean", len(crops)) as advance:
        mean = _mean(net, card, crops, advance)
    try:
        changed = in_trained_metric(model, projector, mean)
    except Misfit:
        return model, card, None
    dim = changed.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    other = card.model_copy(update={"embedding": card.embedding.model_copy(update={"dim": dim})})
    with progress("compare", 2 * len(measured.choosing)) as advance:
        plain = _tars(model, card, measured.choosing, _METRIC_FMRS, advance)
        gain = MetricGain(_tars(changed, other, measured.choosing, _METRIC_FMRS, advance), plain)
    if not gain.kept:
        return model, card, gain
    return changed, other.model_copy(update={"metrics": {**card.metrics, **gain.metrics()}}), gain


def _mean(net: FaceNet, card: Card, crops: NDArray[np.uint8], advance: Advance) -> NDArray[np.float64]:
    """The mean [D] of the unnormalised outputs of ``net`` for ``crops``."""
    ready, total = frozen(net), np.zeros(card.embedding.dim)
    with torch.inference_mode():
        for start in range(0, len(crops), _BATCH):
            some = crops[start : start + _BATCH]
            total += ready(to_planes(some, card.input)).double().sum(0).numpy()
            advance(len(some))
    return total / len(crops)


def _quantised(
    model: onnx.ModelProto, card: Card, measured: Measured, progress: OpenBar, any_processor: bool
) -> tuple[onnx.ModelProto, Int8Cost]:
    """``model`` in int8, and its cost on the "choose" people."""
    crops = fitted(some_of(measured.ranges(), RANGE_CROPS), card.crop)
    planes = to_planes(crops, card.input).numpy()
    with progress("quantise", crops_processed(model, planes)) as advance:
        quantised = quantise(model, planes, advance, any_processor)
    cosine = check_cosine(model, quantised, planes)
    tar: dict[float, float] = {}
    tar_int8: dict[float, float] = {}
    if measured.choosing is not None:
        with progress("compare", 2 * len(measured.choosing)) as advance:
            tar, tar_int8 = (
                _tars(m, card, measured.choosing, _INT8_FMRS, advance) for m in (model, quantised)
            )
    check_tar(tar, tar_int8)
    return quantised, Int8Cost(cosine, tar, tar_int8)


def _tars(
    model: onnx.ModelProto, card: Card, crops: CropSet, fmrs: Sequence[float], advance: Advance
) -> dict[float, float]:
    """TAR at each of ``fmrs`` for which there are enough comparisons among ``crops``."""
    from facekd.verification import all_pairs

    try:
        pairs = all_pairs(_embed(model, card, crops, advance), crops.labels)
    except UsageError:  # nobody has two crops, or there is only one person
        return {}
    points = (pairs.operating_point(fmr) for fmr in fmrs)
    return {point.fmr: point.tar for point in points if point.tar is not None}


def _run_folder(spec: str | os.PathLike[str]) -> Path | None:
    path = Path(spec)
    return run_of(weights_file(path)) if path.exists() else None


@dataclass(frozen=True)
class _Shown:
    """What measured people show of a model: the fields of its card, and why some of them are empty."""

    fields: dict[str, Any]
    uncalibrated: str | None = None
    no_map: str | None = None
    no_limits: str | None = None


def _shown(model: onnx.ModelProto, card: Card, measured: Measured, progress: OpenBar) -> _Shown:
    """The card's thresholds, score map and photo limits."""
    from facekd.verification import (
        MOST_TRIALS,
        Conditions,
        all_pairs,
        calibration_entries,
        find_limits,
        fit_map,
        sampled,
        upper_tail,
    )

    none: dict[str, Any] = {"calibration": (), "upper_tail": (), "score_map": None, "photo_limits": None}
    if isinstance(card.crop, BoxCrop):
        why = "its box crops cannot be cut from aligned crops; its threshold must be measured on photos"
        return _Shown(none, why)
    people = measured.labelled
    if people is None:
        return _Shown(none, "no labelled people were held out to measure a threshold on")
    with progress("calibrate", len(people)) as advance:
        rows = _embed(model, card, people, advance)
    conditions = Conditions(
        measured.name, measured.detector, measured.aligner,
        sample=sample_of(people), date=datetime.date.today().isoformat(),
    )  # fmt: skip
    try:
        pairs = all_pairs(rows, people.labels)
        entries = calibration_entries(pairs, conditions)
    except UsageError as error:
        return _Shown(none, error.cause)
    if not entries:
        return _Shown(none, f"too few comparisons in {measured.name}")
    score_map, no_map = None, None
    try:
        score_map = fit_map(rows, people.labels).for_card(conditions)
    except UsageError as error:
        no_map = error.cause
    names = [people.people[label] if label >= 0 else None for label in people.labels.tolist()]
    tried = sampled(names)
    with progress("photo limits", len(tried) * MOST_TRIALS) as advance:
        limits = find_limits(
            _embedding(model, card, advance, threads=1), card.crop, [people.read(place) for place in tried],
            [str(names[place]) for place in tried], entries,
        )  # fmt: skip
    no_limits = limits if isinstance(limits, str) else None
    fields = {
        "calibration": entries,
        "upper_tail": upper_tail(pairs),
        "score_map": score_map,
        "photo_limits": None if isinstance(limits, str) else limits.for_card(conditions),
    }
    return _Shown(fields, None, no_map, no_limits)


def _embed(model: onnx.ModelProto, card: Card, crops: CropSet, advance: Advance) -> NDArray[np.float32]:
    """Unit rows [N, D] of all ``crops`` by the exported graph, one batch at a time."""
    embed = _embedding(model, card, advance)
    batches = (range(start, min(start + _BATCH, len(crops))) for start in range(0, len(crops), _BATCH))
    read = (np.stack([crops.read(index) for index in batch]) for batch in batches)
    return np.concatenate([embed(fitted(pixels, card.crop)) for pixels in read])


def _embedding(
    model: onnx.ModelProto, card: Card, advance: Advance, threads: int | None = None
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """What embeds crops uint8 RGB [N, S, S, 3], cut as the ``card`` says, by the exported graph: unit rows
    [N, D]. ``advance`` receives the number of further crops."""
    from facekd.runtime import open_session

    session = open_session(model.SerializeToString(), threads=threads)

    def embed(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows = unit_rows(session.run(None, {"planes": to_planes(crops, card.input).numpy()})[0])
        advance(len(crops))
        return rows

    return embed
