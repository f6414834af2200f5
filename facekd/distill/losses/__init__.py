"""Losses, one per file, found by name."""

from facekd.distill.losses.base import (
    Classes,
    Example,
    Loss,
    Maps,
    Setting,
    Terms,
    check_settings,
    loss_class,
    loss_names,
    register_loss,
    unfit_settings,
)

__all__ = [
    "Classes",
    "Example",
    "Loss",
    "Maps",
    "Setting",
    "Terms",
    "check_settings",
    "loss_class",
    "loss_names",
    "register_loss",
    "unfit_settings",
]
