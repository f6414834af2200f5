"""Names of people: any text that prints on one line, written in one way for all spellings that look
alike."""

from __future__ import annotations

import unicodedata

from facekd.errors import UsageError

#: characters after normalisation
NAME_LIMIT = 200

#: controls, format characters (invisible, or reordering the text after them), lone surrogates (bytes that
#: were not UTF-8), private use, unassigned, line and paragraph separators
_REFUSED_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

#: letters and marks that are invisible: combining grapheme joiner, Hangul and Khmer fillers, Mongolian
#: and other variation selectors, the empty Braille pattern
_INVISIBLE = {
    0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0,
    *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0),
}  # fmt: skip

#: zero width (non-)joiner
_JOINERS = "\u200c\u200d"
_VIRAMA = 9


def fold(name: str) -> str:
    """``name`` in Unicode's composed form (NFC), runs of white space as one space, none around it."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def clean_name(name: str) -> str:
    """``name`` as the gallery writes it: folded, so that spellings that look alike are one name.

    A name is a key in the gallery, never a path. Raises `UsageError` if it is empty, longer than
    `NAME_LIMIT`, or contains a character that does not print.
    """
    cleaned = unicodedata.normalize("NFC", name).strip()
    for place, character in enumerate(cleaned):
        if _does_not_print(character) and not _joins(cleaned, place):
            code = f"U+{ord(character):04X}"
            raise UsageError(f"the name {cleaned!a} contains a character that does not print ({code})")
    cleaned = fold(cleaned)
    if not cleaned:
        raise UsageError("the name is empty")
    if len(cleaned) > NAME_LIMIT:
        raise UsageError(f"the name has {len(cleaned)} characters; the limit is {NAME_LIMIT}")
    return cleaned


def shown(name: str) -> str:
    """``name`` for a message: characters that do not print are escaped."""
    return "".join(f"\\u{ord(c):04x}" if _does_not_print(c) and c not in _JOINERS else c for c in name)


def _does_not_print(character: str) -> bool:
    return unicodedata.category(character) in _REFUSED_CATEGORIES or ord(character) in _INVISIBLE


def _joins(text: str, place: int) -> bool:
    """Whether the character at ``place`` is a joiner that affects how its neighbours are written, as between
    letters in Persian, or after a virama in the scripts of India (the rule of RFC 5892, A.1)."""
    if text[place] not in _JOINERS or not 0 < place < len(text) - 1:
        return False
    before, after = text[place - 1], text[place + 1]
    if unicodedata.combining(before) == _VIRAMA:
        return True
    return all(unicodedata.name(letter, "").startswith("ARABIC LETTER") for letter in (before, after))
