"""How good are these models? Photos or crops in, one protocol, models side by side."""

from __future__ import annotations

import io
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facekd.card import write_atomically
from facekd.errors import UsageError
from facekd.preprocess import ALIGNER, make_detector
from facekd.runtime import Embedder, load_embedder
from facekd.verification import (
    Paired,
    PairResult,
    Protocol,
    list_names,
    notes,
    paired,
    results_table,
    roc_figure,
)
from facekd.workflows.acquire import MISSING, Advance, Embeddings, Plan, acquire

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

#: forms in which a figure can be drawn
PICTURES = (".png", ".svg", ".pdf")
#: what stands for the detector where crops came finished
GIVEN_CROPS = "none (aligned crops given)"


@dataclass(frozen=True)
class ModelResult:
    """One model's part: ``name`` is unique within the evaluation, ``has_card`` false where its
    contract was assumed."""

    name: str
    file: Path
    space: str
    has_card: bool
    result: PairResult


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found. ``missing`` photos are named by the list and not in the data; the
    ``failures`` (photo, reason) are there and gave no face. Both cost their comparisons."""

    protocol: str
    source: str
    data: Path
    detector: str
    aligner: str
    photos: int
    missing: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]
    seconds: float
    models: tuple[ModelResult, ...]
    paired: tuple[Paired, ...]

    @property
    def photos_per_second(self) -> float:
        """From file to the embeddings of all models."""
        return (self.photos - len(self.missing)) / self.seconds

    def results(self) -> dict[str, PairResult]:
        return {model.name: model.result for model in self.models}

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "list": self.source,
            "data": str(self.data),
            "detector": self.detector,
            "aligner": self.aligner,
            "photos": {
                "named": self.photos,
                "missing": list(self.missing),
                "failures_to_acquire": [{"photo": n, "reason": r} for n, r in self.failures],
            },
            "seconds": self.seconds,
            "photos_per_second": self.photos_per_second,
            "models": [
                {
                    "name": model.name,
                    "file": str(model.file),
                    "space": model.space,
                    "has_card": model.has_card,
                    **model.result.to_dict(),
                }
                for model in self.models
            ],
            "paired": [pair.to_dict() for pair in self.paired],
        }

    def figure(self) -> Figure:
        return roc_figure(self.results())

    def draw(self, path: Path) -> None:
        """Write the figure to ``path``, whose suffix says in which form."""
        drawn = io.BytesIO()
        self.figure().savefig(drawn, format=path.suffix.lower().lstrip("."))
        write_atomically(path, drawn.getvalue())

    def lines(self) -> Iterator[str]:
        """What stands below the table."""
        yield f"Detector: {self.detector}. Aligner: {self.aligner}."
        found = self.photos - len(self.missing) - len(self.failures)
        reasons = Counter(reason for _, reason in self.failures)
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        yield (
            f"Photos: {self.photos:,} named, {found:,} embedded, {len(self.failures)} failures to acquire"
            f"{f' ({told})' if told else ''}, {len(self.missing)} missing from the data."
        )
        yield from notes(self.models[0].result)
        yield from (pair.sentence for pair in self.paired)

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        return Group(results_table(self.results()), *[Text(line) for line in self.lines()])


def find_list(protocol: str, data: Path) -> Path:
    """The list of ``protocol`` inside a folder of photos or beside it, by its usual names.

    Raises `UsageError` naming where it was looked for.
    """
    data = data.resolve()
    folders = [data, data.parent] if data.is_dir() else [data.parent]
    for folder in folders:
        for name in list_names(protocol):
            if (folder / name).is_file():
                return folder / name
    inside = ""
    if zipfile.is_zipfile(data):
        with zipfile.ZipFile(data) as archive:
            held = {n for n in archive.namelist() if n.rpartition("/")[2] in list_names(protocol)}
        inside = f" {data.name} holds {min(held)}: unpack it." if held else ""
    raise UsageError(
        f"protocol {protocol} needs its list, and there is no {' or '.join(list_names(protocol))} in "
        f"{' or '.join(str(folder) for folder in folders)}",
        f"Give it with --pairs FILE.{inside}",
    )


def evaluate(
    models: Sequence[Path],
    protocol: Protocol,
    data: Path,
    *,
    detector: str | None = "mtcnn",
    device: str = "cpu",
    advance: Advance = lambda done: None,
) -> Evaluation:
    """Judge ``models`` by ``protocol`` on the photos in ``data``, a folder or a zip pack.

    ``detector`` `None` takes the images in ``data`` for 112-pixel ArcFace crops; a crop that is not
    there then counts as a failure to acquire. ``advance`` is told how many more of the protocol's
    photos are done. The other models are compared with the first.

    Raises `UsageError`, `InputOutput` or `Misfit` where list, data or models will not do.
    """
    if not models:
        raise UsageError("there is no model to evaluate")
    embedders = [load_embedder(model, device, 1) for model in models]
    shown = make_detector(detector, device, 1).name if detector else GIVEN_CROPS
    started = time.perf_counter()
    acquired = acquire(Plan(data, tuple(models), detector, device), protocol.photos, advance)
    seconds = time.perf_counter() - started
    judged = tuple(
        ModelResult(name, file, e.space, e.has_card, _judge(protocol, rows))
        for name, file, e, rows in zip(_names(embedders), models, embedders, acquired.embeddings, strict=True)
    )
    missing, failures = _losses(protocol.photos, acquired.reasons, aligned=detector is None)
    return Evaluation(
        protocol=protocol.name,
        source=protocol.source,
        data=data,
        detector=shown,
        aligner=ALIGNER if detector else "that of the crops",
        photos=len(protocol.photos),
        missing=missing,
        failures=failures,
        seconds=seconds,
        models=judged,
        paired=tuple(paired(judged[0].name, judged[0].result, m.name, m.result) for m in judged[1:]),
    )


def _judge(protocol: Protocol, rows: Embeddings) -> PairResult:
    result = protocol.evaluate(lambda _: rows)
    if not isinstance(result, PairResult):
        raise UsageError(f"protocol {protocol.name} does not judge pairs of photos")
    return result


def _losses(
    photos: Sequence[str], reasons: Sequence[str | None], aligned: bool
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The photos that are not in the data, and those that gave no embedding with their reason."""
    lost = [(photo, reason) for photo, reason in zip(photos, reasons, strict=True) if reason]
    if aligned:
        # whoever aligned the photos left out those without a face
        return (), tuple((p, "not in the pack" if r == MISSING else r) for p, r in lost)
    missing = tuple(photo for photo, reason in lost if reason == MISSING)
    return missing, tuple((photo, reason) for photo, reason in lost if reason != MISSING)


def _names(embedders: Sequence[Embedder]) -> list[str]:
    """The models' names; those that share one are numbered in their order."""
    names = [embedder.name for embedder in embedders]
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def check_picture(path: Path) -> None:
    """Raise `UsageError` for a picture that cannot be drawn, before hours go into its content."""
    if path.suffix.lower() not in PICTURES:
        raise UsageError(f"{path}: a picture ends with {', '.join(PICTURES)}")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"{path}: its folder does not exist")
