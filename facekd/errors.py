"""Every error a user can meet. Each class knows the exit code that the command line ends with.

An error states its cause and, where known, how to fix it (``fix``). Code outside the command
line raises these and never exits; anything that is not a `FacekdError` is a bug and ends with 70.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes, the same on every command."""

    DONE = 0
    DIFFERENT = 1
    USAGE = 2
    CANNOT_SAY = 3
    MISFIT = 4
    IO = 5
    INTERNAL = 70
    INTERRUPTED = 130
    TERMINATED = 143


class FacekdError(Exception):
    """A failure with a cause and a fix, both written for the person at the shell."""

    exit_code: Exit = Exit.INTERNAL
    #: one word, for programs to read
    reason: str = "error"
    #: the photo concerned, where the caller needs to know which of several it is
    photo: str | None = None

    def __init__(self, cause: str, fix: str | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.cause}\n{self.fix}" if self.fix else self.cause


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


class UsageError(FacekdError):
    """The call is wrong as it was made; also raised when no threshold is known."""

    exit_code = Exit.USAGE
    reason = "usage"


class RecipeError(UsageError):
    """A recipe is incomplete or wrong; the message lists every fault at once."""

    reason = "recipe"


class NoCard(UsageError):
    """A model has no card that states its crops, and the answer would rest on a guess."""

    reason = "no_card"


class ImplausibleReading(UsageError):
    """Read as its card states, a model gives all people similar embeddings."""

    reason = "implausible_reading"


class NoKey(UsageError):
    """A gallery is encrypted, and no key was given."""

    reason = "no_key"


class DeviceError(UsageError):
    """The requested device is not available."""

    reason = "device"


class NotFound(FacekdError):
    """Nobody with that name is enrolled. Not `DIFFERENT`, which is a decision about two faces."""

    exit_code = Exit.USAGE
    reason = "unknown_person"


class CannotSay(FacekdError):
    """No decision can be made from this input."""

    exit_code = Exit.CANNOT_SAY
    reason = "cannot_say"


class NoFace(CannotSay):
    reason = "no_face"


class NotThisPerson(CannotSay):
    """Photos given as one person's do not look like the same person."""

    reason = "not_this_person"


class TooSmall(CannotSay):
    reason = "too_small"


class SeveralFaces(CannotSay):
    reason = "several_faces"


class Turned(CannotSay):
    """The face is turned sideways, and was not found again in the photo rotated upright."""

    reason = "turned"


class LowQuality(CannotSay):
    """The photo is outside the quality limits that the model's calibration found."""

    reason = "low_quality"


class TooDark(LowQuality):
    reason = "too_dark"


class TooBlurred(LowQuality):
    reason = "too_blurred"


class TooNoisy(LowQuality):
    reason = "too_noisy"


class Misfit(FacekdError):
    """Two things that must share a space do not: model and gallery, or two models."""

    exit_code = Exit.MISFIT
    reason = "misfit"


class InputOutput(FacekdError):
    """Reading or writing failed: a file, the disk, the database."""

    exit_code = Exit.IO
    reason = "io"


class Unreadable(InputOutput):
    """A file is not what it should be: not an image, truncated, empty, not a model."""

    reason = "unreadable"


class WrongKey(InputOutput):
    """A gallery is encrypted with a key other than the one given."""

    reason = "wrong_key"


class TooLarge(InputOutput):
    """A file needs more memory than the limit; it was refused before decoding."""

    reason = "too_large"
