"""The layout of a face: a person's parameters converted into lengths.

Head units: half the height of the average head is 1. x grows to the right of the photo, y upwards
from the line of the eyes (about the middle of the head), z towards the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

from facekd.samples.identity import Person


@dataclass(frozen=True)
class Layout:
    """Lengths in head units. ``*_y`` are heights, ``*_x`` distances from the middle."""

    eye_x: float
    eye_y: float
    eye_half: float
    eye_open: float
    eye_tilt: float
    brow_y: float
    brow_inner: float
    brow_outer: float
    nose_y: float
    nose_half: float
    mouth_y: float
    mouth_half: float
    upper_lip: float
    lower_lip: float
    hairline_y: float


def layout(p: Person) -> Layout:
    """The lengths of ``p``: anatomy's averages (eye distance 63 mm on a head of 230 mm, and so
    on) with deviations a little larger than real ones, so that synthetic people can be told apart."""
    eye_x = 0.272 + 0.020 * p.eye_spacing
    eye_y = 0.0 + 0.022 * p.eye_height
    eye_half = 0.138 + 0.011 * p.eye_size
    brow_y = eye_y + 0.175 + 0.022 * p.brow_height
    nose_y = -0.42 - 0.038 * p.nose_length
    mouth_y = nose_y - 0.215 - 0.026 * p.mouth_height
    return Layout(
        eye_x=eye_x,
        eye_y=eye_y,
        eye_half=eye_half,
        eye_open=0.40 + 0.06 * p.eye_opening,
        eye_tilt=0.035 + 0.055 * p.eye_tilt,
        brow_y=brow_y,
        brow_inner=max(0.05, 0.115 + 0.022 * p.brow_gap),
        brow_outer=eye_x + eye_half + 0.045,
        nose_y=nose_y,
        nose_half=0.150 + 0.019 * p.nose_width,
        mouth_y=mouth_y,
        mouth_half=0.222 + 0.022 * p.mouth_width,
        upper_lip=max(0.018, 0.047 + 0.012 * p.upper_lip),
        lower_lip=max(0.025, 0.062 + 0.014 * p.lower_lip),
        hairline_y=0.63 + 0.05 * p.hairline,
    )
