"""A document as JSON text that every reader accepts: valid UTF-8, no NaN."""

from __future__ import annotations

import json
import unicodedata
from typing import Any


def json_text(document: Any, indent: int | None = None) -> str:
    """``document`` as JSON. NaN and infinity become null; a lone surrogate, which represents a byte of a
    file name that is not UTF-8, is escaped."""
    text = json.dumps(finite(document), indent=indent, ensure_ascii=False)
    return "".join(char if unicodedata.category(char) != "Cs" else f"\\u{ord(char):04x}" for char in text)


def finite(value: Any) -> Any:
    """``value`` with numpy numbers as Python's, and `None` for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, float) and not (value == value and abs(value) != float("inf")):
        return None
    return value
