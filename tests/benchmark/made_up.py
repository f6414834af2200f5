"""A finished benchmark, made up: the figures that the report must show are known."""

from dataclasses import replace

import numpy as np

from facekd.benchmark import (
    Benchmark,
    BenchmarkedModel,
    Footprint,
    Gap,
    Machine,
    ModelCounts,
    ProtocolSummary,
    Setting,
    Timing,
)
from facekd.card.contract import Card, EmbeddingSpec, InputSpec, LandmarkCrop, Provenance
from facekd.verification import Accuracy, Interval, OperatingPoint, compare_models
from facekd.verification.results import HardPair, Measure, PairRates, PairResult, ShownPair

DRAWN = Provenance(data="drawn people", images_seen=12345)
SETTINGS = (Setting(1, 1), Setting(2, 1), Setting(1, 32), Setting(2, 32))


def make_card(name: str, **more: object) -> Card:
    return Card(
        name=name, input=InputSpec(), crop=LandmarkCrop(), embedding=EmbeddingSpec(dim=64), **more
    ).with_digest("0" * 64)


def make_result(seed: int, errors: int, pairs: int = 2000) -> PairResult:
    """Half the pairs mated; the first ``errors`` of them were decided wrongly. Every person comes into two
    pairs, one of each kind."""
    random = np.random.default_rng(seed)
    mated, half = np.arange(pairs) < pairs // 2, pairs // 2
    yes, no = random.normal(0.6, 0.15, half).clip(-1, 1), random.normal(0, 0.1, half)
    person = np.arange(half)
    share, interval = 1 - errors / pairs, Interval(0.9, 0.999, "made up")
    measure = Measure(0.5, None)
    return PairResult(
        protocol="lfw",
        source="pairs.txt",
        folds_from="10 folds",
        photos=99,
        failed=(),
        scores=np.concatenate([yes, no]),
        mated=mated,
        right=np.arange(pairs) >= errors,
        folds=(),
        accuracy=Accuracy(share, 0.01, 0.003, interval),
        accuracy_with_failures=Accuracy(share, 0.01, 0.003, interval),
        rates=PairRates(
            measure, measure, None, measure, measure, (OperatingPoint(1e-4, half, half),), (), half
        ),
        everyone=None,
        everyone_points=(),
        no_all_pairs="made up",
        pair_people=np.stack([np.tile(person, 2), np.concatenate([person, (person + 1) % half])], axis=1),
    )


def make_hardest() -> tuple[ShownPair, ...]:
    face = np.full((112, 112, 3), 90, np.uint8)
    mated = HardPair("Ann/1.jpg", "Ann/2.jpg", True, 0.1234, ("Ann/1.jpg", "Ann/2.jpg"))
    other = HardPair("Ann/1.jpg", "Bob/1.jpg", False, 0.4321, ("Ann/1.jpg", "Bob/1.jpg"))
    return ShownPair(mated, (face, face)), ShownPair(other)


def make_model(
    name: str, role: str, slow: float, parameters: int, result: PairResult | None
) -> BenchmarkedModel:
    random = np.random.default_rng(len(name))
    timings = [
        Timing(s, slow * s.batch / s.threads * random.uniform(0.98, 1.02, (20, 5 if s.batch == 1 else 1)))
        for s in SETTINGS
    ]
    return BenchmarkedModel(
        name=name,
        role=role,  # type: ignore[arg-type]
        card=make_card(
            name, licence="Apache-2.0", provenance=Provenance(data="drawn people", images_seen=12345)
        ),
        has_card=True,
        counts=ModelCounts(parameters, 98_300_000, 9_150_000, 64, 256),
        timings=tuple(timings),
        footprint=Footprint(32_000_000, 0.15),
        result=result,
        hardest=make_hardest() if result else (),
    )


def make_benchmark(teacher: str = "big", student: str = "small", measured: bool = True) -> Benchmark:
    """A student that is 4 times smaller, 8 times faster and 30 errors in 2,000 worse."""
    machine = Machine("Processor X", 2, ("avx2",), 16 * 10**9, "Linux 6", "3.11", "1.2", "2.0", "0.1", 0.5)
    results = [make_result(0, 10), make_result(1, 40)] if measured else [None, None]
    gap = Gap.of(compare_models(teacher, results[0], student, results[1])) if measured else None
    models = (
        make_model(teacher, "teacher", 0.08, 4_000_000, results[0]),
        replace(make_model(student, "student", 0.01, 1_000_000, results[1]), gap=gap),
    )
    protocol = ProtocolSummary("lfw", "faces.zip", "mtcnn", "All 99 photos gave a face.", "the listed pairs")
    return Benchmark(models, machine, "cpu", "32 faces of faces.zip", protocol if measured else None)
