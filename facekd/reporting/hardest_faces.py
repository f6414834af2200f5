"""The faces of the comparisons with a model's largest errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from facekd.verification.results import ShownPair

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def hardest_figure(shown: Sequence[ShownPair]) -> Figure:
    """The faces of ``shown``: mated comparisons in the upper row, non-mated ones in the lower, each with
    its score. Pairs without faces are left out."""
    from matplotlib.figure import Figure

    rows = [[s for s in shown if s.faces and s.pair.mated == mated] for mated in (True, False)]
    columns = max(1, *map(len, rows))
    figure = Figure(figsize=(1.9 * columns, 2.5), dpi=150, layout="constrained")
    grid = figure.subplots(2, columns, squeeze=False)
    for line, kind, pairs in zip(grid, ("mated", "non-mated"), rows, strict=True):
        for axes in line:
            axes.axis("off")
        for axes, told in zip(line, pairs, strict=False):
            axes.imshow(np.hstack(told.faces or ()))
            axes.set_title(f"{kind}, {told.pair.score:.2f}", fontsize="medium", pad=3)
    return figure
