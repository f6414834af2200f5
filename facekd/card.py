"""The card: what a model wants, what it gives, where it comes from, which thresholds it has.

The card travels inside the ONNX file, as JSON under the metadata key ``facekd.card``. Two values
are derived and never chosen:

* ``digest``: SHA-256 of the network itself (weights, operators, attributes and wiring), without
  names, doc strings or metadata, so that the same network exported twice has the same digest.
* ``space``: SHA-256 of the digest and the canonical JSON of ``input``, ``crop`` and
  ``embedding``. Two embeddings can be compared exactly when their spaces are equal.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from facekd.errors import InputOutput, Unreadable, UsageError

if TYPE_CHECKING:
    import onnx

METADATA_KEY = "facekd.card"

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


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LandmarkCrop(_Frozen):
    """A crop cut by a similarity transform of five landmarks onto a template."""

    kind: Literal["landmarks"] = "landmarks"
    size: int = Field(default=112, ge=16, le=1024)
    #: five points in pixels of the crop
    template: tuple[Point, Point, Point, Point, Point] = ARCFACE_TEMPLATE  # type: ignore[assignment]


#: what aligned packs hold, and what faults of a photo are measured on whatever crop the model takes
ARCFACE_CROP = LandmarkCrop()


class BoxCrop(_Frozen):
    """A crop cut around the detector's box, as facenet-pytorch does: ``margin`` is in pixels of
    the finished crop, split over both sides."""

    kind: Literal["box"] = "box"
    size: int = Field(default=160, ge=16, le=1024)
    margin: int = Field(default=0, ge=0)


CropSpec = Annotated[LandmarkCrop | BoxCrop, Field(discriminator="kind")]


class InputSpec(_Frozen):
    """What the network is fed: ``(pixel - mean) / std``, channels in the order of ``colour``."""

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


class Provenance(_Frozen):
    data: str = "unknown"
    recipe: str = ""
    seed: int | None = None
    date: str = ""
    images_seen: int | None = None


class Counts(_Frozen):
    mated: int = Field(ge=0)
    non_mated: int = Field(ge=0)
    false_matches: int = Field(ge=0)
    false_non_matches: int = Field(ge=0)
    failures_to_acquire: int = Field(default=0, ge=0)


class Sample(_Frozen):
    """The photos of a calibration. ``digest`` is the SHA-256 over their names and contents, the
    failed ones too; ``photos`` counts those that were to be compared."""

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
    [K]) and constant outside of them."""

    kind: Literal["isotonic"] = "isotonic"
    scores: tuple[float, ...] = Field(min_length=1)
    probabilities: tuple[Annotated[float, Field(gt=0, lt=1)], ...]

    @model_validator(mode="after")
    def _rising(self) -> IsotonicCurve:
        if len(self.scores) != len(self.probabilities):
            raise ValueError("a knot is a score and a probability")
        knots = (self.scores, self.probabilities)
        if any(list(values) != sorted(values) for values in knots):
            raise ValueError("scores and probabilities must rise")
        return self


Curve = Annotated[LogisticCurve | IsotonicCurve, Field(discriminator="kind")]


class ScoreMap(_Frozen):
    """From a score to the probability that two photos show one person.

    ``cllr`` is the cost of its log-likelihood ratios in bits on persons that it was not fitted on
    (0 is perfect, 1 says nothing), ``min_cllr`` what the best rising curve would reach on the same
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
    """Photos whose measure lies beyond ``limit`` get no answer, for ``reason``
    (`facekd.preprocess.FAULTS` says how each is measured). ``refused`` of the sample's photos lie there."""

    reason: Literal["too_dark", "too_blurred", "too_noisy"]
    limit: float = Field(ge=0, allow_inf_nan=False)
    refused: int = Field(ge=0)


