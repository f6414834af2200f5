"""Answers to many comparisons of two photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facekd.errors import Exit


@dataclass(frozen=True)
class PairSetting:
    """The basis of the answers: the ``threshold`` and the false match rate at which it was measured (`None`:
    not measured), the model with its space, the detector."""

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
    """Why two photos were not compared: the ``photo`` with the problem and one word for programs."""

    photo: str
    reason: str
    message: str
    fix: str | None
    exit_code: Exit

    def to_dict(self) -> dict[str, Any]:
        return {"photo": self.photo, "reason": self.reason, "message": self.message, "fix": self.fix}


@dataclass(frozen=True)
class ComparedPair:
    """Two photos, ``a`` and ``b`` as in the list, and the answer: ``same`` and the ``score``, a
    cosine in [-1, 1], or the ``failure``. ``probability`` and ``log_likelihood_ratio`` (natural) are also
    `None` if the model's card has no score map."""

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
        """`DONE` if there is an answer, whichever it is."""
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
