"""What goes to the terminal: answers to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click


class _Answers:
    """Whether the command that runs has given its one document."""

    given = False


def begin_answers() -> None:
    """A command begins: nothing is answered yet."""
    _Answers.given = False


def has_answered() -> bool:
    """Whether stdout holds a whole document: a second one would make both unreadable."""
    return _Answers.given


def say(text: str) -> None:
    """Tell the person at the shell something that is not the answer."""
    click.echo(printable(text), err=True)


def answer(text: str) -> None:
    """Print a line of the answer on stdout."""
    click.echo(printable(text))


def confirm(question: str) -> None:
    """Ask on the terminal, and abort unless the answer is yes. Raises a usage error where there is none."""
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on; add --yes.")
    click.confirm(printable(question), abort=True, err=True)


def printable(text: str) -> str:
    """``text`` with control characters, which a file's name may hold, written as escapes: a terminal would
    obey them. Line breaks and tabs stay; what is no text in UTF-8 is escaped too."""
    return "".join(char if _harmless(char) else char.encode("unicode_escape").decode() for char in text)


def _harmless(char: str) -> bool:
    return char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs")


def answer_json(document: Any, indent: int | None = 2) -> None:
    """Print one JSON document on stdout, always valid UTF-8; NaN and infinity become null.

    Its ``schema`` names the command and the version of its keys, to which others may be added. With
    ``indent`` `None` it is a line of a stream.
    """
    _Answers.given = indent is not None
    found = _finite(document)
    if isinstance(found, dict):
        found = {"schema": schema_name()} | found
    text = json.dumps(found, indent=indent, ensure_ascii=False)
    # a lone surrogate stands for a byte of a file's name that is no UTF-8
    click.echo("".join(char if unicodedata.category(char) != "Cs" else _escaped(char) for char in text))


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}"


def schema_name() -> str:
    """The command that runs, as ``verify/1`` or ``gallery-list/1``."""
    context = click.get_current_context(silent=True)
    words = context.command_path.split()[1:] if context else []
    return f"{'-'.join(words) or 'facekd'}/1"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, float) and not (value == value and abs(value) != float("inf")):
        return None
    return value


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Any]:
    """A progress bar on stderr, drawn only on a terminal; yields ``advance(done=1, **fields)``."""
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
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=total, note="")

        def advance(done: int = 1, note: str | None = None) -> None:
            fields: dict[str, Any] = {} if note is None else {"note": note}
            bar.update(task, advance=done, **fields)

        yield advance