class PhotoLimits(_Frozen):
    """How poor a photo may be before the score at ``threshold``, that of ``fmr``, misleads: found by
    making good crops worse. ``photos`` of the ``sample`` were tried. A reason without a limit did no harm
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
        """For a line: each limit, and how many good photos it costs."""
        told = [
            f"{limit.reason} {'above' if limit.reason == 'too_noisy' else 'below'} {limit.limit:.3g} "
            f"({limit.refused} of {self.photos} photos lie there)"
            for limit in self.limits
        ]
        return ", ".join(told) or "none needed"


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
    score_map: ScoreMap | None = None
    photo_limits: PhotoLimits | None = None

    def at(self, fmr: float | None = None) -> Calibration | None:
        """The calibration at ``fmr``, or the strictest one; `None` if there is none."""
        entries = self.calibration
        if fmr is not None:
            entries = tuple(c for c in entries if abs(c.fmr - fmr) <= 1e-9 + 1e-6 * fmr)
        return min(entries, key=lambda c: c.fmr, default=None)

    def with_digest(self, digest: str) -> Card:
        """This card pinned to a network."""
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


def network_digest(model: onnx.ModelProto) -> str:
    """SHA-256 of what the network computes, whatever its exporter called the pieces.

    Values are renumbered in the order of their first use; weights enter by content; graph, node
    and value names, doc strings and all metadata stay out. Attributes are sorted by name.
    """
    from onnx import numpy_helper

    graph = model.graph
    sha = hashlib.sha256()
    weights: dict[str, bytes] = {}
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        head = f"{array.dtype}{array.shape}".encode()
        weights[tensor.name] = hashlib.sha256(head + array.tobytes()).digest()
    numbers: dict[str, int] = {}

    def number(name: str) -> bytes:
        if name == "":
            return b"-"
        if name in weights:
            return weights[name]
        return str(numbers.setdefault(name, len(numbers))).encode()

    for value in graph.input:
        if value.name not in weights:
            sha.update(b"in" + number(value.name) + str(value.type.tensor_type.elem_type).encode())
    for node in graph.node:
        sha.update(f"|{node.domain}:{node.op_type}".encode())
        for name in node.input:
            sha.update(b"," + number(name))
        for name in node.output:
            sha.update(b";" + number(name))
        for attribute in sorted(node.attribute, key=lambda a: a.name):
            sha.update(_attribute_bytes(attribute))
    for value in graph.output:
        sha.update(b"out" + number(value.name))
    sha.update(canonical_json(sorted((o.domain, o.version) for o in model.opset_import)))
    return sha.hexdigest()


def _attribute_bytes(attribute: onnx.AttributeProto) -> bytes:
    from onnx import AttributeProto, numpy_helper

    head = f"@{attribute.name}:{attribute.type}".encode()
    if attribute.type == AttributeProto.TENSOR:
        array = numpy_helper.to_array(attribute.t)
        return head + f"{array.dtype}{array.shape}".encode() + array.tobytes()
    copy = AttributeProto()
    copy.CopyFrom(attribute)
    copy.doc_string = ""
    return head + copy.SerializeToString(deterministic=True)


def load_onnx(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """Read an ONNX file, or say in one line what is wrong with it."""
    import onnx

    path = Path(path)
    if not path.is_file():
        raise InputOutput(f"{path}: no such model file")
    try:
        model = onnx.load(str(path), load_external_data=False)
        onnx.checker.check_model(model)
    except Exception as error:
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise Unreadable(f"{path}: not a usable ONNX model ({first[0]})") from error
    return model


def card_of(model: onnx.ModelProto, name: str) -> tuple[Card, bool]:
    """The card in ``model`` and whether it was really there.

    Without one, insightface's convention is taken: 112 x 112 RGB on the ArcFace template,
    (x - 127.5) / 127.5, or raw pixels where the graph itself begins with Sub and Mul. A card
    whose digest is not that of the network it came with is refused.
    """
    digest = network_digest(model)
    raw = next((p.value for p in model.metadata_props if p.key == METADATA_KEY), None)
    if raw is None:
        return _insightface_card(model, name).with_digest(digest), False
    try:
        card = Card.model_validate_json(raw)
    except ValidationError as error:
        raise Unreadable(f"{name}: its card cannot be read: {_first(error)}") from error
    if card.digest != digest or card.with_digest(digest).space != card.space:
        raise Unreadable(
            f"{name}: the card does not belong to this network",
            "The file was changed after its card was written. Write a new card with "
            "'facekd card FILE --set ...'.",
        )
    return card, True


def read_card(path: str | os.PathLike[str]) -> tuple[Card, bool]:
    """`card_of` for a file."""
    return card_of(load_onnx(path), Path(path).stem)


def write_card(model: onnx.ModelProto, card: Card, path: str | os.PathLike[str]) -> Card:
    """Write ``model`` with ``card`` to ``path`` (beside, then renamed); return the pinned card."""
    pinned = card.with_digest(network_digest(model))
    kept = [p for p in model.metadata_props if p.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, pinned.model_dump_json()
    write_atomically(path, model.SerializeToString(deterministic=True))
    return pinned


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file beside ``path``, fsync it, rename it: readers see the old or the new file."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            Path(temporary).chmod(0o666 & ~umask)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputOutput(f"{path}: cannot be written ({error.strerror or error})") from error


def _insightface_card(model: onnx.ModelProto, name: str) -> Card:
    """What insightface assumes of a recognition model (its model zoo's ArcFaceONNX)."""
    inputs = [v for v in model.graph.input if v.name not in _weight_names(model)]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise Unreadable(
            f"{name}: an embedding model has one input and one output, this has "
            f"{len(inputs)} and {len(model.graph.output)}"
        )
    shape = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
    if len(shape) != 4 or shape[1] not in (0, 3):
        raise Unreadable(f"{name}: input shape {shape} is not [N, 3, S, S]")
    size = shape[2] or 112
    scaled_inside = [n.op_type for n in model.graph.node[:2]] == ["Sub", "Mul"]
    mean, std = (0.0, 1.0) if scaled_inside else (127.5, 127.5)
    scale = size / 112
    template = tuple((round(x * scale, 4), round(y * scale, 4)) for x, y in ARCFACE_TEMPLATE)
    output = model.graph.output[0].type.tensor_type.shape.dim
    dim = output[-1].dim_value if len(output) == 2 else 0
    return Card(
        name=name,
        input=InputSpec(size=size, colour="rgb", mean=mean, std=std),
        crop=LandmarkCrop(size=size, template=template),  # type: ignore[arg-type]
        embedding=EmbeddingSpec(dim=dim or _run_for_dim(model, size)),
    )


def _run_for_dim(model: onnx.ModelProto, size: int) -> int:
    """The embedding's length of a model that does not state it, found by one run on black."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    black = np.zeros((1, 3, size, size), np.float32)
    return int(session.run(None, {session.get_inputs()[0].name: black})[0].shape[-1])


def _weight_names(model: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


def change_card(card: Card, settings: list[str]) -> Card:
    """Apply ``key=value`` settings (dotted keys, JSON or bare-word values) to a card.

    Thresholds, score map and photo limits hold for the space that they were measured in: where the
    settings change it, the card loses them. Raises `UsageError` for an unknown key, a value of the wrong
    kind, or a derived key.
    """
    data = card.model_dump(mode="json")
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise UsageError(f"--set {setting}: write KEY=VALUE", "Example: input.colour=bgr")
        if key in ("digest", "space"):
            raise UsageError(f"--set {key}: it is derived from the network, not chosen")
        try:
            value: Any = json.loads(text)
        except json.JSONDecodeError:
            value = text
        place: Any = data
        *path, last = key.split(".")
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise UsageError(f"--set {key}: no such key in a card")
        place[last] = value
    try:
        changed = Card.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"the card would not be valid: {_first(error)}") from error
    if changed.with_digest(card.digest).space == card.with_digest(card.digest).space:
        return changed
    return changed.model_copy(update={"calibration": (), "score_map": None, "photo_limits": None})


def _first(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(str(p) for p in fault['loc'])}: {fault['msg']}"
