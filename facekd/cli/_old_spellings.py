"""The spellings of version 0.1.0, which work for one more version, with a note of what to write instead.

Arguments are rewritten before they are parsed, so that no command knows the old spellings. A call by an old
spelling gets the same document as before, whose ``schema`` names the command as it was called.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import click

from facekd.cli.output import say


@dataclass
class _Call:
    """Arguments of a command, to be rewritten in place."""

    arguments: list[str]
    #: the command that they now belong to, one word per level; empty if it is the one that was called
    command: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    def has(self, option: str) -> bool:
        return any(_name(argument) == option for argument in self.arguments)

    def rename(self, old: str, new: str) -> None:
        if self.has(old):
            self.arguments = [
                new + argument.removeprefix(old) if _name(argument) == old else argument
                for argument in self.arguments
            ]
            self.notes.append(f"{old} is now called {new}")

    def drop(self, flag: str) -> None:
        self.arguments = [argument for argument in self.arguments if argument != flag]

    def take(self, option: str) -> list[str]:
        """Remove every occurrence of ``option`` and return its values."""
        values, rest, coming = [], [], iter(self.arguments)
        for argument in coming:
            if _name(argument) != option:
                rest.append(argument)
            elif "=" in argument:
                values.append(argument.partition("=")[2])
            else:
                values.extend([value for value in [next(coming, None)] if value is not None])
        self.arguments = rest
        return values

    def move(self, old: str, new: str, *command: str) -> None:
        self.command = command
        self.notes.append(f"'facekd {old}' is now 'facekd {new}'")


def _name(argument: str) -> str:
    return argument.partition("=")[0]


def _evaluate(call: _Call) -> None:
    call.rename("--roc", "--plot")
    if call.has("--from-scores"):
        call.arguments = call.take("--from-scores") + call.arguments
        call.move("evaluate --from-scores CSV", "evaluate-scores CSV", "evaluate-scores")
    elif call.has("--gallery") or call.has("--probes"):
        call.move("evaluate --gallery", "gallery evaluate", "gallery", "evaluate")
    elif call.has("--cross"):
        call.rename("--write-compatible", "--write")
        call.drop("--cross")
        call.move("evaluate A B --cross", "compatibility A B", "compatibility")


def _benchmark(call: _Call) -> None:
    call.rename("--out", "--report")
    if call.has("--teacher") or call.has("--student"):
        call.arguments = call.take("--teacher") + call.take("--student") + call.arguments
        form = "benchmark --teacher TEACHER --student STUDENT"
        call.move(form, "benchmark TEACHER STUDENT")


_REWRITE = {"evaluate": _evaluate, "benchmark": _benchmark}


class OldSpellings(click.Command):
    """A command that also accepts its 0.1.0 spelling."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        call = _Call(list(args))
        _REWRITE[str(self.name)](call)
        command: click.Command | None = parent.command if parent and call.command else None
        for word in call.command:
            command = cast(click.Group, command).get_command(cast(click.Context, parent), word)
        make = command.make_context if command else super().make_context
        try:
            return make(info_name, call.arguments, parent, **extra)
        finally:
            # only now is it known whether the call asks for quiet
            for note in call.notes:
                say(f"note: {note}; the old spelling will be removed in the next version")
