"""A template that no face fits into is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from facekd.card import ARCFACE_TEMPLATE, LandmarkCrop


def scaled(by: float, shift: float = 0.0) -> tuple[tuple[float, float], ...]:
    return tuple((x * by + shift, y * by + shift) for x, y in ARCFACE_TEMPLATE)


def test_templates_in_fractions_or_outside_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"0\.315 x 0\.365 pixels .* not in fractions of it"):
        LandmarkCrop(template=scaled(1 / 112))
    for template in (scaled(1, 60), scaled(1, -60)):
        with pytest.raises(ValidationError, match="five points in pixels, inside the crop of 112"):
            LandmarkCrop(template=template)
    with pytest.raises(ValidationError, match="less than 10% of a side"):
        LandmarkCrop(size=1024)  # the template of 112 pixels


@pytest.mark.parametrize(
    ("size", "by", "shift"), [(112, 1, 0), (128, 1, 8), (80, 0.7, 1), (64, 64 / 112, 0), (224, 1, 56)]
)
def test_templates_that_are_in_use_pass(size: int, by: float, shift: float) -> None:
    assert LandmarkCrop(size=size, template=scaled(by, shift)).size == size
