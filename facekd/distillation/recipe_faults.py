"""Pydantic's errors as messages for the author of a recipe: the place, what is expected, what was found."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from facekd.distillation.losses import loss_settings
from facekd.errors import FacekdError
from facekd.models import check_model

#: what a value should be, by the type of pydantic's error
_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string",
    "path_type": "a path",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
#: what a list should be, by the last key of its place
_LISTS = {
    "models": 'a list of models, for example ["teacher.onnx"]',
    "loss": "a list of tables, each of which begins with [[loss]]",
}
_PATHS = 'a list of paths, for example ["a.zip"]'

Place = tuple[str | int, ...]


def told_faults(error: ValidationError, raw: Mapping[str, Any], model: type[BaseModel]) -> list[str]:
    """One sentence for each fault that ``error`` reports in the document ``raw`` of a ``model``."""
    return [_told(fault, raw, model) for fault in _own_faults(error)]


def without_faults(error: ValidationError, raw: Mapping[str, Any]) -> dict[str, Any]:
    """``raw`` without the values that ``error`` reports, so that one wrong value counts as one fault: the
    checks that follow use the default instead. Names of data and models are kept, since they are required."""
    left = copy.deepcopy(dict(raw))
    for fault in error.errors():
        *before, last = fault["loc"] or ("",)
        if "data" in before or last in ("models", "network", "name", "loss"):
            continue
        table: Any = left
        for key in before:
            reached = (isinstance(table, dict) and key in table) or (
                isinstance(table, list) and isinstance(key, int) and key < len(table)
            )
            table = table[key] if reached else None
        if isinstance(table, dict):
            table.pop(last, None)
    return left


def _own_faults(error: ValidationError) -> list[Any]:
    """The errors that do not follow from another: a list whose only entry is wrong also counts as empty."""
    faults = error.errors()
    inside = {fault["loc"][:end] for fault in faults for end in range(1, len(fault["loc"]))}
    return [fault for fault in faults if fault["type"] != "too_short" or fault["loc"] not in inside]


def _told(fault: Any, raw: Mapping[str, Any], model: type[BaseModel]) -> str:
    place: Place = fault["loc"]
    written, kind = _written(place), fault["type"]
    if kind == "extra_forbidden":
        return f"{written}: no such setting{_belongs(place, raw, model)}"
    if kind == "missing":
        return f"{written}: is missing"
    if kind == "too_short":
        return f"{written}: name at least one"
    message = fault["msg"].removeprefix("Value error, ")
    if kind == "tuple_type":
        message = f"should be {_LISTS.get(str(place[-1]), _PATHS)}"
    elif kind in _WANTED:
        message = f"should be {_WANTED[kind]}"
    elif message.startswith("Input should be "):
        message = message.removeprefix("Input ")
    else:
        return f"{written}: {message}" if written else message
    return f"{written}: {message}, not {json.dumps(fault['input'], default=str, ensure_ascii=False)}"


def _written(place: Sequence[str | int]) -> str:
    """``loss 1.weight`` for ("loss", 0, "weight"): the tables of a list are counted from one."""
    text = ""
    for part in place:
        text += f" {part + 1}" if isinstance(part, int) else f".{part}" if text else part
    return text


def _belongs(place: Place, raw: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Where a key that its table does not have belongs, as the end of a sentence."""
    *inside, key = place
    table = _at(raw, inside)
    if isinstance(key, str) and _is_setting(inside, key, table):
        return f"; it belongs in {_written([*inside, 'settings', key])}"
    homes = [name for name, held in _tables(model).items() if key in held.model_fields and [name] != inside]
    if homes:
        return f"; it belongs in {homes[0]}.{key}"
    if inside and key in model.model_fields:
        return "; it belongs at the top of the recipe, before the first [table]"
    mine = _tables(model).get(str(inside[0])) if len(inside) == 1 else None if inside else model
    near = difflib.get_close_matches(str(key), mine.model_fields if mine else [], n=1)
    return f"; did you mean {_written([*inside, near[0]])}?" if near else ""


def _is_setting(inside: Sequence[str | int], key: str, table: Mapping[str, Any]) -> bool:
    """Whether ``key`` is a setting of the network or the loss that the table ``inside`` names."""
    try:
        if "loss" in inside:
            return key in loss_settings(str(table.get("name")))
        if list(inside) in (["student"], ["teacher"]):
            name = table.get("name" if inside == ["student"] else "network", "plainres")
            return not any("has no setting" in told for told in check_model(str(name), {key: table[key]}))
    except FacekdError:
        pass  # there is no such network or loss, which is reported elsewhere
    return False


def _at(raw: Any, place: Sequence[str | int]) -> Mapping[str, Any]:
    for key in place:
        raw = raw[key]
    return raw if isinstance(raw, Mapping) else {}


def _tables(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The tables of a recipe by name."""
    found = {}
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found[name] = kind
    return found
