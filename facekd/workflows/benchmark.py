"""Compare a teacher with its students: counts, timing and memory, and accuracy if photos are given."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from facekd.benchmark import (
    BATCH,
    MOST_ROUNDS,
    PROCESSES,
    Benchmark,
    BenchmarkedModel,
    Gap,
    ProtocolSummary,
    count_model,
    footprints,
    model_files,
    roc_words,
    settings_for,
    this_machine,
    time_models,
)
from facekd.card import CropSpec, read_card
from facekd.runtime import load_embedder, unique_names
from facekd.verification.protocols import PairList
from facekd.verification.results import Evaluation, PairResult, ShownPair
from facekd.workflows.evaluate import evaluate_models
from facekd.workflows.hardest_faces import faces_of_hardest
from facekd.workflows.photo_acquisition import PhotoSet, crop_photos

#: photos tried, to find the crops that are embedded while timing
_TRIED = 4 * BATCH
#: hardest pairs of each kind that are listed
HARDEST = 4
_NOISE = "random pixels, since no photos were given"


class OpenBar(Protocol):
    """Opens a progress bar: takes a title and a total, yields ``advance(done)``. A bar that is ``still`` is
    drawn only while it is advanced, and not by a thread, which would take time from what is being
    timed."""

    def __call__(
        self, title: str, total: int | None, *, still: bool = False
    ) -> AbstractContextManager[Callable[..., None]]: ...


def _no_bar(
    title: str, total: int | None, *, still: bool = False
) -> AbstractContextManager[Callable[..., None]]:
    return nullcontext(lambda *_: None)


@dataclass(frozen=True)
class TestData:
    """Photos with a list of pairs. With ``detector`` `None` they are finished 112-pixel ArcFace crops;
    ``faces`` keeps the faces of the hardest pairs, for the page."""

    data: Path
    protocol: PairList
    detector: str | None = "mtcnn"
    faces: bool = False

    # pytest would collect the class as a test
    __test__ = False


def benchmark_models(
    teacher: Path,
    students: Sequence[Path],
    test: TestData | None = None,
    *,
    device: str = "cpu",
    tell: Callable[[str], object] = lambda text: None,
    progress: OpenBar = _no_bar,
) -> Benchmark:
    """Measure ``teacher`` and ``students``, ONNX files or TOML files that list several.

    ``tell`` receives a line about each step; ``progress`` opens a bar for the measurements of the networks,
    and another for the photos of ``test``. Raises `InputOutput`, `Unreadable`, `Misfit` or `DeviceError` if a
    model or the data cannot be used.
    """
    files = [teacher, *students]
    embedders = [load_embedder(file, device, 1) for file in files]
    names = unique_names([embedder.name for embedder in embedders])
    models = dict(zip(names, files, strict=True))
    crops, shown = crops_for_timing(test, [embedder.spec for embedder in embedders])
    machine = this_machine()
    tell("counting parameters and multiply-adds")
    counts = {name: count_model(file) for name, file in models.items()}
    settings = settings_for(device)
    steps = PROCESSES * len(models) + MOST_ROUNDS * len(settings)
    with progress("measure", steps, still=True) as advance:
        tell("measuring memory and loading, each model in processes of its own")
        sizes = {name: _files_and_sizes(file) for name, file in models.items()}
        needs = footprints(sizes, device, advance=advance)
        by_name = dict(zip(names, crops, strict=True))
        timings = []
        for setting in settings:
            tell(f"timing: {setting.batch} at once, {setting.threads} thread(s)")
            timings.append(time_models(models, by_name, setting, device, advance))
    found = _evaluated(files, test, device, tell, progress)
    hardest = _hardest(found, test)
    results = tuple(
        BenchmarkedModel(
            name=name,
            role="student" if place else "teacher",
            card=embedder.card,
            has_card=embedder.has_card,
            counts=counts[name],
            timings=tuple(timing[name] for timing in timings),
            footprint=needs[name],
            result=found.models[place].result if found else None,
            hardest=hardest.get(name, ()),
            gap=Gap.of(found.paired[place - 1]) if found and place else None,
        )
        for place, (name, embedder) in enumerate(zip(names, embedders, strict=True))
    )
    protocol = _protocol_summary(found) if found else None
    return Benchmark(results, machine, device, shown, protocol)


def _files_and_sizes(model: Path) -> list[tuple[Path, int]]:
    return [(file, read_card(file)[0].input.size) for file in model_files(model)]


def crops_for_timing(test: TestData | None, specs: Sequence[CropSpec]) -> tuple[list[np.ndarray], str]:
    """`BATCH` crops uint8 [B, S, S, 3] for each of ``specs``, and a description of them."""
    if test is not None:
        acquired = crop_photos(PhotoSet(test.data, test.detector), test.protocol.photos, specs)
        tried = itertools.islice(acquired, _TRIED)
        found = list(itertools.islice((photo.crops for photo in tried if photo.crops), BATCH))
        if found:
            told = (
                f"{len(found)} faces of {test.data.name}, repeated to {BATCH}"
                if len(found) < BATCH
                else (f"{BATCH} faces of {test.data.name}")
            )
            order = np.arange(BATCH) % len(found)
            return [np.stack([found[i][spec] for i in order]) for spec in specs], told
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (BATCH, s.size, s.size, 3), np.uint8) for s in specs], _NOISE


def _evaluated(
    files: Sequence[Path],
    test: TestData | None,
    device: str,
    tell: Callable[[str], object],
    progress: OpenBar,
) -> Evaluation[PairResult] | None:
    if test is None:
        return None
    tell(f"evaluating on {test.data.name}, protocol {test.protocol.name}")
    with progress("evaluate", len(test.protocol.photos)) as advance:
        return evaluate_models(
            files, test.protocol, test.data, detector=test.detector, device=device, hardest=HARDEST,
            advance=advance,
        )  # fmt: skip


def _hardest(found: Evaluation[PairResult] | None, test: TestData | None) -> dict[str, tuple[ShownPair, ...]]:
    """The hardest comparisons by model name, with faces if the page is to show them."""
    if found is None or test is None:
        return {}
    if test.faces:
        return {name: tuple(shown) for name, shown in faces_of_hardest(found, test.detector).items()}
    return {model.name: tuple(map(ShownPair, model.hardest)) for model in found.models}


def _protocol_summary(found: Evaluation[PairResult]) -> ProtocolSummary:
    lost = len(found.failures) + len(found.missing)
    failures = f"All {found.photos:,} photos gave a face."
    if lost:
        failures = (
            f"Of {found.photos:,} photos {len(found.failures):,} gave no face and {len(found.missing):,} "
            "were not in the data; their comparisons failed."
        )
    result = found.models[0].result
    return ProtocolSummary(
        name=found.protocol,
        data=found.data.name,
        detector=found.detector,
        failures=failures,
        roc=roc_words(result),
        caveats=result.rates.caveats,
    )
