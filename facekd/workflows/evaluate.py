"""Evaluate models side by side, by one protocol, on photos or crops."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic

from facekd.errors import UsageError
from facekd.preprocess import MISSING, AcquiredPhoto
from facekd.runtime import Embedder, load_embedder, unique_names
from facekd.verification import (
    all_pairs,
    compare_models,
    group_rates,
    group_threshold,
    hardest_pairs,
    judge_scores,
    read_scores,
    write_scores,
)
from facekd.verification.protocols import Protocol, data_is_list, list_names, read_text
from facekd.verification.results import (
    AllPairsResult,
    Evaluation,
    Found,
    GalleryResult,
    GroupRates,
    ModelResult,
    Paired,
    PairResult,
    Result,
    ScoreResult,
)
from facekd.workflows.photo_acquisition import Advance, Embeddings, PhotoSet, embed_photos
from facekd.workflows.training_data import is_training_pack


def find_list(protocol: str, data: Path) -> Path:
    """The list of ``protocol`` in a folder of photos or beside it, by its usual names; ``data`` itself if
    it contains the list.

    Raises `UsageError`, which names the places searched.
    """
    if data_is_list(protocol):
        return data
    if not list_names(protocol):
        raise UsageError(f"protocol {protocol} needs its list", "Give it with --pairs FILE.")
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
    """``protocol`` without the people named in ``file``, one per line.

    Raises `InputOutput` or `Unreadable` for the file, `UsageError` if it names nobody, and what
    `Protocol.without` raises.
    """
    names = list(filter(None, map(str.strip, read_text(file).splitlines())))
    if not names:
        raise UsageError(f"{file}: names nobody", "Write one line for each person to leave out.")
    return protocol.without(names)


def evaluate_models(
    models: Sequence[Path],
    protocol: Protocol[Found],
    data: Path,
    *,
    detector: str | None = "mtcnn",
    device: str = "cpu",
    flip: bool = False,
    groups: Mapping[str, str] | None = None,
    hardest: int = 0,
    rate_quality: bool = False,
    keep: Collection[str] = (),
    advance: Advance = lambda done: None,
) -> Evaluation[Found]:
    """Judge ``models`` by ``protocol`` on the photos in ``data``, a folder or a zip pack.

    With ``detector`` `None`, the images in ``data`` are finished 112-pixel ArcFace crops; a missing crop then
    counts as a failure to acquire. ``flip`` adds the embedding of each crop's mirror image to that of the
    crop. ``groups`` maps photos to groups, for rates by group; ``hardest`` is the number of the worst mated
    and of the worst non-mated comparisons to list. ``rate_quality`` computes the quality of each photo;
    the 112-pixel ArcFace crops of the photos in ``keep`` are kept. ``advance`` receives the number of
    further photos that are done. For a list of pairs, the other models are compared with the first.

    Raises `UsageError`, `InputOutput` or `Misfit` if the list, the data or the models cannot be used.
    """
    if not models:
        raise UsageError("there is no model to evaluate")
    if groups is not None:
        _check_groups(protocol, groups)
    embedders = [load_embedder(model, device, 1) for model in models]
    photos = PhotoSet(data, detector, device)
    shown = photos.detector_name()
    started = time.perf_counter()
    embedded = embed_photos(
        photos, protocol.photos, models, flip=flip, rate_quality=rate_quality, keep=keep, advance=advance
    )
    seconds = time.perf_counter() - started
    judge = _Judge(protocol, data, groups, hardest)
    judged = tuple(
        judge.result(_Model(name, file, e), rows)
        for name, file, e, rows in zip(
            unique_names([e.name for e in embedders]), models, embedders, embedded.embeddings, strict=True
        )
    )
    return Evaluation(
        protocol=protocol.name,
        source=protocol.source,
        data=data,
        detector=shown,
        aligner=photos.aligner,
        flip=flip,
        acquired=embedded.photos if detector else tuple(map(_not_in_the_pack, embedded.photos)),
        seconds=seconds,
        models=judged,
        paired=tuple(_paired(judged)),
        left_out=protocol.left_out,
    )


@dataclass(frozen=True)
class _Model:
    """A model with a ``name`` that is unique in this evaluation."""

    name: str
    file: Path
    embedder: Embedder


@dataclass(frozen=True)
class _Judge(Generic[Found]):
    """The parameters of judging each model."""

    protocol: Protocol[Found]
    data: Path
    groups: Mapping[str, str] | None
    hardest: int

    def result(self, model: _Model, rows: Embeddings) -> ModelResult[Found]:
        result = self.protocol.evaluate(lambda _: rows)
        return ModelResult(
            name=model.name,
            file=model.file,
            space=model.embedder.space,
            has_card=model.embedder.has_card,
            trained_on_data=is_training_pack(model.embedder.card, self.data),
            result=result,
            groups=None if self.groups is None else _by_group(self.protocol, result, rows, self.groups),
            hardest=hardest_pairs(self.protocol, result, rows, self.hardest) if self.hardest else (),
        )


def _check_groups(protocol: Protocol[Found], groups: Mapping[str, str]) -> None:
    if protocol.people is None:
        raise UsageError(
            f"protocol {protocol.name} does not compare photos of known people: no rates by group",
            "Groups need photos in a folder per person: --protocol people, or a list of such photos.",
        )
    if not any(photo in groups for photo in protocol.photos):
        raise UsageError(
            f"none of the {len(protocol.photos)} photos has a group",
            f"The groups file must name photos as the protocol does: {protocol.photos[0]}.",
        )


def _by_group(
    protocol: Protocol[Found], result: Result | GalleryResult, rows: Embeddings, groups: Mapping[str, str]
) -> GroupRates:
    people = protocol.people or ()
    judged = result.everyone if isinstance(result, PairResult | AllPairsResult) else None
    fmr, threshold = group_threshold(judged or all_pairs(rows, people))
    return group_rates(rows, people, [groups.get(photo) for photo in protocol.photos], threshold, fmr)


def write_model_scores(path: Path, protocol: Protocol[Found], result: Result) -> None:
    """Write the scores of all listed comparisons of ``result`` to the CSV ``path``.

    Raises `UsageError` if the protocol lists none, `InputOutput` if the file cannot be written.
    """
    compared = protocol.compared
    if compared is None or not isinstance(result, PairResult | ScoreResult):
        raise UsageError(
            f"protocol {protocol.name} does not keep the score of each comparison",
            "Scores are written for lists of pairs of photos or templates.",
        )
    write_scores(path, result.scores, result.mated, compared)


def evaluate_scores(path: Path) -> ScoreResult:
    """Judge the scores in a CSV with the columns ``score`` and ``label``.

    Raises `Unreadable` for an invalid file, `UsageError` if one kind of comparison is missing.
    """
    scores, mated = read_scores(path)
    return judge_scores("scores", str(path), scores, mated)


def _paired(judged: Sequence[ModelResult[Found]]) -> Iterator[Paired]:
    first = judged[0]
    for other in judged[1:]:
        if isinstance(first.result, PairResult) and isinstance(other.result, PairResult):
            yield compare_models(first.name, first.result, other.name, other.result)


def _not_in_the_pack(photo: AcquiredPhoto) -> AcquiredPhoto:
    """A photo missing from a pack of crops is a failure: no face was found in it when the photos were
    aligned."""
    return replace(photo, reason="not in the pack") if photo.reason == MISSING else photo
