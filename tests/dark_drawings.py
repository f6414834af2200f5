"""The picture for a dark screen against the same drawing drawn in dark colours."""

from __future__ import annotations

import io
import re

import matplotlib as mpl

from facekd.reporting.drawing import DARK, Drawing


def check_dark(drawing: Drawing) -> None:
    drawn = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "facekd"}):
        drawing.figure(DARK).savefig(
            drawn, format="svg", transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )  # fmt: skip
    dark = drawing.picture().dark
    assert dark is not None
    assert _numbered(dark) == _numbered(drawn.getvalue()), drawing.name


def _numbered(svg: bytes) -> bytes:
    """``svg`` with numbers in place of the names of markers and clip paths, which depend on colours."""
    names: dict[bytes, bytes] = {}
    return re.sub(
        rb'(?<=["#])[a-z][0-9a-f]{10}(?=[")])',
        lambda found: names.setdefault(found[0], b"name %d" % len(names)),
        svg,
    )
