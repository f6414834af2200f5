"""A finished benchmark, made up: the figures that the report must show are known."""

import numpy as np

from facekd.benchmark import Accuracy, Benchmark, HardPair, Machine, ModelCounts, ModelResult, Protocol, Rate
from facekd.benchmark.memory import Footprint
from facekd.benchmark.timing import Setting, Timing
from facekd.card.contract import Card, EmbeddingSpec, InputSpec, LandmarkCrop, Provenance

DRAWN = Provenance(data="drawn people", images_seen=12345)
SETTINGS = (Setting(1, 1), Setting(2, 1), Setting(1, 32), Setting(2, 32))


def make_card(name: str, **more: object) -> Card:
    return Card(
        name=name, input=InputSpec(), crop=LandmarkCrop(), embedding=EmbeddingSpec(dim=64), **more
    ).with_digest("0" * 64)


def make_accuracy(seed: int, errors: int, pairs: int = 2000) -> Accuracy:
    random = np.random.default_rng(seed)
    mated, non_mated = random.normal(0.6, 0.15, pairs // 2).clip(-1, 1), random.normal(0, 0.1, pairs // 2)
    levels = np.sort(non_mated)[::-1]
    correct = np.ones(pairs, bool)
    correct[:errors] = False
    face = np.full((112, 112, 3), 90, np.uint8)
    return Accuracy(
        rates=(
            Rate("Accuracy", 1 - errors / pairs, 0.9, 0.999, f"{pairs:,} pairs, 10 folds"),
            Rate("TAR at FMR 0.0001, all pairs", None, None, None, "insufficient data: 0.1 expected"),
        ),
        correct=correct,
        completed=np.ones(pairs, bool),
        mated=mated,
        non_mated=non_mated,
        fmr=np.arange(1, levels.size + 1) / levels.size,
        tar=(mated[None, :] >= levels[:, None]).mean(axis=1),
        non_mated_count=levels.size,
        hardest=(
            HardPair("Ann/1.jpg", "Ann/2.jpg", True, 0.1234, (face, face)),
            HardPair("Ann/1.jpg", "Bob/1.jpg", False, 0.4321),
        ),
    )


def make_model(name: str, role: str, slow: float, parameters: int, accuracy: Accuracy | None) -> ModelResult:
    random = np.random.default_rng(len(name))
    timings = [
        Timing(s, slow * s.batch / s.threads * random.uniform(0.98, 1.02, (20, 5 if s.batch == 1 else 1)))
        for s in SETTINGS
    ]
    return ModelResult(
        name=name,
        role=role,  # type: ignore[arg-type]
        card=make_card(
            name, licence="Apache-2.0", provenance=Provenance(data="drawn people", images_seen=12345)
        ),
        has_card=True,
        counts=ModelCounts(parameters, 98_300_000, 9_150_000, 64, 256),
        timings=tuple(timings),
        footprint=Footprint(32_000_000, 0.15),
        accuracy=accuracy,
    )


def make_benchmark(teacher: str = "big", student: str = "small", measured: bool = True) -> Benchmark:
    """A student that is 4 times smaller, 8 times faster and 30 errors in 2,000 worse."""
    machine = Machine("Processor X", 2, ("avx2",), 16 * 10**9, "Linux 6", "3.11", "1.2", "2.0", "0.1", 0.5)
    models = (
        make_model(teacher, "teacher", 0.08, 4_000_000, make_accuracy(0, 10) if measured else None),
        make_model(student, "student", 0.01, 1_000_000, make_accuracy(1, 40) if measured else None),
    )
    protocol = Protocol("lfw", "faces.zip", "mtcnn", "All 99 photos gave a face.", "the listed pairs")
    return Benchmark(models, machine, "cpu", "32 faces of faces.zip", protocol if measured else None)
