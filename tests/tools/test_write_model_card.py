"""The model card's part on groups of people."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import write_model_card as tool

from facekd.card import read_card
from facekd.weights import shipped_model


def test_the_shipped_cards_groups_are_in_its_model_card() -> None:
    model = shipped_model()
    assert model is not None
    card = read_card(model)[0]
    assert card.similar is not None
    text = tool._groups(card)
    rows = {
        cells[1].strip(): cells for cells in (line.split("|") for line in text.splitlines()) if len(cells) > 2
    }
    for group in card.similar.groups:
        cells = rows[group.name]
        assert cells[2].strip() == f"{group.people:,}"
        for rate, cell in zip(group.rates, cells[3:], strict=False):
            assert cell.strip() == f"{rate.rate:.2g} ({rate.low:.2g} to {rate.high:.2g})"
    for one in card.similar.thresholds:
        assert f"{one.threshold:.4f} for FMR {one.fmr:g} ({one.group})" in text
    # and the card beside the weights has it
    assert text in (model.parent / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_the_shipped_cards_limits_are_in_its_model_card() -> None:
    model = shipped_model()
    assert model is not None
    card = read_card(model)[0]
    assert card.photo_limits is not None
    text = tool._limits(card)
    for limit in card.photo_limits.limits:
        assert f"{limit.limit:.3g} ({limit.refused} of {card.photo_limits.photos} photos refused)" in text
    assert text in (model.parent / "MODEL_CARD.md").read_text(encoding="utf-8")
    bare = card.model_copy(update={"photo_limits": None})
    assert tool._limits(bare).startswith("**Poor photos are treated like good ones**")


def test_without_groups_it_says_so() -> None:
    model = shipped_model()
    assert model is not None
    bare = read_card(model)[0].model_copy(update={"similar": None})
    assert tool._groups(bare).startswith("Error rates by group are not known.")
