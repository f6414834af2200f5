"""The detection error trade-off: both error rates on normal-deviate axes.

Martin, Doddington, Kamm, Ordowski and Przybocki, "The DET curve in assessment of detection task
performance", Eurospeech 1997. Scores that are normal in both classes give a straight line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facekd.errors import UsageError
from facekd.verification.metrics import Roc

#: the usual tick labels of such axes
DET_RATES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Det:
    """The points of a DET curve, in order of descending FMR: the rates ``fmr`` and ``fnmr`` [G] and their
    positions ``x`` and ``y`` [G] on normal-deviate axes. Points with a rate of 0 or 1 are at infinity and
    left out, so a model without errors has none."""

    fmr: Floats
    fnmr: Floats
    x: Floats
    y: Floats


def normal_deviate(rates: ArrayLike) -> Floats:
    """The positions of ``rates`` (any shape) on a normal-deviate axis: 0 for one half, -2.33 for 1 %,
    infinite for 0 and 1. Raises `UsageError` for values outside [0, 1]."""
    from scipy.special import ndtri

    array = np.asarray(rates, np.float64)
    if not ((array >= 0) & (array <= 1)).all():
        raise UsageError("a rate must be between 0 and 1")
    return np.asarray(ndtri(array), np.float64)


def det_of(curve: Roc) -> Det:
    """The DET curve of ``curve``."""
    inside = (curve.fmr > 0) & (curve.fmr < 1) & (curve.fnmr > 0) & (curve.fnmr < 1)
    fmr, fnmr = curve.fmr[inside], curve.fnmr[inside]
    return Det(fmr, fnmr, normal_deviate(fmr), normal_deviate(fnmr))
