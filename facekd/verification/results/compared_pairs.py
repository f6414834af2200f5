"""Answers to many comparisons of two photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facekd.errors import Exit


@dataclass(frozen=True)
class PairSetting:
    """What the answers rest on: the ``threshold`` and the false match rate that it was measured at (`None`:
    nobody measured one), the model with its space, the detector."""

    threshold: float
    fmr: float | None
    model: str
    space: str
    detector: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "threshold": self.threshold,
            "fmr": self.fmr,
            "model": self.model,
            "space": self.space,
            "detector": self.detector,
        }


@dataclass(frozen=True)
class PairFailure:
    """Why two photos were not compared: the ``photo`` that it is about and one word for machines."""

    photo: str
    reason: str
    message: str
    fix: str | None
    exit_code: Exit

    def to_dict(self) -> dict[str, Any]:
        return {"photo": self.photo, "reason": self.reason, "message": self.message, "fix": self.fix}


@dataclass(frozen=True)
class ComparedPair:
    """Two photos, ``a`` and ``b`` as the list names them, and the answer: ``same`` and the ``score``, a
    cosine in [-1, 1], or the ``failure``. ``probability`` and ``log_likelihood_ratio`` (natural) are `None`
    where the model's card has no score map, too."""

    a: str
    b: str
    setting: PairSetting
    same: bool | None = None
    score: float | None = None
    probability: float | None = None
    log_likelihood_ratio: float | None = None
    failure: PairFailure | None = None
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> Exit:
        """`DONE` where there is an answer, whichever."""
        return self.failure.exit_code if self.failure else Exit.DONE

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "verify-pair/1",
            "a": self.a,
            "b": self.b,
            "same": self.same,
            "score": self.score,
            "probability": self.probability,
            "log_likelihood_ratio": self.log_likelihood_ratio,
            "failure": self.failure.to_dict() if self.failure else None,
            **self.setting.to_dict(),
            "notes": list(self.notes),
        }
