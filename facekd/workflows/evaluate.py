"""How good are these models? Photos or crops in, one protocol, models side by side."""

from __future__ import annotations

import io
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from facekd.errors import UsageError
from facekd.files import write_atomically
from facekd.preprocess import ALIGNER, make_detector
from facekd.runtime import Embedder, load_embedder
from facekd.verification import (
    LeftOut,
    Paired,
    PairResult,
    Protocol,
    Result,
    ScoreResult,
    all_pairs,
    list_names,
    paired,
    results_table,
)
from facekd.verification.groups import GroupRates, choose_threshold, group_rates
from facekd.verification.pictures.hardest import HardPair, hardest_pairs
from facekd.verification.protocols.pairlist import read_text
from facekd.verification.scores import judge_scores, read_scores, write_scores
from facekd.workflows.acquire import MISSING, Advance, Embeddings, Plan, acquire

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

#: forms in which a figure can be drawn
PICTURES = (".png", ".svg", ".pdf")
#: how the file of a page may end
PAGES = (".html", ".htm")
#: what stands for the detector where crops came finished
GIVEN_CROPS = "none (aligned crops given)"


#: what the protocol finds of a model
Found = TypeVar("Found", bound=Result)


@dataclass(frozen=True)
class ModelResult(Generic[Found]):
    """One model's part: ``name`` is unique within the evaluation, ``has_card`` false where its
    contract was assumed. ``groups`` are its rates by group, where groups were given; ``hardest`` the
    comparisons that it decides worst, where they were asked for."""

    name: str
    file: Path
    space: str
    has_card: bool
    result: Found
    groups: GroupRates | None = None
    hardest: tuple[HardPair, ...] = ()


@dataclass(frozen=True)
class Evaluation(Generic[Found]):
    """What `evaluate` found. ``missing`` photos are named by the list and not in the data; the
    ``failures`` (photo, reason) are there and gave no face. Both cost their comparisons. Those that
    were ``left_out`` with their persons were not looked at."""

    protocol: str
    source: str
    data: Path
    detector: str
    aligner: str
    flip: bool
    photos: int
    missing: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]
    seconds: float
    models: tuple[ModelResult[Found], ...]
    paired: tuple[Paired, ...]
    left_out: LeftOut | None = None

    @property
    def photos_per_second(self) -> float:
        """From file to the embeddings of all models."""
        return (self.photos - len(self.missing)) / self.seconds

    def results(self) -> dict[str, Found]:
        return {model.name: model.result for model in self.models}

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "list": self.source,
            "data": str(self.data),
            "detector": self.detector,
            "aligner": self.aligner,
            "flip": self.flip,
            "photos": {
                "named": self.photos,
                "missing": list(self.missing),
                "failures_to_acquire": [{"photo": n, "reason": r} for n, r in self.failures],
            },
            **({"left_out": self.left_out.to_dict()} if self.left_out else {}),
            "seconds": self.seconds,
            "photos_per_second": self.photos_per_second,
            "models": [
                {
                    "name": model.name,
                    "file": str(model.file),
                    "space": model.space,
                    "has_card": model.has_card,
                    **model.result.to_dict(),
                    **({"by_group": model.groups.to_dict()} if model.groups else {}),
                }
                for model in self.models
            ],
            "paired": [pair.to_dict() for pair in self.paired],
        }

    def figure(self) -> Figure:
        return self.models[0].result.figure_of(self.results())

    def lines(self) -> Iterator[str]:
        """What stands below the table."""
        mirrored = " Each crop's embedding is added to that of its mirror image." if self.flip else ""
        yield f"Detector: {self.detector}. Aligner: {self.aligner}.{mirrored}"
        found = self.photos - len(self.missing) - len(self.failures)
        reasons = Counter(reason for _, reason in self.failures)
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        yield (
            f"Photos: {self.photos:,} named, {found:,} embedded, {len(self.failures)} failures to acquire"
            f"{f' ({told})' if told else ''}, {len(self.missing)} missing from the data."
        )
        if self.left_out:
            yield self.left_out.sentence
        yield from self.models[0].result.notes()
        yield from (pair.sentence for pair in self.paired)

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        by_group = [part for m in self.models if m.groups for part in (Text(f"\n{m.name}"), m.groups)]
        return Group(results_table(self.results()), *[Text(line) for line in self.lines()], *by_group)


def find_list(protocol: str, data: Path) -> Path:
    """The list of ``protocol`` inside a folder of photos or beside it, by its usual names; the
    photos themselves where they are the list.

    Raises `UsageError` naming where it was looked for.
    """
    if not list_names(protocol):
        return data
    data = data.resolve()
    folders = [data, data.parent] if data.is_dir() else [data.parent]
    for folder in folders:
        for name in list_names(protocol):
            if (folder / name).is_file():
                return folder / name
    inside = ""
    if zipfile.is_zipfile(data):
        with zipfile.ZipFile(data) as archive:
            endings = tuple(f"/{name}" for name in list_names(protocol))
            held = {name for name in archive.namelist() if f"/{name}".endswith(endings)}
        inside = f" {data.name} holds {min(held)}: unpack it." if held else ""
    raise UsageError(
        f"protocol {protocol} needs its list, and there is no {' or '.join(list_names(protocol))} in "
        f"{' or '.join(str(folder) for folder in folders)}",
        f"Give it with --pairs FILE.{inside}",
    )


def leave_out(protocol: Protocol[Found], file: Path) -> Protocol[Found]:
    """``protocol`` without the persons whom ``file`` names, one a line.

    Raises `InputOutput` or `Unreadable` for the file, `UsageError` where it names nobody or as
    `Protocol.without` does.
    """
    names = list(filter(None, map(str.strip, read_text(file).splitlines())))
    if not names:
        raise UsageError(f"{file}: names nobody", "Write a line for each person to be left out.")
    return protocol.without(names)


