"""The commands and links that pages show: ``from shown_commands import commands_in``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: every page that a reader of the repository meets
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks_in(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [body for told, body in _FENCE.findall(page.read_text(encoding="utf-8")) if told == language]


def commands_in(page: Path) -> Iterator[str]:
    """Every call of ``facekd`` that a page shows: in fences, in indented blocks and within a line."""
    text = re.sub(r" \\\n\s*", " ", page.read_text(encoding="utf-8"))
    for code in (*(body for _, body in _FENCE.findall(text)), *re.findall(r"^ {4}(.*)$", text, re.MULTILINE)):
        for line in code.splitlines():
            if call := re.match(r"(?:\$ |> )?\s*((?:\w+=\S+ )*)(?:\S*/)?facekd (.*)", line):
                yield from _calls(f"facekd {call[2]}")
    for call in _INLINE.findall(_FENCE.sub("", text)):
        if call.startswith("facekd "):
            yield from _calls(call)


def _calls(line: str) -> Iterator[str]:
    """The calls of a line that may join several by ``&&`` or send their output elsewhere."""
    for part in re.split(r"&&|\||;", line):
        part = re.sub(r"\d?>\s*\S+.*$", "", part).strip()
        if part.startswith("facekd "):
            yield part


def words_of(call: str) -> list[str]:
    """The words of a call after ``facekd``, without comments and dots for what is left out."""
    return [word for word in shlex.split(call, comments=True)[1:] if word not in ("...", "…")]


def links_in(page: Path) -> list[str]:
    """Where a page's links and pictures lead, other pages' anchors included."""
    text = _INLINE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    return [link for link in _LINK.findall(text) if not link.startswith(("http:", "https:", "mailto:"))]
