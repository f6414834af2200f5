"""Published models with the card that their makers' convention gives them."""

from pathlib import Path

from facekd.card import card_of, load_onnx, write_card


def by_convention(model: Path, folder: Path) -> Path:
    """A copy of ``model`` in ``folder`` with insightface's convention as its card."""
    network = load_onnx(model)
    write_card(network, card_of(network, model.stem)[0], folder / model.name)
    return folder / model.name
