"""Check every part of an installation, and try it once.

The checks are independent: a failure is a line of the answer and does not end the others.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from functools import partial

from facekd.verification.results import Check, Checkup
from facekd.workflows.doctor_installation import (
    look_at_devices,
    look_at_extras,
    look_at_folders,
    look_at_libraries,
)
from facekd.workflows.doctor_look import DoctorSettings, Look, taken
from facekd.workflows.doctor_models import look_at_detectors, look_at_gallery, look_at_models
from facekd.workflows.doctor_self_test import look_at_drawn_people
from facekd.workflows.doctor_settings import look_at_settings

#: the sections of the answer, in order
_LOOKS: tuple[tuple[str, Look], ...] = (
    ("libraries", look_at_libraries),
    ("settings", look_at_settings),
    ("devices", look_at_devices),
    ("detectors", look_at_detectors),
    ("models", look_at_models),
    ("folders", look_at_folders),
    ("gallery", look_at_gallery),
    ("optional packages", look_at_extras),
    ("self-test", look_at_drawn_people),
)


def check_up(settings: DoctorSettings) -> Checkup:
    """Run all checks. Nothing is raised: errors are among the lines."""
    checks: list[Check] = []
    # libraries that cannot be loaded print advice, and stdout must hold the answer only
    with redirect_stdout(sys.stderr):
        for section, look in _LOOKS:
            checks += taken(section, section, partial(look, settings))
    return Checkup(tuple(checks))
