"""The check of ``facekd.toml``: which file is in use, and what it sets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from facekd.files import settings_places
from facekd.verification.results import Check, Status
from facekd.workflows.doctor_look import DoctorSettings

if TYPE_CHECKING:
    from facekd.workflows.defaults import Defaults

#: what takes precedence over the file
_VARIABLES = {
    "model": "FACEKD_MODEL", "gallery": "FACEKD_GALLERY", "detector": "FACEKD_DETECTOR",
    "key_file": "FACEKD_GALLERY_KEY_FILE",
    "audit_reads": "FACEKD_AUDIT",
}  # fmt: skip


def look_at_settings(settings: DoctorSettings) -> Iterator[Check]:
    """The file in use and its settings; if there is none, where it is looked for."""
    from facekd.workflows.defaults import read_defaults

    found = read_defaults()
    if found is None:
        places = " and ".join(str(place) for place in settings_places())
        yield Check("settings", "facekd.toml", Status.OK, f"none; looked for {places}", values={"path": None})
    else:
        yield _told(found)


def _told(found: Defaults) -> Check:
    stated = found.stated()
    told = ", ".join(f"{name} {_written(value)}" for name, value in stated.items()) or "nothing"
    beaten = "".join(
        f"; {variable} takes precedence over its {name}"
        for name, variable in _VARIABLES.items()
        if name in stated and os.environ.get(variable)
    )
    values: dict[str, str | float | bool] = {"path": str(found.path)}
    values |= {
        name: value if isinstance(value, float | bool) else str(value) for name, value in stated.items()
    }
    return Check(
        "settings", "facekd.toml", Status.OK, f"{found.path} sets {told}{beaten}",
        values=values,
    )  # fmt: skip


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
