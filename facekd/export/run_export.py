"""The export as a user asks for it: a run, a checkpoint or a teacher to a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from facekd.card import BoxCrop, Calibration, Card, write_card
from facekd.errors import UsageError
from facekd.export.measured_crops import Measured, measured_crops
from facekd.export.onnx_graph import PARITY_CROPS, check_parity, fitted, to_onnx
from facekd.models import run_of, to_planes, weights_file
from facekd.models.teachers import load_network
from facekd.training.data import CropSet

_BATCH = 64


@dataclass(frozen=True)
class Exported:
    """What was written where; ``uncalibrated`` says why the card has no threshold, if so."""

    path: Path
    card: Card
    uncalibrated: str | None


def export(
    spec: str | os.PathLike[str],
    out: Path | None = None,
    data: Sequence[Path] = (),
    tell: Callable[[str], None] = lambda doing: None,
) -> Exported:
    """Write the network that ``spec`` names (see `facekd.models.teachers.load_teacher`) to ``out``.

    ``out`` is by default ``student.onnx`` in the run folder, or the network's name here. Parity
    and the threshold are measured on ``data``: packs of aligned crops of people it was not trained
    on, or a recipe; by default the held-out people of the run's own recipe. ``tell`` hears what is
    being done.

    Raises the errors of `load_network` and `export_network`, and `UsageError` where there is no
    data to measure on.
    """
    net, card = load_network(spec)
    run = _run_folder(spec)
    place = out or (run / "student.onnx" if run else Path(f"{card.name}.onnx"))
    if place.suffix != ".onnx":
        raise UsageError(f"{place}: an exported model is named .onnx")
    measured = measured_crops(data, run)
    tell(f"exporting {card.architecture}")
    model = to_onnx(net, card)
    check_parity(net, model, card, measured.some(PARITY_CROPS))
    tell(f"measuring the threshold on {measured.name}")
    entries, reason = _calibration(model, card, measured)
    written = write_card(model, card.model_copy(update={"calibration": entries}), place)
    return Exported(place, written, reason)


def _run_folder(spec: str | os.PathLike[str]) -> Path | None:
    path = Path(spec)
    return run_of(weights_file(path)) if path.exists() else None


def _calibration(
    model: onnx.ModelProto, card: Card, measured: Measured
) -> tuple[tuple[Calibration, ...], str | None]:
    from facekd.verification import calibration_entries

    if isinstance(card.crop, BoxCrop):
        return (), "its box crops cannot be cut from aligned crops; its threshold must be measured on photos"
    if measured.labelled is None:
        return (), "no labelled people were held out to measure a threshold on"
    rows = _embed(model, card, measured.labelled)
    try:
        entries = calibration_entries(
            rows,
            measured.labelled.labels,
            data=measured.name,
            detector=measured.detector,
            aligner=measured.aligner,
        )
    except UsageError as error:
        return (), error.cause
    return entries, None if entries else f"too few comparisons in {measured.name}"


def _embed(model: onnx.ModelProto, card: Card, crops: CropSet) -> NDArray[np.float32]:
    """Embeddings [N, D] of all ``crops``, read a batch at a time, by the exported graph."""
    from facekd.runtime import open_session

    session = open_session(model.SerializeToString())
    rows = np.empty((len(crops), card.embedding.dim), np.float32)
    for start in range(0, len(crops), _BATCH):
        end = min(start + _BATCH, len(crops))
        pixels = np.stack([crops.read(index) for index in range(start, end)])
        planes = to_planes(fitted(pixels, card.crop), card.input).numpy()
        rows[start:end] = session.run(None, {"planes": planes})[0]
    return rows
