"""The contract of a model: its input, its output, its origin, and its thresholds."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

#: Five points in a 112 x 112 crop (pixels): eye, eye, nose, mouth corner, mouth corner; left in
#: the image first. The template of ArcFace (Deng et al., CVPR 2019).
ARCFACE_TEMPLATE: tuple[tuple[float, float], ...] = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)


Point = tuple[float, float]
#: the smallest share of a crop's side that the five points of a template must span
LEAST_FACE = 0.1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LandmarkCrop(_Frozen):
    """A crop cut by a similarity transform of five landmarks onto a template."""

    kind: Literal["landmarks"] = "landmarks"
    size: int = Field(default=112, ge=16, le=1024)
    #: five points in pixels of the crop
    template: tuple[Point, Point, Point, Point, Point] = ARCFACE_TEMPLATE  # type: ignore[assignment]

    @model_validator(mode="after")
    def _lies_in_the_crop(self) -> LandmarkCrop:
        """A template in fractions of the crop, or for a crop of another size, warps a face into a corner of
        it or out of it, and the network then receives hardly any of the face."""
        sides = [max(values) - min(values) for values in zip(*self.template, strict=True)]
        if any(not 0 <= value <= self.size for point in self.template for value in point):
            raise ValueError(f"a template is five points in pixels, inside the crop of {self.size} pixels")
        if min(sides) < LEAST_FACE * self.size:
            raise ValueError(
                f"the template covers {sides[0]:.3g} x {sides[1]:.3g} pixels of a crop of {self.size}, less "
                f"than {LEAST_FACE:.0%} of a side: points are in pixels of the crop, not in fractions of it"
            )
        return self


#: the crop in aligned packs, on which photo faults are also measured, whatever crop the model uses
ARCFACE_CROP = LandmarkCrop()


class BoxCrop(_Frozen):
    """A crop cut around the detector's box, as facenet-pytorch does: ``margin`` is in pixels of
    the finished crop, split over both sides."""

    kind: Literal["box"] = "box"
    size: int = Field(default=160, ge=16, le=1024)
    margin: int = Field(default=0, ge=0)


CropSpec = Annotated[LandmarkCrop | BoxCrop, Field(discriminator="kind")]


class InputSpec(_Frozen):
    """The network's input: ``(pixel - mean) / std``, channels in the order of ``colour``."""

    size: int = Field(default=112, ge=16, le=1024)
    colour: Literal["rgb", "bgr"] = "rgb"
    mean: float = 127.5
    std: float = Field(127.5, gt=0)


class EmbeddingSpec(_Frozen):
    dim: int = Field(ge=1)


class Origin(_Frozen):
    """The teacher of a student."""

    name: str
    space: str


class Pack(_Frozen):
    """A pack or folder of crops: its file name, and its digest by `facekd.preprocess.source_digest`."""

    name: str
    digest: str


class Start(_Frozen):
    """The network whose weights a training run began with, and the images which that one had seen, the
    networks before it included (`None` if its file does not say)."""

    name: str
    images_seen: int | None = None


class Provenance(_Frozen):
    """The training data of a network. ``packs`` are the sources of its crops as they were then, those of the
    network it began with included; so is ``images_seen``."""

    data: str = "unknown"
    packs: tuple[Pack, ...] = ()
    recipe: str = ""
    seed: int | None = None
    date: str = ""
    images_seen: int | None = None
    start: Start | None = None


class Counts(_Frozen):
    mated: int = Field(ge=0)
    non_mated: int = Field(ge=0)
    false_matches: int = Field(ge=0)
    false_non_matches: int = Field(ge=0)
    failures_to_acquire: int = Field(default=0, ge=0)


class Sample(_Frozen):
    """The photos of a calibration. ``digest`` is the SHA-256 over their names and contents, including the
    failed ones; ``photos`` is the number that were to be compared."""

    people: int = Field(ge=0)
    photos: int = Field(ge=0)
    digest: str


class Calibration(_Frozen):
    """One operating point, measured on data that is neither training nor test data.

    ``low`` and ``high`` bound the false match rate at ``threshold`` (95 %). ``fnmr`` is the
    false non-match rate at the same threshold, between ``fnmr_low`` and ``fnmr_high`` (95 %).
    """

    fmr: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=-1, le=1)
    low: float
    high: float
    fnmr: float | None = None
    fnmr_low: float | None = None
    fnmr_high: float | None = None
    data: str
    counts: Counts
    detector: str
    aligner: str
    sample: Sample | None = None
    date: str = ""


class LogisticCurve(_Frozen):
    """The log-likelihood ratio (natural) of score s is ``slope`` s + ``offset``."""

    kind: Literal["logistic"] = "logistic"
    slope: float = Field(gt=0, allow_inf_nan=False)
    offset: float = Field(allow_inf_nan=False)


class IsotonicCurve(_Frozen):
    """The probability at equal priors, linear between knots (``scores`` [K], ``probabilities``
    [K]) and constant outside them."""

    kind: Literal["isotonic"] = "isotonic"
    scores: tuple[float, ...] = Field(min_length=1)
    probabilities: tuple[Annotated[float, Field(gt=0, lt=1)], ...]

    @model_validator(mode="after")
    def _rising(self) -> IsotonicCurve:
        if len(self.scores) != len(self.probabilities):
            raise ValueError("there must be as many probabilities as scores")
        knots = (self.scores, self.probabilities)
        if any(list(values) != sorted(values) for values in knots):
            raise ValueError("scores and probabilities must increase")
        return self


