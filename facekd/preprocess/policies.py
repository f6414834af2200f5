"""What to do with several faces in a photo, by name; apart, since command lines are made without numpy."""

from __future__ import annotations

#: what `facekd.preprocess.choose` takes
POLICIES = ("best", "largest", "central", "dominant", "all", "skip")
#: those that leave one face, or none
ONE_FACE = tuple(policy for policy in POLICIES if policy != "all")
