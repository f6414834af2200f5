"""The result of comparing two models' spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facekd.verification.asymmetric_pairs import TwoSided
from facekd.verification.listed_pairs import ALL_PAIRS_FMRS
from facekd.verification.results.differences import Difference
from facekd.verification.results.evaluation import Evaluation
from facekd.verification.results.listed_pairs import PairResult

#: the FMR at which two spaces are tested for compatibility
COMPATIBLE_FMR = ALL_PAIRS_FMRS[0]
#: the share of mated comparisons that compatible models may lose relative to the weaker one alone
MOST_LOST = 0.05
OWN_THRESHOLDS = (
    "Thresholds do not carry over: a threshold that was measured for one model alone is not valid for "
    "comparisons between the two, which have their own."
)


@dataclass(frozen=True)
class Compatibility:
    """Whether the two models' embeddings may be used in one gallery: ``loss`` is the TAR of the two
    together minus that of the ``weaker`` of them alone, all pairs at `COMPATIBLE_FMR`. ``loss`` is
    `None` if the data cannot show it, for the reason ``absent``."""

    weaker: str
    loss: Difference | None
    absent: str | None = None

    @property
    def agreed(self) -> bool:
        """Whether, by its interval, at most `MOST_LOST` is lost."""
        return self.loss is not None and self.loss.interval.low >= -MOST_LOST

    @property
    def sentence(self) -> str:
        if self.loss is None:
            return f"Whether the two are compatible cannot be decided: {self.absent}."
        verdict = "compatible" if self.agreed else "not compatible"
        told = self.loss.told(f"{self.weaker} alone")
        return (
            f"The two together are {told} in TAR at FMR {COMPATIBLE_FMR:g} over all pairs: {verdict}, by the "
            f"rule that the interval must exclude a loss of more than {100 * MOST_LOST:g} points."
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "fmr": COMPATIBLE_FMR,
            "weaker": self.weaker,
            "difference": self.loss.value if self.loss else None,
            "interval": self.loss.interval.to_dict() if self.loss else None,
            "compatible": self.agreed if self.loss else None,
            "sentence": self.sentence,
        }


@dataclass(frozen=True)
class CompatibilityResult:
    """Both models alone (``alone``), and together: ``crossed`` by name, the first photo of each pair
    embedded by the one, the second by the other, and the reverse."""

    alone: Evaluation[PairResult]
    crossed: dict[str, TwoSided]
    compatibility: Compatibility

    @property
    def photos_per_second(self) -> float:
        return self.alone.photos_per_second

    def results(self) -> dict[str, PairResult]:
        return {**self.alone.results(), **{name: found.result for name, found in self.crossed.items()}}

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.alone.to_dict(),
            "cross": [
                {
                    "name": name,
                    **found.result.to_dict(),
                    "all_pairs": {"operating_points": [p.to_dict() for p in found.result.everyone_points]},
                    "fmr_at_the_models_own_thresholds": self.carried_fmrs(found),
                }
                for name, found in self.crossed.items()
            ],
            "compatibility": self.compatibility.to_dict(),
        }

    def carried_fmrs(self, found: TwoSided) -> list[dict[str, Any]]:
        """The FMR of comparisons between the models at each one's own thresholds."""
        return [
            {"model": name, "fmr_alone": point.fmr, "threshold": point.threshold,
             "fmr": found.everyone.fmr_at(point.threshold)}
            for name, own in self.alone.results().items() for point in own.everyone_points
            if found.everyone is not None and point.threshold is not None
        ]  # fmt: skip
