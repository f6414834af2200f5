"""Settings are checked against the annotations of the function that takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest

from facekd.settings import annotated, wrong_settings


def taker(
    size: int,
    weight: float = 1.0,
    names: tuple[str, ...] = (),
    rates: Sequence[float] | None = None,
    kind: Literal["one", "other"] = "one",
    exact: bool = False,
    anything=None,
    **others: int,
) -> None:
    """Takes one of each."""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("weight", 2),
        ("names", ["a", "b"]),
        ("names", ("a",)),
        ("rates", [1, 0.5]),
        ("rates", None),
        ("kind", "other"),
        ("anything", {"a": [1]}),
    ],
)
def test_what_fits(key: str, value: Any) -> None:
    assert wrong_settings("it", annotated(taker), {key: value}) == {}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("weight", "2", 'weight = "2" should be a valid number'),
        ("weight", True, "weight = true should be a valid number"),
        ("weight", float("nan"), "weight = NaN should be a finite number"),
        ("size", 2.0, "size = 2.0 should be a valid integer"),
        ("names", "ab", 'names = "ab" should be a valid array'),
        ("rates", [1, "x"], 'rates[1] = "x" should be a valid number'),
        ("kind", "third", "kind = \"third\" should be 'one' or 'other'"),
        ("exact", 1, "exact = 1 should be a valid boolean"),
    ],
)
def test_what_does_not_fit(key: str, value: Any, told: str) -> None:
    assert wrong_settings("it", annotated(taker), {key: value}) == {key: f"it: {told}"}


def test_unknown_ones_are_told_with_the_known() -> None:
    known = "size, weight, names, rates, kind, exact, anything"
    assert wrong_settings("it", annotated(taker), {"others": 1, "size": 3}) == {
        "others": f"it has no setting 'others' (it has: {known})"
    }
    assert wrong_settings("it", {}, {"a": 1}) == {"a": "it has no setting 'a' (it has: none)"}
