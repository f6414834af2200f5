"""What a benchmark found: plain values for the table, the page and JSON alike."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from facekd.benchmark.counts import ModelCounts
from facekd.benchmark.machine import Machine
from facekd.benchmark.memory import Footprint
from facekd.benchmark.timing import Ratio, Setting, Timing, faster
from facekd.card import Card


@dataclass(frozen=True)
class Rate:
    """A measured share with its 95 % interval. ``value`` is `None` where the comparisons are too
    few for one; ``basis`` says what it rests on, or why there is none."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    basis: str


@dataclass(frozen=True)
class HardPair:
    """A comparison that the model decides worst. ``crops`` are both faces, uint8 RGB [S, S, 3],
    where the page may show them."""

    first: str
    second: str
    mated: bool
    score: float
    crops: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Accuracy:
    """What one protocol says of one model.

    ``correct`` bool [N] tells which pairs were decided rightly and ``completed`` bool [N] which had
    a score at all, in the protocol's order, so that two models are compared pair by pair. ``fmr``
    (rising) and ``tar`` are the points of the ROC, from ``non_mated_count`` non-mated comparisons;
    ``mated`` and ``non_mated`` are scores for the histogram.
    """

    rates: tuple[Rate, ...]
    correct: NDArray[np.bool_] = field(repr=False)
    completed: NDArray[np.bool_] = field(repr=False)
    mated: NDArray[np.float64] = field(repr=False)
    non_mated: NDArray[np.float64] = field(repr=False)
    fmr: NDArray[np.float64] = field(repr=False)
    tar: NDArray[np.float64] = field(repr=False)
    non_mated_count: int
    hardest: tuple[HardPair, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """What the models were tested on, in words: ``failures`` tells of failures to acquire, ``roc``
    which comparisons the ROC is made of."""

    name: str
    data: str
    detector: str
    failures: str
    roc: str
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelResult:
    """All that is known of one model; ``timings`` in the order of the benchmark's settings."""

    name: str
    role: Literal["teacher", "student"]
    card: Card
    has_card: bool
    counts: ModelCounts
    timings: tuple[Timing, ...]
    footprint: Footprint
    accuracy: Accuracy | None = None

    def timing(self, setting: Setting) -> Timing:
        return next(t for t in self.timings if t.setting == setting)


@dataclass(frozen=True)
class Gap:
    """Student's accuracy less teacher's on the same pairs, with its 95 % interval, as shares."""

    difference: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True)
class Comparison:
    """A student beside the teacher; a number above one is in the student's favour."""

    student: str
    parameters: float
    macs: float
    file_bytes: float
    peak_memory: float
    faster: tuple[tuple[Setting, Ratio], ...]
    gap: Gap | None


@dataclass(frozen=True)
class Benchmark:
    """Teacher first, then the students. ``crops`` says what was embedded while timing."""

    models: tuple[ModelResult, ...]
    machine: Machine
    device: str
    crops: str
    protocol: Protocol | None = None

    @property
    def teacher(self) -> ModelResult:
        return self.models[0]

    @property
    def students(self) -> tuple[ModelResult, ...]:
        return self.models[1:]

    @property
    def settings(self) -> tuple[Setting, ...]:
        return tuple(t.setting for t in self.teacher.timings)

    def comparisons(self) -> tuple[Comparison, ...]:
        return tuple(compare(self.teacher, student) for student in self.students)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers in SI units and shares, no score arrays, no paths, no faces."""
        return {
            "machine": asdict(self.machine),
            "device": self.device,
            "crops": self.crops,
            "protocol": asdict(self.protocol) if self.protocol else None,
            "models": [_model_dict(model) for model in self.models],
            "comparisons": [_comparison_dict(c) for c in self.comparisons()],
        }


def compare(teacher: ModelResult, student: ModelResult) -> Comparison:
    """All ratios of ``student`` to ``teacher``, which were timed in the same rounds."""
    return Comparison(
        student=student.name,
        parameters=_ratio(teacher.counts.parameters, student.counts.parameters),
        macs=_ratio(teacher.counts.macs, student.counts.macs),
        file_bytes=_ratio(teacher.counts.file_bytes, student.counts.file_bytes),
        peak_memory=_ratio(teacher.footprint.peak_bytes, student.footprint.peak_bytes),
        faster=tuple((t.setting, faster(t, student.timing(t.setting))) for t in teacher.timings),
        gap=_gap(teacher.accuracy, student.accuracy),
    )


def _gap(teacher: Accuracy | None, student: Accuracy | None) -> Gap | None:
    if teacher is None or student is None:
        return None
    both = teacher.completed & student.completed
    return paired_gap(teacher.correct[both], student.correct[both]) if both.any() else None


def paired_gap(teacher: NDArray[np.bool_], student: NDArray[np.bool_]) -> Gap:
    """The difference of two accuracies on the same N pairs.

    The interval is the adjusted Wald interval for matched pairs (Agresti and Min, "Simple improved
    confidence intervals for comparing matched proportions", Statistics in Medicine 2005): half a
    pair is added to each of the four outcomes, so that it keeps its width when no decision differs.
    """
    lost, won = int((teacher & ~student).sum()), int((~teacher & student).sum())
    count = teacher.size + 2
    centre = (won - lost) / count
    spread = math.sqrt((won + lost + 1) - (won - lost) ** 2 / count) / count
    return Gap((won - lost) / teacher.size, centre - 1.96 * spread, centre + 1.96 * spread, teacher.size)


def _ratio(teacher: float, student: float) -> float:
    return teacher / student if student else math.nan


def _model_dict(model: ModelResult) -> dict[str, Any]:
    return {
        "name": model.name,
        "role": model.role,
        "architecture": model.card.architecture,
        "space": model.card.space,
        "has_card": model.has_card,
        "licence": model.card.licence,
        "teacher": model.card.teacher.name if model.card.teacher else None,
        "data": model.card.provenance.data,
        **asdict(model.counts),
        **asdict(model.footprint),
        "timings": [_timing_dict(t) for t in model.timings],
        "rates": [asdict(rate) for rate in model.accuracy.rates] if model.accuracy else None,
    }


def _timing_dict(timing: Timing) -> dict[str, Any]:
    return {
        "threads": timing.setting.threads,
        "batch": timing.setting.batch,
        "median_seconds": timing.median,
        "p95_seconds": timing.p95,
        "crops_per_second": timing.crops_per_second,
        "rounds": timing.seconds.shape[0],
        "calls": timing.seconds.size,
    }


def _comparison_dict(comparison: Comparison) -> dict[str, Any]:
    speeds = [asdict(setting) | asdict(ratio) for setting, ratio in comparison.faster]
    return {
        "student": comparison.student,
        "times_smaller": {
            "parameters": comparison.parameters,
            "macs": comparison.macs,
            "file_bytes": comparison.file_bytes,
            "peak_memory": comparison.peak_memory,
        },
        "times_faster": speeds,
        "accuracy": asdict(comparison.gap) if comparison.gap else None,
    }
