"""Reading a network of ours back: which file, which weights, what when a piece is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from facekd.card.contract import Card, EmbeddingSpec, InputSpec, LandmarkCrop, Provenance, Start
from facekd.errors import InputOutput, Misfit, Unreadable
from facekd.models import FaceNet, build_model, provenance_of
from facekd.models._saved import read_saved, read_weights

RECIPE = '[student]\nname = "plainres_small"\nsettings = { dim = 16 }\n'


def student(seed: int, dim: int = 16) -> FaceNet:
    torch.manual_seed(seed)
    return build_model("plainres_small", dim=dim)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    for step, seed in (("best", 1), ("last", 2)):
        place = run / "checkpoints" / step
        place.mkdir(parents=True)
        save_file(student(seed).state_dict(), place / "model.safetensors")
        (place / "state.json").write_text(f'{{"images": {seed * 1000}}}')
    (run / "recipe.toml").write_text(RECIPE)
    return run


def same(net: FaceNet, seed: int) -> bool:
    wanted = student(seed).state_dict()
    return all(torch.equal(value, wanted[name]) for name, value in net.state_dict().items())


def test_a_run_is_its_best_checkpoint_else_its_last(run: Path) -> None:
    net, card = read_saved(run)
    assert same(net, 1)
    assert not net.training
    assert (card.architecture, card.embedding.dim) == ("plainres_small(dim=16)", 16)
    assert card.provenance.images_seen == 1000
    for name in ("model.safetensors", "state.json"):
        (run / "checkpoints" / "best" / name).unlink()
    assert same(read_saved(run)[0], 2)


def test_a_checkpoint_and_a_file_are_found_in_their_run(run: Path) -> None:
    last = run / "checkpoints" / "last"
    assert same(read_saved(last)[0], 2)
    assert same(read_saved(last / "model.safetensors")[0], 2)


def test_the_card_of_the_run_is_kept_and_pinned_to_the_weights(run: Path) -> None:
    card = Card(
        name="mine",
        architecture="plainres_small",
        input=InputSpec(size=112, colour="bgr", mean=0, std=1),
        crop=LandmarkCrop(size=112),
        embedding=EmbeddingSpec(dim=16),
    )
    (run / "card.json").write_text(card.model_dump_json())
    best = read_saved(run)[1]
    assert (best.name, best.input) == ("mine", card.input)
    last = read_saved(run / "checkpoints" / "last")[1]
    again = read_saved(run)[1]
    assert best.space == again.space != last.space
    (run / "card.json").write_text(card.model_copy(update={"input": InputSpec(size=112)}).model_dump_json())
    assert read_saved(run)[1].digest == best.digest
    assert read_saved(run)[1].space != best.space


def test_the_provenance_of_weights_counts_what_their_start_had_seen(run: Path, tmp_path: Path) -> None:
    assert provenance_of(run) is None
    card = Card(
        name="mine",
        architecture="plainres_small",
        input=InputSpec(size=112),
        crop=LandmarkCrop(size=112),
        embedding=EmbeddingSpec(dim=16),
        provenance=Provenance(data="mine", start=Start(name="before", images_seen=500)),
    )
    (run / "card.json").write_text(card.model_dump_json())
    for path, images in ((run, 1500), (run / "checkpoints" / "last", 2500)):
        known = provenance_of(path)
        assert known is not None
        assert (known.images_seen, known.data) == (images, "mine")
        assert read_saved(path)[1].provenance == known
    lonely, told = tmp_path / "lonely.safetensors", {"provenance": card.provenance.model_dump_json()}
    save_file(student(1).state_dict(), lonely)
    assert provenance_of(lonely) is None
    save_file(student(1).state_dict(), lonely, told)
    assert provenance_of(lonely) == card.provenance
    save_file(student(1).state_dict(), lonely, {"provenance": "{"})
    with pytest.raises(Unreadable, match="its provenance cannot be read"):
        provenance_of(lonely)


def test_missing_and_broken_pieces(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputOutput, match="no weights in it"):
        read_saved(tmp_path)
    save_file(student(1).state_dict(), tmp_path / "lonely.safetensors")
    with pytest.raises(InputOutput, match=r"no recipe\.toml above it"):
        read_saved(tmp_path / "lonely.safetensors")
    weights = run / "checkpoints" / "best" / "model.safetensors"
    save_file(student(1, dim=8).state_dict(), weights)
    with pytest.raises(Misfit, match=r"not the weights of this network \(size mismatch"):
        read_saved(run)
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(Unreadable, match="cannot be read as weights"):
        read_saved(run)
    (run / "card.json").write_text("{}")
    with pytest.raises(Unreadable, match="not a card"):
        read_saved(run / "checkpoints" / "last")
    (run / "recipe.toml").write_text("[teacher]\n")
    with pytest.raises(Unreadable, match="does not say which network"):
        read_saved(run)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"weight": Harmful()}, tmp_path / "weights.pt")
    with pytest.raises(Unreadable, match="cannot be read as weights"):
        read_weights(tmp_path / "weights.pt")
    assert not (tmp_path / "ran").exists()
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(Unreadable, match="not a state dict"):
        read_weights(tmp_path / "list.pt")
