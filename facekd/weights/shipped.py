"""The shipped student: one ONNX file with its card, the default model."""

from __future__ import annotations

from pathlib import Path

from facekd.errors import UsageError

#: the name of the file, which ends with the year and month in which training ended
_PATTERN = "facekd-student-*.onnx"


def shipped_model() -> Path | None:
    """The file of the shipped student; `None` if this installation has none."""
    return max(Path(__file__).parent.glob(_PATTERN), default=None)


def is_shipped(file: Path) -> bool:
    """Whether ``file``, by whatever path, is the shipped student."""
    shipped = shipped_model()
    return shipped is not None and file.exists() and file.samefile(shipped)


def refuse_to_change(file: Path) -> None:
    """Raise `UsageError` if ``file`` is the shipped student: everybody who uses this installation relies on
    its card, and the next version replaces it."""
    if is_shipped(file):
        raise UsageError(
            f"{file}: the shipped student belongs to the installation and is not changed",
            "Change a copy: --out mine.onnx writes one where the command has it, otherwise copy the file. "
            "Then name the copy with --model, FACEKD_MODEL or facekd.toml.",
        )