def evaluate(
    models: Sequence[Path],
    protocol: Protocol[Found],
    data: Path,
    *,
    detector: str | None = "mtcnn",
    device: str = "cpu",
    flip: bool = False,
    groups: Mapping[str, str] | None = None,
    hardest: int = 0,
    advance: Advance = lambda done: None,
) -> Evaluation[Found]:
    """Judge ``models`` by ``protocol`` on the photos in ``data``, a folder or a zip pack.

    ``detector`` `None` takes the images in ``data`` for 112-pixel ArcFace crops; a crop that is not
    there then counts as a failure to acquire. ``flip`` adds the embedding of each crop's mirror image
    to that of the crop. ``groups`` names the group of photos, for rates by group; ``hardest`` is how
    many of the worst mated and of the worst non-mated comparisons are named. ``advance`` is told how
    many more of the protocol's photos are done. Where the protocol lists pairs, the other models
    are compared with the first.

    Raises `UsageError`, `InputOutput` or `Misfit` where list, data or models will not do.
    """
    if not models:
        raise UsageError("there is no model to evaluate")
    if groups is not None:
        _check_groups(protocol, groups)
    embedders = [load_embedder(model, device, 1) for model in models]
    shown = make_detector(detector, device, 1).name if detector else GIVEN_CROPS
    started = time.perf_counter()
    acquired = acquire(Plan(data, tuple(models), detector, device, flip), protocol.photos, advance)
    seconds = time.perf_counter() - started
    judged = tuple(
        _judged(protocol, rows, groups, hardest, name, file, e)
        for name, file, e, rows in zip(
            unique_names(embedders), models, embedders, acquired.embeddings, strict=True
        )
    )
    missing, failures = _losses(protocol.photos, acquired.reasons, aligned=detector is None)
    return Evaluation(
        protocol=protocol.name,
        source=protocol.source,
        data=data,
        detector=shown,
        aligner=ALIGNER if detector else "that of the crops",
        flip=flip,
        photos=len(protocol.photos),
        missing=missing,
        failures=failures,
        seconds=seconds,
        models=judged,
        paired=tuple(_paired(judged)),
        left_out=protocol.left_out,
    )


def _judged(
    protocol: Protocol[Found],
    rows: Embeddings,
    groups: Mapping[str, str] | None,
    hardest: int,
    name: str,
    file: Path,
    embedder: Embedder,
) -> ModelResult[Found]:
    result = protocol.evaluate(lambda _: rows)
    by_group = None if groups is None else _by_group(protocol, rows, groups)
    worst = hardest_pairs(protocol, result, rows, hardest) if hardest else ()
    return ModelResult(name, file, embedder.space, embedder.has_card, result, by_group, worst)


def _check_groups(protocol: Protocol[Found], groups: Mapping[str, str]) -> None:
    if protocol.people is None:
        raise UsageError(
            f"protocol {protocol.name} does not compare photos of known persons: no rates by group",
            "Groups need photos in a folder for each person: --protocol people, or a list of such photos.",
        )
    if not any(photo in groups for photo in protocol.photos):
        raise UsageError(
            f"none of the {len(protocol.photos)} photos has a group",
            f"The file of groups names photos as the protocol does: {protocol.photos[0]}.",
        )


def _by_group(protocol: Protocol[Found], rows: Embeddings, groups: Mapping[str, str]) -> GroupRates:
    people = protocol.people or ()
    fmr, threshold = choose_threshold(all_pairs(rows, people))
    return group_rates(rows, people, [groups.get(photo) for photo in protocol.photos], threshold, fmr)


def write_model_scores(path: Path, protocol: Protocol[Found], result: Result) -> None:
    """Write the score of every listed comparison of ``result`` to the CSV ``path``.

    Raises `UsageError` where the protocol lists none, `InputOutput` where it cannot be written.
    """
    compared = protocol.compared
    if compared is None or not isinstance(result, PairResult | ScoreResult):
        raise UsageError(
            f"protocol {protocol.name} keeps no score for each comparison",
            "Scores are written for lists of pairs of photos or templates.",
        )
    write_scores(path, result.scores, result.mated, compared)


def evaluate_scores(path: Path) -> ScoreResult:
    """Judge the scores in a CSV with the columns ``score`` and ``label``.

    Raises `Unreadable` for its form, `UsageError` where a kind of comparison is missing.
    """
    scores, mated = read_scores(path)
    return judge_scores("scores", str(path), scores, mated)


def _paired(judged: Sequence[ModelResult[Found]]) -> Iterator[Paired]:
    first = judged[0]
    for other in judged[1:]:
        if isinstance(first.result, PairResult) and isinstance(other.result, PairResult):
            yield paired(first.name, first.result, other.name, other.result)


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


def unique_names(embedders: Sequence[Embedder]) -> list[str]:
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
    check_file(path)


def check_page(path: Path) -> None:
    """Raise `UsageError` for a page that is none by its name or has no folder to be written in."""
    if path.suffix.lower() not in PAGES:
        raise UsageError(f"{path}: a page ends with {', '.join(PAGES)}")
    check_file(path)


def check_file(path: Path) -> None:
    """Raise `UsageError` for a file that has no folder to be written in."""
    if not path.resolve().parent.is_dir():
        raise UsageError(f"{path}: its folder does not exist")


def draw(figure: Figure, path: Path) -> None:
    """Write ``figure`` to ``path``, whose suffix says in which form."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix.lower().lstrip("."))
    write_atomically(path, drawn.getvalue())
