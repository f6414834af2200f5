"""The possible inputs of a model, compared on labelled photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facekd.card import CropSpec, InputSpec


@dataclass(frozen=True)
class Reading:
    """One possible input of a model: its ``input`` and ``crop``, with the name of its ``template``. ``fnmr``
    has the 95 % interval ``low`` to ``high``; ``separation`` is `separation_of` of the photos, and
    ``p_value`` that of its being below the best's, corrected for the number of readings. All are `None` if
    the model gives no embeddings with this input."""

    input: InputSpec
    crop: CropSpec
    template: str
    fnmr: float | None = None
    low: float | None = None
    high: float | None = None
    separation: float | None = None
    p_value: float | None = None
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
            "separation": self.separation,
            "p_value": self.p_value,
            "as_good": self.as_good,
        }


@dataclass(frozen=True)
class ComparedReadings:
    """``readings`` by their separation on ``photos`` photos of ``people`` people in ``data``, the best
    first, with their FNMR at ``fmr``; ``stated`` is the one in the card. ``failed`` further photos have no
    crop.

    ``people_needed`` is the number of people like these with whom the photos could be expected to distinguish
    the stated reading from the best, or from all others if it is the best; `None` if they do, or if there is
    no difference to go by. At most ``most_photos`` photos are read."""

    data: str
    fmr: float
    people: int
    photos: int
    failed: int
    mated: int
    non_mated: int
    readings: tuple[Reading, ...]
    stated: Reading
    people_needed: int | None
    most_photos: int

    @property
    def undecided(self) -> tuple[Reading, ...]:
        """The other readings that the photos cannot distinguish from the stated one, if that is not worse
        than the best."""
        if not self.stated.as_good:
            return ()
        return tuple(one for one in self.readings if one.as_good and one != self.stated)

    def to_dict(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "fmr": self.fmr,
            "people": self.people,
            "photos": self.photos,
            "failed": self.failed,
            "mated": self.mated,
            "non_mated": self.non_mated,
            "people_needed": self.people_needed,
            "stated": self.stated.to_dict(),
            "readings": [reading.to_dict() for reading in self.readings],
        }
