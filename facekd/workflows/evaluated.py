"""Evaluation for Python: from file names to one object per model."""

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
    """One model of an ``evaluation``. ``detector`` found the faces; `None` if crops were given."""

    model: ModelResult[Any]
    evaluation: Evaluation[Any]
    detector: str | None

    @property
    def name(self) -> str:
        """The model's name, unique in the evaluation."""
        return self.model.name

    @property
    def result(self) -> Result:
        """The result of the protocol; for a list of pairs a `PairResult`."""
        return self.model.result

    def to_dict(self) -> dict[str, Any]:
        """The model's entry in the document that ``facekd evaluate --json`` prints."""
        entries: list[dict[str, Any]] = self.evaluation.to_dict()["models"]
        return next(entry for entry in entries if entry["name"] == self.name)

    def report(self, path: AnyPath) -> Path:
        """Write the page of ``facekd evaluate --report`` to ``path``: all models of the evaluation side by
        side, with the faces of their hardest comparisons. Raises `InputOutput`."""
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

    ``pairs`` is the protocol's list; by default it is searched for in ``data`` and beside it, by its usual
    names. With ``detector`` `None`, the images are finished 112-pixel ArcFace crops. 200 photos or more are
    distributed over spawned processes: a script must call this under ``if __name__ == "__main__"``.

    Raises `UsageError` for an unknown protocol, a missing list, or unsuitable models or data; `InputOutput`
    or `Unreadable` for files; `DeviceError`; `Misfit` for crops of another size.
    """
    files = [models] if isinstance(models, str | os.PathLike) else list(models)
    place = Path(data)
    judge = open_protocol(protocol, Path(pairs) if pairs is not None else find_list(protocol, place))
    found = evaluate_models(
        [Path(file) for file in files], judge, place, detector=detector, device=device, hardest=HARDEST
    )
    return [EvaluatedModel(model, found, detector) for model in found.models]
