"""What `degrade` found: it prints itself, serialises and draws itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facekd.verification import PairResult
from facekd.verification.intervals import Interval, wilson
from facekd.verification.tables import measure, tar
from facekd.workflows.degradations import Degradation

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType
    from rich.table import Table


@dataclass(frozen=True)
class AtCleanThreshold:
    """Listed pairs of degraded crops at the threshold that clean crops need for FMR 1e-2: ``false_matches``
    of ``non_mated`` comparisons match, ``misses`` of ``mated`` ones do not."""

    threshold: float
    mated: int
    misses: int
    non_mated: int
    false_matches: int

    @property
    def fmr(self) -> float:
        return self.false_matches / self.non_mated

    @property
    def tar(self) -> float:
        return 1 - self.misses / self.mated

    @property
    def intervals(self) -> tuple[Interval, Interval]:
        """Of FMR and of TAR; they count pairs as independent."""
        return (
            wilson(self.false_matches, self.non_mated),
            wilson(self.mated - self.misses, self.mated),
        )

    def to_dict(self) -> dict[str, Any]:
        fmr, accepted = self.intervals
        return {
            "threshold": self.threshold,
            "fmr": {"value": self.fmr, "interval": fmr.to_dict()},
            "tar": {"value": self.tar, "interval": accepted.to_dict()},
            "mated": self.mated,
            "non_mated": self.non_mated,
        }


@dataclass(frozen=True)
class Degraded:
    """One model under one degradation. ``kept`` is `None` where clean crops have no threshold. Where the
    model's card has limits they refuse the share ``refused`` of the degraded photos, and ``within`` is
    ``kept`` of the comparisons that are left (`None` where there are no longer mated and non-mated ones)."""

    degradation: Degradation
    result: PairResult
    kept: AtCleanThreshold | None
    refused: float | None = None
    within: AtCleanThreshold | None = None

    def cells(self) -> tuple[str, ...]:
        """The row of the table, in the order of `COLUMNS`."""
        accuracy, listed = self.result.accuracy, self.result.rates.points[0]
        everyone = self.result.everyone_points
        fmr, accepted = self.kept.intervals if self.kept else (None, None)
        within = measure(self.within.fmr, self.within.intervals[0]) if self.within else "none left"
        return (
            measure(accuracy.mean, accuracy.interval),
            tar(listed),
            tar(everyone[0]) if everyone else "-",
            measure(self.kept.fmr, fmr) if self.kept else "-",
            measure(self.kept.tar, accepted) if self.kept else "-",
            *([] if self.refused is None else [f"{100 * self.refused:.1f}", within]),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.degradation.kind,
            "level": self.degradation.level,
            "accuracy": self.result.accuracy.to_dict(),
            "listed_pairs": [point.to_dict() for point in self.result.rates.points],
            "all_pairs": [point.to_dict() for point in self.result.everyone_points],
            "at_clean_threshold": self.kept.to_dict() if self.kept else None,
            "refused": self.refused,
            "at_clean_threshold_within_limits": self.within.to_dict() if self.within else None,
        }


COLUMNS = (
    "accuracy", "TAR@FMR 0.01,\nlisted pairs", "TAR@FMR 0.001,\nall pairs",
    "FMR, clean\nthreshold", "TAR, clean\nthreshold",
)  # fmt: skip
#: further ones for a model whose card has limits
LIMIT_COLUMNS = ("refused", "FMR of\nthe others")


@dataclass(frozen=True)
class DegradationReport:
    """What `degrade` found: for each model by name, `CLEAN` and every degradation in order.
    ``failures`` (photo, reason) gave no crop."""

    protocol: str
    source: str
    data: Path
    detector: str
    aligner: str
    one_side: bool
    photos: int
    failures: tuple[tuple[str, str], ...]
    models: dict[str, tuple[Degraded, ...]]

    @property
    def side(self) -> str:
        return "the second photo of each pair" if self.one_side else "both photos of each pair"

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "list": self.source,
            "data": str(self.data),
            "detector": self.detector,
            "aligner": self.aligner,
            "degraded": "second" if self.one_side else "both",
            "photos": {
                "named": self.photos,
                "failures_to_acquire": [{"photo": p, "reason": r} for p, r in self.failures],
            },
            "models": [
                {"name": name, "degradations": [row.to_dict() for row in rows]}
                for name, rows in self.models.items()
            ],
        }

    def lines(self) -> Iterator[str]:
        """What stands below the tables."""
        yield f"Degraded: {self.side}, after detection and alignment, so no face is lost to it."
        yield f"Detector: {self.detector}. Aligner: {self.aligner}."
        reasons = Counter(reason for _, reason in self.failures)
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        gone = f"{len(self.failures)} without crop{f' ({told})' if told else ''}"
        first = next(iter(self.models.values()))[0].result
        mated = int((first.mated & first.completed).sum())
        yield (
            f"Photos: {self.photos:,} named, {gone}. Listed pairs: {mated:,} mated and "
            f"{int(first.completed.sum()) - mated:,} non-mated comparisons; {first.folds_from}."
        )
        if any(row.refused is not None for rows in self.models.values() for row in rows):
            yield (
                "Refused: share of the degraded photos beyond the limits in the model's card. FMR of the "
                "others: at the clean threshold, of what is left; the other columns count all."
            )
        yield (
            "Accuracy and TAR choose their threshold anew under each degradation; clean threshold is that of "
            "FMR 0.01 on the listed pairs of clean crops, with Wilson's intervals, which count pairs as "
            "independent."
        )

    def figure(self) -> Figure:
        from facekd.workflows.degrade_plot import degradation_figure

        return degradation_figure(self)

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        tables = [_table(name, rows) for name, rows in self.models.items()]
        return Group(*tables, *[Text(line) for line in self.lines()])


def _table(name: str, rows: Sequence[Degraded]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=f"{escape(name)}: in %, with 95 % interval",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("degradation", no_wrap=True)
    limited = any(row.refused is not None for row in rows)
    for column in COLUMNS + LIMIT_COLUMNS if limited else COLUMNS:
        table.add_column(column)
    for row in rows:
        table.add_row(row.degradation.name, *row.cells())
    return table
