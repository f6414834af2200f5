"""The result of a benchmark: plain values for the table, the page and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from facekd.benchmark.machine import Machine
from facekd.benchmark.measurements import MeasuredRow, measured_rows
from facekd.benchmark.models import BenchmarkedModel, Gap
from facekd.benchmark.timing import Setting, SpeedRatio, Timing, faster


@dataclass(frozen=True)
class ProtocolSummary:
    """The test data of the models, in words: ``failures`` describes failures to acquire, ``roc``
    the comparisons in the ROC."""

    name: str
    data: str
    detector: str
    failures: str
    roc: str
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A student compared with the teacher; a number above one is in the student's favour. ``times_smaller``
    contains the ratios of the measured rows by their keys."""

    student: str
    times_smaller: dict[str, float]
    faster: tuple[tuple[Setting, SpeedRatio], ...]
    gap: Gap | None


@dataclass(frozen=True)
class Benchmark:
    """The teacher first, then the students. ``crops`` describes the crops embedded while timing."""

    models: tuple[BenchmarkedModel, ...]
    machine: Machine
    device: str
    crops: str
    protocol: ProtocolSummary | None = None

    @property
    def teacher(self) -> BenchmarkedModel:
        return self.models[0]

    @property
    def students(self) -> tuple[BenchmarkedModel, ...]:
        return self.models[1:]

    @property
    def settings(self) -> tuple[Setting, ...]:
        return tuple(t.setting for t in self.teacher.timings)

    @property
    def rows(self) -> list[MeasuredRow]:
        """The figures of all models, in the order of the table."""
        return measured_rows(self.models, self.device)

    def comparisons(self) -> tuple[Comparison, ...]:
        return tuple(self._comparison(student) for student in self.students)

    def _comparison(self, student: BenchmarkedModel) -> Comparison:
        teacher = self.teacher
        return Comparison(
            student=student.name,
            times_smaller={
                row.ratio.key: row.times_smaller(teacher, student) for row in self.rows if row.ratio
            },
            # timed in the same rounds
            faster=tuple((t.setting, faster(t, student.timing(t.setting))) for t in teacher.timings),
            gap=student.gap,
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers in SI units and shares, without score arrays, paths and faces."""
        return {
            "machine": asdict(self.machine),
            "device": self.device,
            "crops": self.crops,
            "protocol": asdict(self.protocol) if self.protocol else None,
            "models": [self._model_dict(model) for model in self.models],
            "comparisons": [_comparison_dict(c) for c in self.comparisons()],
        }

    def _model_dict(self, model: BenchmarkedModel) -> dict[str, Any]:
        return {
            "name": model.name,
            "role": model.role,
            "architecture": model.card.architecture,
            "space": model.card.space,
            "has_card": model.has_card,
            "licence": model.card.licence,
            "teacher": model.card.teacher.name if model.card.teacher else None,
            "data": model.card.provenance.data,
            "dim": model.counts.dim,
            "uncounted": model.counts.uncounted,
            **{row.key: row.value(model) for row in self.rows if row.key},
            "timings": [_timing_dict(t) for t in model.timings],
            "rates": [asdict(rate) for rate in model.rates] if model.result else None,
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
        "times_smaller": comparison.times_smaller,
        "times_faster": speeds,
        "accuracy": asdict(comparison.gap) if comparison.gap else None,
    }
