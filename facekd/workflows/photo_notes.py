"""Notes about a photo, beside the answer."""

from __future__ import annotations

from facekd.workflows.recognizer import Recognised


def notes_of(photo: Recognised, rate: float | None, of: str = "FMR") -> list[str]:
    """Notes on which of several faces was used, and on faults with which the threshold's ``rate`` does not
    hold."""
    told = []
    if photo.faces > 1:
        left, top, right, bottom = (round(float(v)) for v in photo.face.box)
        told.append(f"{photo.photo}: {photo.faces} faces, took the one at {left},{top} to {right},{bottom}")
    holds = f"; {of} {rate:g} does not hold" if rate else ""
    return told + [f"{photo.photo}: {fault.cause}{holds}" for fault in photo.faults]
