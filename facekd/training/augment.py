"""Augmentation as a pure function: the same crop, key and settings always give the same view.

A teacher can therefore label a view today and a student see it tomorrow, in another process, without
the pixels being stored. All changes are small relative to the template, since a face recogniser only
ever sees aligned crops.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from facekd.card import canonical_json

Pixels = NDArray[np.uint8]
Probability = Field(0.0, ge=0, le=1)
Always = Field(1.0, ge=0, le=1)


class Augmentation(BaseModel):
    """The changes made to a crop. Lengths are pixels of a 112-pixel crop, angles degrees."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: the largest shift in either direction, in pixels
    shift: float = Field(0.0, ge=0, le=20)
    #: the largest rotation, in degrees
    rotate: float = Field(0.0, ge=0, le=45)
    #: the largest change of size, as a share
    scale: float = Field(0.0, ge=0, lt=0.5)
    #: the probability of shift, rotation and change of size, the three at once
    p_move: float = Always
    #: brightness, contrast and saturation are multiplied by factors from ``1 - colour`` to ``1 + colour``
    colour: float = Field(0.0, ge=0, lt=1)
    #: the probability of the change of brightness, contrast and saturation
    p_colour: float = Always
    #: the probability of a view without colour
    p_grey: float = Probability
    #: the probability of a view that is reduced and enlarged again
    p_low_resolution: float = Probability
    #: the smallest side that such a view is reduced to, in pixels
    low_resolution: int = Field(28, ge=8, le=112)
    #: the probability of a Gaussian blur with a sigma of 0.5 to 2 pixels
    p_blur: float = Probability
    #: the probability of JPEG compression at quality 25 to 85
    p_jpeg: float = Probability
    #: the probability of a rectangle in one colour over 0.15 to 0.4 of either side
    p_erase: float = Probability
    #: the probability of less light: values times a factor between 1 and ``dark``, uniform on a log scale
    p_dark: float = Probability
    #: the smallest such factor
    dark: float = Field(0.1, gt=0, lt=1)
    #: the probability of normal noise, independent in each value
    p_noise: float = Probability
    #: the largest standard deviation of the noise, in grey levels
    noise: float = Field(30.0, gt=0, le=128)

    def view(self, crop: Pixels, key: Sequence[int]) -> Pixels:
        """View ``key`` (seed, crop number, view number) of ``crop``, uint8 [S, S, 3], the same shape."""
        rng = np.random.default_rng(tuple(key))
        moved = coloured = True
        if self.p_move < 1 or self.p_colour < 1:
            # from a separate random stream, which leaves the other draws unchanged
            moved, coloured = rng.spawn(1)[0].random(2) < (self.p_move, self.p_colour)
        out = self._move(crop, rng, moved)
        out = self._light(out, rng, coloured)
        out = self._degrade(out, rng)
        out = self._erase(out, rng) if rng.random() < self.p_erase else out
        return self._starve(out, rng)

    def seed_of(self, seed: int) -> int:
        """``seed``, or 0 if views are the crops themselves and thus the same for every seed."""
        return 0 if self == Augmentation() else seed

    @property
    def digest(self) -> str:
        """SHA-256 of the settings that differ from their defaults, with which nothing is changed: adding a
        setting keeps the views of old recipes, and with them their cached targets."""
        stated = self.model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(canonical_json(stated)).hexdigest()

    def _move(self, crop: Pixels, rng: np.random.Generator, moved: bool) -> Pixels:
        import cv2

        angle, zoom, dx, dy = rng.uniform(-1, 1, 4) * (self.rotate, self.scale, self.shift, self.shift)
        if not moved or not (self.rotate or self.scale or self.shift):
            return crop
        side = crop.shape[0]
        unit = side / 112
        matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, 1 + zoom)
        matrix[:, 2] += (dx * unit, dy * unit)
        return np.asarray(cv2.warpAffine(crop, matrix, (side, side), flags=cv2.INTER_LINEAR), np.uint8)

    def _light(self, crop: Pixels, rng: np.random.Generator, coloured: bool) -> Pixels:
        colour = self.colour if coloured else 0.0
        brightness, contrast, saturation = 1 + rng.uniform(-1, 1, 3) * colour
        grey = rng.random() < self.p_grey
        if not (colour or grey):
            return crop
        import cv2

        luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
        out = cv2.addWeighted(
            crop, 0.0 if grey else saturation, cv2.merge([luma] * 3), 1.0 if grey else 1 - saturation, 0
        )
        offset = float(luma.mean()) * (1 - contrast) * brightness
        return np.asarray(
            cv2.convertScaleAbs(out, alpha=contrast * brightness, beta=max(offset, 0.0)), np.uint8
        )

    def _degrade(self, crop: Pixels, rng: np.random.Generator) -> Pixels:
        import cv2

        side = crop.shape[0]
        low, blur, jpeg = rng.random(3) < (self.p_low_resolution, self.p_blur, self.p_jpeg)
        small, sigma, quality = rng.uniform(0, 1, 3)
        out: Any = crop
        if low:
            least = self.low_resolution * side / 112
            reduced = max(1, round(least + small * (side * 0.75 - least)))
            out = cv2.resize(out, (reduced, reduced), interpolation=cv2.INTER_AREA)
            out = cv2.resize(out, (side, side), interpolation=cv2.INTER_LINEAR)
        if blur:
            out = cv2.GaussianBlur(out, (0, 0), 0.5 + 1.5 * sigma)
        if jpeg:
            _, packed = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(25 + 60 * quality)])
            out = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        return np.asarray(out, np.uint8)

    def _erase(self, crop: Pixels, rng: np.random.Generator) -> Pixels:
        side = crop.shape[0]
        height, width = (rng.uniform(0.15, 0.4, 2) * side).astype(int)
        top, left = rng.integers(0, side - height), rng.integers(0, side - width)
        out = crop.copy()
        out[top : top + height, left : left + width] = rng.integers(0, 256, 3)
        return out

    def _starve(self, crop: Pixels, rng: np.random.Generator) -> Pixels:
        """Low light, and the noise that comes with it."""
        dark, noisy = rng.random(2) < (self.p_dark, self.p_noise)
        depth, strength = rng.uniform(0, 1, 2)
        if not (dark or noisy):
            return crop
        values = crop * np.float32(self.dark**depth if dark else 1)
        if noisy:
            values += rng.standard_normal(crop.shape, np.float32) * np.float32(self.noise * strength)
        return np.asarray(values.round().clip(0, 255), np.uint8)
