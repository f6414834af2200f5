"""The result of two models on the same comparisons."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from facekd.verification.results.differences import ACCURACY, Difference, in_points


@dataclass(frozen=True)
class Paired:
    """McNemar's exact test (Psychometrika 1947) on the errors of ``other`` and ``reference``.

    A failed comparison is an error. ``only_*`` count the comparisons that only one of the two got
    wrong, which are all the evidence for a difference. ``differences`` are those of
    the accuracy and of the TARs over all pairs, with intervals, as far as the data have them.
    """

    reference: str
    other: str
    comparisons: int
    reference_errors: int
    other_errors: int
    only_reference: int
    only_other: int
    p_value: float
    differences: tuple[Difference, ...] = ()

    @property
    def sentence(self) -> str:
        tars = [d for d in self.differences if d.measure != ACCURACY]
        return " ".join([self._accuracy, *[f"{d.measure}: {d.told(self.reference)}." for d in tars]])

    @property
    def _accuracy(self) -> str:
        errors = (
            f"{self.other_errors} against {self.reference_errors} errors in {self.comparisons:,} comparisons"
        )
        found = next((d for d in self.differences if d.measure == ACCURACY), None)
        value = (self.reference_errors - self.other_errors) / self.comparisons
        told = found.told(self.reference) if found else in_points(value, self.reference)
        if self.only_reference == self.only_other:
            return f"{self.other} is {told}: {errors}."
        sure = "more than chance explains" if self.p_value < 0.05 else "no more than chance may explain"
        return (
            f"{self.other} is {told}: {errors}, {self.only_other} and {self.only_reference} of them alone, "
            f"{sure} (McNemar's exact test, p = {self.p_value:.2g})."
        )

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "sentence": self.sentence}
