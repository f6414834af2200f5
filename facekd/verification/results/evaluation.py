"""The results of models under one protocol, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from facekd.preprocess import MISSING, AcquiredPhoto, failures_of
from facekd.verification.exclusion import LeftOut
from facekd.verification.results.base import Result
from facekd.verification.results.groups import GroupRates
from facekd.verification.results.hardest import HardPair
from facekd.verification.results.paired import Paired

#: the result of the protocol for a model
Found = TypeVar("Found", bound=Result)


@dataclass(frozen=True)
class ModelResult(Generic[Found]):
    """The result of one model: ``name`` is unique within the evaluation, ``has_card`` is false if its
    contract was assumed, ``trained_on_data`` true if its card names the data as its training data, so that
    the result says little about other people. ``groups`` are its rates by group, if groups were
    given; ``hardest`` its largest errors, if they were asked for."""

    name: str
    file: Path
    space: str
    has_card: bool
    result: Found
    groups: GroupRates | None = None
    hardest: tuple[HardPair, ...] = ()
    trained_on_data: bool = False


@dataclass(frozen=True)
class Evaluation(Generic[Found]):
    """The result of `evaluate`. ``acquired`` are the photos that the protocol names, in its order, with the
    data that were to be kept of each. Photos that were ``left_out`` with their people were not read."""

    protocol: str
    source: str
    data: Path
    detector: str
    aligner: str
    flip: bool
    acquired: tuple[AcquiredPhoto, ...]
    seconds: float
    models: tuple[ModelResult[Found], ...]
    paired: tuple[Paired, ...]
    left_out: LeftOut | None = None

    @property
    def photos(self) -> int:
        """The number of photos that the protocol names."""
        return len(self.acquired)

    @property
    def missing(self) -> tuple[str, ...]:
        """The photos that are not in the data; their comparisons are lost."""
        return tuple(photo.name for photo in self.acquired if photo.reason == MISSING)

    @property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """The photos in the data without a face, each with the reason; their comparisons are lost."""
        return failures_of(photo for photo in self.acquired if photo.reason != MISSING)

    @property
    def photos_per_second(self) -> float:
        """The rate from files to the embeddings of all models."""
        return (self.photos - len(self.missing)) / self.seconds

    def results(self) -> dict[str, Found]:
        return {model.name: model.result for model in self.models}

    def to_dict(self) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "list": self.source,
            "data": str(self.data),
            "detector": self.detector,
            "aligner": self.aligner,
            "flip": self.flip,
            "photos": {
                "named": self.photos,
                "missing": list(self.missing),
                "failures_to_acquire": [{"photo": n, "reason": r} for n, r in self.failures],
            },
            **({"left_out": self.left_out.to_dict()} if self.left_out else {}),
            "seconds": self.seconds,
            "photos_per_second": self.photos_per_second,
            "models": [
                {
                    "name": model.name,
                    "file": str(model.file),
                    "space": model.space,
                    "has_card": model.has_card,
                    "trained_on_data": model.trained_on_data,
                    **model.result.to_dict(),
                    **({"by_group": model.groups.to_dict()} if model.groups else {}),
                }
                for model in self.models
            ],
            "paired": [pair.to_dict() for pair in self.paired],
        }
