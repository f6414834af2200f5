"""What may be the name of a person: any text that prints on one line."""

from __future__ import annotations

import unicodedata

from facekd.errors import UsageError

#: characters after normalisation
NAME_LIMIT = 200

#: controls, lone surrogates (bytes that were not UTF-8), private use, line and paragraph separators
_REFUSED_CATEGORIES = {"Cc", "Cs", "Co", "Zl", "Zp"}

#: they reorder the text after them on a terminal. Other format characters stay: Persian and the
#: languages of India need the joiners.
_BIDI_CONTROLS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}


def clean_name(name: str) -> str:
    """``name`` in Unicode's composed form (NFC) without blanks around it.

    Two spellings of the same text give the same name. A name is a key in the gallery, never a
    path. Raises `UsageError` where it is empty, longer than `NAME_LIMIT`, or holds a character
    that does not print.
    """
    cleaned = unicodedata.normalize("NFC", name).strip()
    if not cleaned:
        raise UsageError("the name is empty")
    if len(cleaned) > NAME_LIMIT:
        raise UsageError(f"the name has {len(cleaned)} characters; the limit is {NAME_LIMIT}")
    for character in cleaned:
        if unicodedata.category(character) in _REFUSED_CATEGORIES or ord(character) in _BIDI_CONTROLS:
            code = f"U+{ord(character):04X}"
            raise UsageError(f"the name {cleaned!a} holds a character that does not print ({code})")
    return cleaned
