"""The progress of a run on an accelerator, by time or by images, and when to save and to print a line."""

from __future__ import annotations

import math
import time

from accelerator_recipe import Options

#: seconds between two lines about the loss
_SAY_EVERY = 5.0


class Clock:
    """The progress of the plan, by time or by images, whichever is further."""

    def __init__(self, options: Options, images: int, keeping: float) -> None:
        self._options, self._first = options, images
        self._began = self._saved = time.perf_counter()
        self._said = -math.inf
        # writing the last checkpoint counts towards the time too, and may take longer than the first did
        self._end = options.since + options.seconds - 2 * keeping
        self.fallen, self.share_of_step = False, 0.0
        self._before = -options.batch / options.images if options.images else 0.0

    def progress(self, images: int) -> float:
        """The share of the plan that is done after ``images`` in total."""
        total = max(self._end - self._began, 1e-9)
        share = self.trained() / total
        if self._options.images is not None:
            share = max(share, (images - self._first) / self._options.images)
        self.share_of_step, self._before = share - self._before, share
        return share

    def falls(self, stable: bool) -> bool:
        """Whether the learning rate begins to fall at this step."""
        begins = not stable and not self.fallen
        self.fallen = self.fallen or begins
        return begins

    def to_save(self) -> bool:
        return time.perf_counter() - self._saved >= self._options.save_every

    def saved(self) -> None:
        self._saved = time.perf_counter()

    def to_say(self) -> bool:
        """Whether it is time to print a line; if so, that is recorded as done."""
        now = time.perf_counter()
        due = now - self._said >= _SAY_EVERY
        self._said = now if due else self._said
        return due

    def left(self) -> float:
        """Seconds left in the plan."""
        return max(0.0, self._end - time.perf_counter())

    def passed(self) -> float:
        """Seconds since the tool was started."""
        return time.perf_counter() - self._options.since

    def trained(self) -> float:
        """Seconds since the first step, including evaluations."""
        return time.perf_counter() - self._began

    def images_per_second(self, images: int) -> float:
        return (images - self._first) / max(self.trained(), 1e-9)
