"""The answers to many comparisons of two photos as a table, and their summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from facekd.verification.results import ComparedPair

PAIR_COLUMNS = ("a", "b", "answer", "score", "probability", "reason")


def pair_row(pair: ComparedPair) -> list[str]:
    """The fields of `PAIR_COLUMNS`; unknown values are empty."""
    answer = "" if pair.same is None else "same" if pair.same else "different"
    numbers = ("" if value is None else f"{value:.6f}" for value in (pair.score, pair.probability))
    return [pair.a, pair.b, answer, *numbers, pair.failure.reason if pair.failure else ""]


def pair_summary(answers: Counter[str], threshold: float, fmr: float | None) -> Iterator[str]:
    """Sentences that summarise many comparisons. ``answers`` counts them by outcome: "same", "different" or
    the reason of a failure."""
    same, different = answers["same"], answers["different"]
    reasons = {word: count for word, count in answers.most_common() if word not in ("same", "different")}
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    without = f"{sum(reasons.values()):,} without an answer" + (f" ({told})" if told else "")
    rate = "" if fmr is None else f" (FMR {fmr:g})"
    yield (
        f"{answers.total():,} comparisons: {same:,} same, {different:,} different, {without}; threshold "
        f"{threshold:.4f}{rate}"
    )
    if fmr is not None and fmr * (same + different) >= 1:
        yield (
            f"at FMR {fmr:g}, about {fmr * (same + different):,.0f} of {same + different:,} comparisons of "
            "different people match"
        )
