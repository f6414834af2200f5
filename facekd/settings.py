"""Check the settings that a recipe gives to a loss or a network against the annotations of the function
that takes them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

_STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


def annotated(function: Callable[..., Any]) -> dict[str, Any]:
    """The parameters of ``function`` that a caller may name, each with its type."""
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    named = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return {name: hints.get(name, Any) for name in named}


def wrong_settings(whose: str, known: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, str]:
    """A sentence for every one of ``settings`` that is not ``known``, or has the wrong type.

    An integer is valid for a float and a list for a tuple; a string is no number, nor are nan and inf.
    """
    faults = {}
    for key, value in settings.items():
        if key not in known:
            faults[key] = f"{whose} has no setting '{key}' (it has: {', '.join(known) or 'none'})"
        elif told := _wrong_type(key, value, known[key]):
            faults[key] = f"{whose}: {told}"
    return faults


def _wrong_type(key: str, value: Any, wanted: Any) -> str | None:
    written = json.dumps(value, default=str, ensure_ascii=False)
    try:
        # as JSON, which like TOML has one kind of list, for tuples too
        TypeAdapter(wanted, config=_STRICT).validate_json(written)
    except ValidationError as error:
        faults = error.errors()
        # report the first wrong value of a list; the other parts of the place name one type of several
        inside = "".join(f"[{place}]" for place in faults[0]["loc"] if isinstance(place, int))
        wrong = json.dumps(faults[0]["input"], ensure_ascii=False)
        types = dict.fromkeys(f["msg"].removeprefix("Input should be ") for f in faults)
        return f"{key}{inside} = {wrong} should be {' or '.join(types)}"
    return None
