"""Degradations of crops, one fault at a time.

Each is a pure function of a crop, uint8 RGB [S, S, 3] cut to the ArcFace template, and of a seed, which
affects only noise and the direction of a rotation. Strengths are stated for crops of 112 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from facekd.card import ARCFACE_TEMPLATE
from facekd.geometry import Pixels

#: the side, in pixels, of the crops for which strengths are stated
SIDE = 112
_MASK_COLOUR = (140, 175, 205)
_GLASSES_COLOUR = (15, 15, 15)
#: half the width and height of a lens, in pixels of a 112-pixel crop
_LENS = (16, 11)


@dataclass(frozen=True)
class Degradation:
    """``apply(crop, seed)`` degrades the crop; ``kind`` and ``level`` name the degradation."""

    kind: str
    level: str
    apply: Callable[[Pixels, int], Pixels]

    @property
    def name(self) -> str:
        return f"{self.kind}, {self.level}"


def as_given(crop: Pixels, seed: int = 0) -> Pixels:
    """The unchanged crop."""
    return crop


def reduced(crop: Pixels, side: int) -> Pixels:
    """Reduced by area to ``side`` pixels, then enlarged bilinearly, like a small face."""
    import cv2

    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


def blurred(crop: Pixels, sigma: float) -> Pixels:
    """Blurred by a Gaussian of ``sigma`` pixels; the crop is mirrored at its border."""
    import cv2

    return cv2.GaussianBlur(crop, (0, 0), sigma)  # type: ignore[return-value]


def recompressed(crop: Pixels, quality: int) -> Pixels:
    """Compressed as JPEG of ``quality`` (libjpeg's scale, 1 to 100), with colour at half resolution."""
    import cv2

    # the codec expects BGR
    file = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type, return-value]


def noisy(crop: Pixels, sigma: float, seed: int) -> Pixels:
    """With Gaussian noise of standard deviation ``sigma`` in grey levels, independent in each value."""
    noise = np.random.default_rng(seed).normal(0, sigma, crop.shape)
    return np.clip(np.rint(crop + noise), 0, 255).astype(np.uint8)


def darkened(crop: Pixels, factor: float) -> Pixels:
    """Each value multiplied by ``factor``, and rounded to the remaining levels."""
    return np.rint(crop * factor).astype(np.uint8)


def masked(crop: Pixels) -> Pixels:
    """The lower third covered in one colour, as by a mask over mouth and chin."""
    out = crop.copy()
    out[2 * len(crop) // 3 :] = _MASK_COLOUR
    return out


def with_sunglasses(crop: Pixels) -> Pixels:
    """Two dark lenses over the eyes of the ArcFace template, with a bridge between them."""
    import cv2

    scale = len(crop) / SIDE
    left, right = (tuple(round(v * scale) for v in point) for point in ARCFACE_TEMPLATE[:2])
    lens = (round(_LENS[0] * scale), round(_LENS[1] * scale))
    out = crop.copy()
    for centre in (left, right):
        cv2.ellipse(out, centre, lens, 0, 0, 360, _GLASSES_COLOUR, cv2.FILLED)
    cv2.line(out, left, right, _GLASSES_COLOUR, max(1, round(4 * scale)))
    return out


def turned(crop: Pixels, degrees: float, seed: int) -> Pixels:
    """Rotated in the plane about its centre, clockwise for an even seed, otherwise counter-clockwise;
    bilinear, black outside."""
    import cv2

    side = len(crop)
    centre = ((side - 1) / 2, (side - 1) / 2)
    angle = -degrees if seed % 2 == 0 else degrees
    matrix = cv2.getRotationMatrix2D(centre, angle, 1)
    return cv2.warpAffine(crop, matrix, (side, side), flags=cv2.INTER_LINEAR)  # type: ignore[return-value]


CLEAN = Degradation("face size", f"{SIDE} pixels", as_given)

_SIZES = (56, 40, 28, 20, 14)
_BLURS = (1, 2, 3)
_QUALITIES = (30, 10, 5)
_NOISES = (10, 25, 50)
_DARK = (4, 8, 16)
_TURNS = (10, 20, 40)


def _kind(
    kind: str, level: str, strengths: Sequence[int], apply: Callable[[Pixels, int, int], Pixels]
) -> list[Degradation]:
    """One kind of degradation, ``apply(crop, strength, seed)``, at each of ``strengths``."""

    def at(strength: int) -> Degradation:
        return Degradation(kind, level.format(strength), lambda crop, seed: apply(crop, strength, seed))

    return [at(strength) for strength in strengths]


#: the degradations besides `CLEAN`; within a kind from mild to severe
DEGRADATIONS: tuple[Degradation, ...] = (
    *_kind("face size", "{} pixels", _SIZES, lambda crop, side, _: reduced(crop, side)),
    *_kind("blur", "sigma {} pixels", _BLURS, lambda crop, sigma, _: blurred(crop, sigma)),
    *_kind("JPEG", "quality {}", _QUALITIES, lambda crop, quality, _: recompressed(crop, quality)),
    *_kind("noise", "sigma {}", _NOISES, noisy),
    *_kind("darkness", "1/{}", _DARK, lambda crop, part, _: darkened(crop, 1 / part)),
    Degradation("occlusion", "mask", lambda crop, _: masked(crop)),
    Degradation("occlusion", "sunglasses", lambda crop, _: with_sunglasses(crop)),
    *_kind("rotation", "{} degrees", _TURNS, turned),
)
