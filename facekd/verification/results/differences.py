"""The difference between two models in a rate, with an interval on the difference itself."""

from __future__ import annotations

from dataclasses import dataclass

from facekd.verification.intervals import Interval

#: the measure of `accuracy_difference`
ACCURACY = "accuracy"


@dataclass(frozen=True)
class Difference:
    """``value`` is the rate of the other model minus that of the reference, a share; negative if
    the other is worse. ``interval`` is its 95 % interval, ``measure`` names the rate."""

    measure: str
    value: float
    interval: Interval

    def told(self, reference: str) -> str:
        """In points: "0.30 points below teacher (95 % interval 0.10 to 0.50)"."""
        low, high = 100 * self.interval.low, 100 * self.interval.high
        if low < 0 < high:
            between = f"{-low:.2f} below to {high:.2f} above"
        else:
            nearest, farthest = sorted((abs(low), abs(high)))
            between = f"{nearest:.2f} to {farthest:.2f}"
        return f"{in_points(self.value, reference)} (95 % interval {between})"


def in_points(value: float, reference: str) -> str:
    """A difference of two shares in words, without its interval."""
    if value == 0:
        return f"level with {reference}"
    return f"{abs(100 * value):.2f} points {'below' if value < 0 else 'above'} {reference}"