Curve = Annotated[LogisticCurve | IsotonicCurve, Field(discriminator="kind")]


class ScoreMap(_Frozen):
    """From a score to the probability that two photos show one person.

    ``cllr`` is the cost of its log-likelihood ratios in bits on people that it was not fitted on
    (0 is perfect, 1 is no information), ``min_cllr`` that of the best increasing curve on the same
    comparisons.
    """

    curve: Curve
    cllr: float = Field(ge=0)
    min_cllr: float = Field(ge=0)
    data: str
    sample: Sample
    detector: str
    aligner: str
    date: str


class PhotoLimit(_Frozen):
    """Photos beyond ``limit`` get no answer, for ``reason`` (`facekd.preprocess.FAULTS` says how each is
    measured). ``refused`` of the sample's photos are beyond it."""

    reason: Literal["too_dark", "too_blurred", "too_noisy"]
    limit: float = Field(ge=0, allow_inf_nan=False)
    refused: int = Field(ge=0)


class PhotoLimits(_Frozen):
    """How poor a photo may be before the score at ``threshold``, that of ``fmr``, is misleading: found by
    degrading good crops. ``photos`` of the ``sample`` were tried. A reason without a limit did no harm
    at any strength that was tried."""

    limits: tuple[PhotoLimit, ...]
    fmr: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=-1, le=1)
    photos: int = Field(ge=0)
    data: str
    sample: Sample
    detector: str
    aligner: str
    date: str

    @property
    def summary(self) -> str:
        """One line: each limit, and the number of good photos that it refuses."""
        told = [
            f"{limit.reason} {'above' if limit.reason == 'too_noisy' else 'below'} {limit.limit:.3g} "
            f"({limit.refused} of {self.photos} photos refused)"
            for limit in self.limits
        ]
        return ", ".join(told) or "none needed"


class TailThreshold(_Frozen):
    """A threshold for searches, which compare a photo with many people: ``low`` and ``high`` are the 95 %
    interval of the FMR. Measured with the strictest entry of ``calibration``, on the same comparisons."""

    fmr: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=-1, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class GroupRate(_Frozen):
    """The false match ``rate`` within a group at the card's ``threshold`` of ``fmr``, between ``low`` and
    ``high`` (95 %)."""

    fmr: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=-1, le=1)
    rate: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class MeasuredGroup(_Frozen):
    """A group of similar people: its false match rates at the thresholds of the card's calibration, as far as
    they were measured. ``pairs`` of its ``people`` were compared."""

    name: str
    people: int = Field(ge=2)
    pairs: int = Field(ge=1)
    rates: tuple[GroupRate, ...] = ()


class SimilarThreshold(_Frozen):
    """The threshold at which the false match rate is ``fmr`` in the measured group in which it is highest,
    ``group``. The rate at it is at least ``low`` among varied people, and at most ``high`` within each group
    with enough matches to show it (bounds of 95 % intervals)."""

    fmr: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=-1, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    group: str
    people: int = Field(ge=2)
    pairs: int = Field(ge=1)


class SimilarPeople(_Frozen):
    """Thresholds for people who are more similar than those of ``calibration``, measured within ``groups``:
    searches use them where they depend on the card, since the people of a small gallery may be similar."""

    thresholds: tuple[SimilarThreshold, ...] = Field(min_length=1)
    groups: tuple[MeasuredGroup, ...] = Field(min_length=2)
    data: str
    sample: Sample
    detector: str
    aligner: str
    date: str


class Card(_Frozen):
    """The contract of a model. ``digest`` and ``space`` are written by `write_card`."""

    name: str
    digest: str = ""
    space: str = ""
    architecture: str = "unknown"
    input: InputSpec
    crop: CropSpec
    embedding: EmbeddingSpec
    teacher: Origin | None = None
    compatible_with: tuple[str, ...] = ()
    provenance: Provenance = Provenance()
    licence: str = "unknown"
    metrics: dict[str, float] = Field(default_factory=dict)
    calibration: tuple[Calibration, ...] = ()
    #: for rates below those of ``calibration``, as far as there are enough comparisons
    upper_tail: tuple[TailThreshold, ...] = ()
    score_map: ScoreMap | None = None
    photo_limits: PhotoLimits | None = None
    similar: SimilarPeople | None = None

    def at(self, fmr: float | None = None) -> Calibration | None:
        """The calibration at ``fmr``, or the strictest one; `None` if there is none."""
        entries = self.calibration
        if fmr is not None:
            entries = tuple(c for c in entries if abs(c.fmr - fmr) <= 1e-9 + 1e-6 * fmr)
        return min(entries, key=lambda c: c.fmr, default=None)

    def with_digest(self, digest: str) -> Card:
        """This card pinned to the network with ``digest``."""
        contract = {
            "digest": digest,
            "input": self.input.model_dump(mode="json"),
            "crop": self.crop.model_dump(mode="json"),
            "embedding": self.embedding.model_dump(mode="json"),
        }
        space = hashlib.sha256(canonical_json(contract)).hexdigest()
        return self.model_copy(update={"digest": digest, "space": space})


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    key = ".".join(str(p) for p in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{key}: no such key"
    return f"{key}: {fault['msg'].removeprefix('Value error, ')}"
