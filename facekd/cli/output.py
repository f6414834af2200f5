"""What goes to the terminal: answers to stdout, everything else to stderr."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import click

from facekd.json_text import json_text

#: seconds between two lines of progress without a terminal
_LINE_EVERY = 60.0
#: seconds between two updates of a bar that no thread draws
_DRAWN_EVERY = 0.1


class _Call:
    """The state of the running command."""

    #: whether its JSON document was printed
    answered = False
    #: whether progress and notes are suppressed
    quiet = False


def begin_call() -> None:
    """Reset the state at the start of a command: no answer yet, notes are printed."""
    _Call.answered = _Call.quiet = False


def has_answered() -> bool:
    """Whether stdout holds a whole document: a second one would make both unreadable."""
    return _Call.answered


def be_quiet() -> None:
    """Suppress progress and notes from now on."""
    _Call.quiet = True


def say(text: str) -> None:
    """Print a note on stderr: something that is neither the answer nor a failure."""
    if not _Call.quiet:
        say_failure(text)


def say_failure(text: str) -> None:
    """Print on stderr what went wrong, even with ``--quiet``."""
    click.echo(printable(text), err=True)


def say_without_card(model: object) -> None:
    """Print how a ``model`` without a card is read."""
    say(f"{model} has no card: read by insightface's convention (RGB, ArcFace template)")


def answer(text: str) -> None:
    """Print a line of the answer on stdout."""
    click.echo(printable(text))


def confirm(question: str) -> None:
    """Ask on the terminal, and abort unless the answer is yes. Without a terminal, raise a usage error."""
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask for confirmation on: add --yes.")
    click.confirm(printable(question), abort=True, err=True)


def printable(text: str) -> str:
    """``text`` with control characters, which a file's name may hold, written as escapes: a terminal would
    interpret them. Line breaks and tabs stay; bytes that are not valid UTF-8 are escaped too."""
    return "".join(char if _harmless(char) else char.encode("unicode_escape").decode() for char in text)


def _harmless(char: str) -> bool:
    return char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs")


def answer_json(document: Any, indent: int | None = 2) -> None:
    """Print one JSON document on stdout, always valid UTF-8; NaN and infinity become null.

    Its ``schema`` names the command and the version of its keys, to which others may be added. With
    ``indent`` `None` it is one line of a stream.
    """
    _Call.answered = indent is not None
    if isinstance(document, dict):
        document = {"schema": schema_name()} | document
    # bytes: stdout may have another encoding, as on Windows or by the locale
    click.echo(json_text(document, indent).encode("utf-8"))


def schema_name() -> str:
    """The schema of the running command, as ``verify/1`` or ``gallery-list/1``."""
    context = click.get_current_context(silent=True)
    words = context.command_path.split()[1:] if context else []
    return f"{'-'.join(words) or 'facekd'}/1"


@contextmanager
def progress(title: str, total: int | None, *, still: bool = False) -> Iterator[Callable[..., None]]:
    """Show the progress of long work on stderr; yields ``advance(done=1, note=None)``.

    A terminal gets a bar with the time left, anything else one line a minute, and ``--quiet`` nothing.
    Interrupted work reports how far it got. A bar that is ``still`` is drawn only while it is advanced: no
    thread takes time from what is being timed.
    """
    if _Call.quiet:
        yield lambda done=1, note=None: None
        return
    shown = _Bar(title, total, still) if sys.stderr.isatty() else _Lines(title, total)
    try:
        with shown:
            yield shown.advance
    except KeyboardInterrupt:
        say(f"{title}: stopped after {_out_of(shown.done, total)}")
        raise


class _Bar:
    """A bar on a terminal."""

    def __init__(self, title: str, total: int | None, still: bool = False) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        self._bar = Progress(*columns, console=Console(file=sys.stderr), auto_refresh=not still)
        self._task = self._bar.add_task(title, total=total, note="")
        self._still, self._drawn_at = still, monotonic()
        self.done = 0

    def advance(self, done: int = 1, note: str | None = None) -> None:
        self.done += done
        fields: dict[str, Any] = {} if note is None else {"note": note}
        self._bar.update(self._task, advance=done, **fields)
        if self._still and monotonic() - self._drawn_at >= _DRAWN_EVERY:
            self._bar.refresh()
            self._drawn_at = monotonic()

    def __enter__(self) -> None:
        self._bar.start()

    def __exit__(self, *raised: object) -> None:
        self._bar.stop()


class _Lines:
    """A line a minute, for a log."""

    def __init__(self, title: str, total: int | None) -> None:
        self._title, self._total = title, total
        self.done = 0
        self._said_at: float | None = None
        self._said_done = 0

    def advance(self, done: int = 1, note: str | None = None) -> None:
        self.done += done
        now = monotonic()
        if self._said_at is None:
            # work left from an earlier run completes at once, and loading the networks takes a while: neither
            # predicts how long the rest will take
            self._said_at, self._said_done = now, self.done
        elif now - self._said_at >= _LINE_EVERY:
            left = self._left(now - self._said_at)
            say(", ".join(filter(None, (f"{self._title}: {_out_of(self.done, self._total)}", left, note))))
            self._said_at, self._said_done = now, self.done

    def _left(self, seconds: float) -> str | None:
        """The time left, at the rate of the last ``seconds``."""
        since = self.done - self._said_done
        if self._total is None or not since or self.done > self._total:
            return None
        return time_left(seconds * (self._total - self.done) / since)

    def __enter__(self) -> None: ...

    def __exit__(self, *raised: object) -> None: ...


def _out_of(done: int, total: int | None) -> str:
    return f"{done:,}" if total is None else f"{done:,} of {total:,}"


def time_left(seconds: float) -> str:
    """``seconds`` in words, rounded as an estimate should be."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute left"
    if minutes < 60:
        return f"about {minutes} min left"
    return f"about {minutes // 60} h {minutes % 60:02} min left"
