"""How much of a run on an accelerator is over, by time or by images, and when to save and to say so."""

from __future__ import annotations

import math
import time

from accelerator_recipe import Options

#: seconds between two lines about the loss
_SAY_EVERY = 5.0


class Clock:
    """How much of the plan is over, by time or by images, whichever is further."""

    def __init__(self, options: Options, images: int, keeping: float) -> None:
        self._options, self._first = options, images
        self._began = self._saved = time.perf_counter()
        self._said = -math.inf
        # the last checkpoint is written within the time too, and may take longer than the first
        self._end = options.since + options.seconds - 2 * keeping
        self.fallen, self.share_of_step = False, 0.0
        self._before = -options.batch / options.images if options.images else 0.0

    def progress(self, images: int) -> float:
        """The share of the plan that is over after ``images`` in all."""
        total = max(self._end - self._began, 1e-9)
        share = self.trained() / total
        if self._options.images is not None:
            share = max(share, (images - self._first) / self._options.images)
        self.share_of_step, self._before = share - self._before, share
        return share

    def falls(self, stable: bool) -> bool:
        """Whether the rate begins to fall here."""
        begins = not stable and not self.fallen
        self.fallen = self.fallen or begins
        return begins

    def to_save(self) -> bool:
        return time.perf_counter() - self._saved >= self._options.save_every

    def saved(self) -> None:
        self._saved = time.perf_counter()

    def to_say(self) -> bool:
        """Whether it is time for a line; then it counts as printed."""
        now = time.perf_counter()
        due = now - self._said >= _SAY_EVERY
        self._said = now if due else self._said
        return due

    def left(self) -> float:
        """Seconds until the plan is over."""
        return max(0.0, self._end - time.perf_counter())

    def passed(self) -> float:
        """Seconds since the tool was started."""
        return time.perf_counter() - self._options.since

    def trained(self) -> float:
        """Seconds since the first step, evaluations counted."""
        return time.perf_counter() - self._began

    def images_per_second(self, images: int) -> float:
        return (images - self._first) / max(self.trained(), 1e-9)
