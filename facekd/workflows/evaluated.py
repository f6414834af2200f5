"""Evaluating by file names: what Python calls, and what it gets of each model."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facekd.verification import HARDEST
from facekd.verification.protocols import open_protocol
from facekd.verification.results import Evaluation, ModelResult, Result
from facekd.workflows.evaluate import evaluate_models, find_list
from facekd.workflows.hardest_faces import faces_of_hardest

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class EvaluatedModel:
    """One model of an ``evaluation``. ``detector`` found the faces, `None` where crops were given."""

    model: ModelResult[Any]
    evaluation: Evaluation[Any]
    detector: str | None

    @property
    def name(self) -> str:
        """The model's, unique in the evaluation."""
        return self.model.name

    @property
    def result(self) -> Result:
        """The numbers, as the protocol finds them: of a list of pairs a `PairResult`."""
        return self.model.result

    def to_dict(self) -> dict[str, Any]:
        """The model's entry in the document that ``facekd evaluate --json`` prints."""
        entries: list[dict[str, Any]] = self.evaluation.to_dict()["models"]
        return next(entry for entry in entries if entry["name"] == self.name)

    def report(self, path: AnyPath) -> Path:
        """Write the page of ``facekd evaluate --report`` to ``path``: every model of the evaluation side by
        side, and the faces of the comparisons that they decide worst. Raises `InputOutput`."""
        from facekd.reporting import write_evaluation_page

        shown = faces_of_hardest(self.evaluation, self.detector)
        return write_evaluation_page(path, self.evaluation, shown)


def evaluate_files(
    models: AnyPath | Iterable[AnyPath],
    *,
    protocol: str,
    data: AnyPath,
    pairs: AnyPath | None = None,
    detector: str | None = "mtcnn",
    device: str = "cpu",
) -> list[EvaluatedModel]:
    """Judge one model, or several side by side, by ``protocol`` on the photos in ``data``, a folder or pack.

    ``pairs`` is the protocol's list, looked for in and beside ``data`` by its usual names where it is not
    given. ``detector`` `None` takes the images for finished 112-pixel ArcFace crops. Two hundred photos and
    more are spread over spawned processes: a script must call this under ``if __name__ == "__main__"``.

    Raises `UsageError` for an unknown protocol, a list that is not there or models and data that will not
    do, `InputOutput` or `Unreadable` for files, `DeviceError`, `Misfit` where crops have another size.
    """
    files = [models] if isinstance(models, str | os.PathLike) else list(models)
    place = Path(data)
    judge = open_protocol(protocol, Path(pairs) if pairs is not None else find_list(protocol, place))
    found = evaluate_models(
        [Path(file) for file in files], judge, place, detector=detector, device=device, hardest=HARDEST
    )
    return [EvaluatedModel(model, found, detector) for model in found.models]
