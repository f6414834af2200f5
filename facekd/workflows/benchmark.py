"""Teacher and students side by side: weighed, timed in turns, and judged where photos are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from facekd.benchmark import (
    BATCH,
    Accuracy,
    Benchmark,
    HardPair,
    ModelResult,
    Protocol,
    accuracy_of,
    count_model,
    footprints,
    model_files,
    roc_words,
    settings_for,
    this_machine,
    time_models,
)
from facekd.card import ARCFACE_CROP, CropSpec, read_card
from facekd.geometry import Pixels
from facekd.runtime import load_embedder, unique_names
from facekd.verification.protocols import PairList
from facekd.verification.results import Evaluation
from facekd.workflows.evaluate import evaluate_models
from facekd.workflows.photo_faces import faces_of

#: photos tried for the crops that are embedded while timing
_TRIED = 4 * BATCH
_NOISE = "random pixels, since no photos were given"


@dataclass(frozen=True)
class TestData:
    """Photos with a list of pairs. ``detector`` `None` takes them for 112-pixel ArcFace crops;
    ``faces`` keeps the faces of the hardest pairs, for the page."""

    data: Path
    protocol: PairList
    detector: str | None = "mtcnn"
    faces: bool = False

    # pytest would take the class for a test
    __test__ = False


def benchmark_models(
    teacher: Path,
    students: Sequence[Path],
    test: TestData | None = None,
    *,
    device: str = "cpu",
    tell: Callable[[str], object] = lambda text: None,
    advance: Callable[[int], object] = lambda done: None,
) -> Benchmark:
    """Measure ``teacher`` and ``students``, ONNX files or TOML files that list several.

    ``tell`` is told what is being done, ``advance`` how many more photos of ``test`` are done.
    Raises `InputOutput`, `Unreadable`, `Misfit` or `DeviceError` where a model or the data will
    not do.
    """
    files = [teacher, *students]
    embedders = [load_embedder(file, device, 1) for file in files]
    names = unique_names([embedder.name for embedder in embedders])
    models = dict(zip(names, files, strict=True))
    crops, shown = crops_for_timing(test, [embedder.spec for embedder in embedders])
    machine = this_machine()
    tell("counting parameters and multiply-adds")
    counts = {name: count_model(file) for name, file in models.items()}
    tell("measuring memory and loading, each model in processes of its own")
    needs = footprints({name: _files_and_sizes(file) for name, file in models.items()}, device)
    timings = []
    for setting in settings_for(device):
        tell(f"timing: {setting.batch} at once, {setting.threads} thread(s)")
        timings.append(time_models(models, dict(zip(names, crops, strict=True)), setting, device))
    accuracies, protocol = _accuracies(files, test, device, tell, advance)
    results = tuple(
        ModelResult(
            name=name,
            role="student" if place else "teacher",
            card=embedder.card,
            has_card=embedder.has_card,
            counts=counts[name],
            timings=tuple(timing[name] for timing in timings),
            footprint=needs[name],
            accuracy=accuracies[place],
        )
        for place, (name, embedder) in enumerate(zip(names, embedders, strict=True))
    )
    return Benchmark(results, machine, device, shown, protocol)


def _files_and_sizes(model: Path) -> list[tuple[Path, int]]:
    return [(file, read_card(file)[0].input.size) for file in model_files(model)]


def crops_for_timing(test: TestData | None, specs: Sequence[CropSpec]) -> tuple[list[np.ndarray], str]:
    """`BATCH` crops uint8 [B, S, S, 3] for each of ``specs``, and what they are, in words."""
    if test is not None:
        found = [
            crops
            for crops in faces_of(test.data, test.detector, test.protocol.photos[:_TRIED], specs, BATCH)
            if crops
        ]
        if found:
            told = (
                f"{len(found)} faces of {test.data.name}, repeated to {BATCH}"
                if len(found) < BATCH
                else (f"{BATCH} faces of {test.data.name}")
            )
            order = np.arange(BATCH) % len(found)
            return [np.stack([found[i][place] for i in order]) for place in range(len(specs))], told
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (BATCH, s.size, s.size, 3), np.uint8) for s in specs], _NOISE


def _accuracies(
    files: Sequence[Path],
    test: TestData | None,
    device: str,
    tell: Callable[[str], object],
    advance: Callable[[int], object],
) -> tuple[list[Accuracy | None], Protocol | None]:
    if test is None:
        return [None] * len(files), None
    tell(f"evaluating on {test.data.name}, protocol {test.protocol.name}")
    found = evaluate_models(
        files, test.protocol, test.data, detector=test.detector, device=device, advance=advance
    )
    accuracies = [accuracy_of(test.protocol, model.result) for model in found.models]
    if test.faces:
        accuracies = [_with_faces(accuracy, test) for accuracy in accuracies]
    return list(accuracies), _protocol(found, test)


def _protocol(found: Evaluation, test: TestData) -> Protocol:
    lost = len(found.failures) + len(found.missing)
    failures = f"All {found.photos:,} photos gave a face."
    if lost:
        failures = (
            f"Of {found.photos:,} photos {len(found.failures):,} gave no face and {len(found.missing):,} "
            "were not in the data; their comparisons failed."
        )
    result = found.models[0].result
    return Protocol(
        name=found.protocol,
        data=test.data.name,
        detector=found.detector,
        failures=failures,
        roc=roc_words(result),
        caveats=result.rates.caveats,
    )


def _with_faces(accuracy: Accuracy, test: TestData) -> Accuracy:
    photos = [name for pair in accuracy.hardest for name in (pair.first, pair.second)]
    faces = [
        found[0] if found else None for found in faces_of(test.data, test.detector, photos, [ARCFACE_CROP])
    ]
    pairs = zip(accuracy.hardest, faces[::2], faces[1::2], strict=True)
    return replace(accuracy, hardest=tuple(_shown(*pair) for pair in pairs))


def _shown(pair: HardPair, first: Pixels | None, second: Pixels | None) -> HardPair:
    return pair if first is None or second is None else replace(pair, crops=(first, second))
