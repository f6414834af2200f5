"""The model card's part on groups of people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

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


def test_thresholds_by_detector_are_those_of_the_student_in_each_evaluation() -> None:
    model = shipped_model()
    assert model is not None
    card = read_card(model)[0]

    def evaluation(detector: str, shift: float) -> dict[str, Any]:
        models = [
            {
                "space": space,
                "all_pairs": {
                    "operating_points": [
                        {"fmr": c.fmr, "threshold": c.threshold + shift + more} for c in card.calibration
                    ]
                },
            }
            for space, more in (("f" * 64, 0.3), (card.space, 0.0))
        ]
        return {"detector": detector, "models": models}

    text = tool._detectors(card, [evaluation("mtcnn", 0.01), evaluation("scrfd_500m", -0.02)])
    for entry in card.calibration:
        assert (
            f"of FMR {entry.fmr:g} is {entry.threshold + 0.01:.3f} with `mtcnn`, "
            f"{entry.threshold - 0.02:.3f} with `scrfd_500m`" in text
        )
    assert "not measured" in tool._detectors(card, [evaluation("mtcnn", 0.0)])
