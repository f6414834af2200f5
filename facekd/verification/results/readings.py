"""The ways in which a model may want its crops, judged on labelled photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facekd.card import CropSpec, InputSpec


@dataclass(frozen=True)
class Reading:
    """One way to feed a model: its ``input`` and ``crop``, whose template ``template`` names. ``fnmr`` lies
    between ``low`` and ``high`` (95 %); `None` where the model gives no embeddings when fed so."""

    input: InputSpec
    crop: CropSpec
    template: str
    fnmr: float | None = None
    low: float | None = None
    high: float | None = None
    #: whether the photos cannot tell it from the best
    as_good: bool = False

    @property
    def words(self) -> str:
        scaling = f"(x - {self.input.mean:g}) / {self.input.std:g}"
        return f"{self.input.colour}, {scaling}, {self.template}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "input": self.input.model_dump(mode="json"),
            "crop": self.crop.model_dump(mode="json"),
            "template": self.template,
            "fnmr": self.fnmr,
            "low": self.low,
            "high": self.high,
            "as_good": self.as_good,
        }


@dataclass(frozen=True)
class ComparedReadings:
    """``readings`` by their FNMR at ``fmr`` on ``photos`` photos of ``people`` people in ``data``, the best
    first; ``stated`` is the one that the card states. ``failed`` further photos gave no crop."""

    data: str
    fmr: float
    people: int
    photos: int
    failed: int
    mated: int
    non_mated: int
    readings: tuple[Reading, ...]
    stated: Reading

    def to_dict(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "fmr": self.fmr,
            "people": self.people,
            "photos": self.photos,
            "failed": self.failed,
            "mated": self.mated,
            "non_mated": self.non_mated,
            "stated": self.stated.to_dict(),
            "readings": [reading.to_dict() for reading in self.readings],
        }
