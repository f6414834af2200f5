"""The possible inputs of a model, compared on labelled photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facekd.card import CropSpec, InputSpec


@dataclass(frozen=True)
class Reading:
    """One possible input of a model: its ``input`` and ``crop``, with the name of its ``template``. ``fnmr``
    has the 95 % interval ``low`` to ``high``; `None` if the model gives no embeddings with this input."""

    input: InputSpec
    crop: CropSpec
    template: str
    fnmr: float | None = None
    low: float | None = None
    high: float | None = None
    #: whether the photos cannot distinguish it from the best
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
    first; ``stated`` is the one in the card. ``failed`` further photos have no crop."""

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
