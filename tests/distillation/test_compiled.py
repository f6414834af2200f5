"""`schedule.compile`: networks run through torch.compile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import losses_of, recipe, run

from facekd.distillation.compiled import compiled_outputs
from facekd.errors import UsageError
from facekd.models import build_model
from facekd.training import load_weights

COMPILED = ("[schedule]", "[schedule]\ncompile = true")


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """torch.compile without the compiler: forward and backward are traced, then run as they are. Holds the
    networks that were compiled."""
    real, seen = torch.compile, []

    def trace(network: Any, **settings: Any) -> Any:
        seen.append(network)
        return real(network, backend="aot_eager", **settings)

    monkeypatch.setattr(torch, "compile", trace)
    return seen


def test_a_compiled_run_is_the_same_run(place: Path, traced: list[Any]) -> None:
    plain = run(place, "plain", recipe(place))
    assert not traced
    compiled = run(place, "compiled", recipe(place, compiled=COMPILED))
    assert len(traced) == 1
    losses, again = dict(losses_of(plain)), dict(losses_of(compiled))
    assert again.keys() == losses.keys()
    assert list(again.values()) == pytest.approx(list(losses.values()), rel=1e-3)
    assert load_weights(place / "compiled").keys() == load_weights(place / "plain").keys()


def test_a_compiled_run_is_resumed(place: Path, traced: list[Any]) -> None:
    chosen = recipe(place, compiled=COMPILED, log=("images = 96", "images = 48"))
    whole = run(place, "whole", chosen)
    run(place, "cut", chosen, stop_after=3)
    assert losses_of(run(place, "cut", chosen, resume=True)) == losses_of(whole)


@pytest.mark.slow  # the compiler takes half a minute; its short form is traced
def test_compiled_gradients() -> None:
    torch.manual_seed(0)
    network = build_model("plainres", dim=16, widths=[8, 8, 16, 16], depths=[0, 0, 0, 1]).train()
    planes = torch.rand(4, 3, 112, 112)
    found = []
    for outputs in (type(network).outputs, compiled_outputs()):
        network.zero_grad()
        outputs(network, planes, False).embedding.square().mean().backward()
        found.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1]) > 5
    for plain, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-3, atol=1e-5)


def test_losses_of_feature_maps_cannot_be_compiled(place: Path) -> None:
    hint = '[[loss]]\nname = "cosine"\n[[loss]]\nname = "fitnet"\n'
    teacher = '[teacher]\nnetwork = "plainres"\n[[teacher.loss]]\nname = "arcface"\n'
    with pytest.raises(UsageError, match=r"schedule\.compile: loss 'fitnet' reads feature maps"):
        recipe(place, teacher, hint, compiled=COMPILED)
    with pytest.raises(ValueError, match="no feature maps"):
        compiled_outputs()(build_model("plainres"), torch.rand(1, 3, 112, 112), True)


def test_no_compiler(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(network: Any, **_: Any) -> Any:
        def call(planes: torch.Tensor) -> torch.Tensor:
            raise torch._dynamo.exc.TorchDynamoException("no C++ compiler was found")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UsageError, match=r"cannot be compiled here: no C\+\+ compiler was found\n.*g\+\+"):
        run(place, "run", recipe(place, compiled=COMPILED))
