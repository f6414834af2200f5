"""Policies for several faces in a photo, by name; separate, because command lines are built without numpy."""

from __future__ import annotations

#: the policies of `facekd.preprocess.choose`
POLICIES = ("best", "largest", "central", "dominant", "all", "skip")
#: the policies that choose at most one face
ONE_FACE = tuple(policy for policy in POLICIES if policy != "all")
