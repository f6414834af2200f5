"""bf16 is used where it was measured to be faster, and only there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from facekd.training import choose_precision, precision


class _Clocked(nn.Module):
    """A network that moves the clock itself: ``slow`` seconds in float32, ``fast`` in bf16."""

    now = 0.0

    def __init__(self, slow: float, fast: float) -> None:
        super().__init__()
        self.slow, self.fast = slow, fast
        self.layer = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, planes: Tensor) -> Tensor:
        _Clocked.now += self.fast if torch.is_autocast_enabled("cpu") else self.slow
        return torch.rand(1) * self.norm(self.layer(planes)).mean((2, 3))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision.time, "perf_counter", lambda: _Clocked.now)
    monkeypatch.setattr(precision, "has_bf16", lambda kind: True)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("slow", "fast", "expected", "says"),
    [
        (3.0, 2.0, "bf16", "bf16, 1.5 times as fast as float32 here"),
        (2.1, 2.0, "float32", "float32, bf16 being 1.1 times as fast here"),  # not worth its digits,
        (1.0, 5.0, "float32", "float32, bf16 being 0.2 times as fast here"),
    ],
)
def test_auto_takes_bf16_only_where_it_is_faster(slow: float, fast: float, expected: str, says: str) -> None:
    chosen = choose_precision("auto", _Clocked(slow, fast), 16, 2)
    assert chosen.precision == expected
    assert chosen.gain == pytest.approx(slow / fast)
    assert str(chosen) == says


@pytest.mark.usefixtures("clock")
def test_the_probe_leaves_network_and_random_state_alone() -> None:
    net = _Clocked(1.0, 1.0).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    choose_precision("auto", net, 16, 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert not net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_nothing_is_timed_without_hardware_or_without_need(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(*_: object) -> float:
        raise AssertionError("timed")

    monkeypatch.setattr(precision, "bf16_gain", timed)
    monkeypatch.setattr(precision, "has_bf16", lambda kind: False)
    assert choose_precision("auto", nn.Identity(), 16, 2) == precision.Choice("float32")
    monkeypatch.setattr(precision, "has_bf16", lambda kind: True)
    assert choose_precision("bf16", nn.Identity(), 16, 2) == precision.Choice("bf16")
    assert choose_precision("float32", nn.Identity(), 16, 2) == precision.Choice("float32")


def test_a_real_network_is_timed_in_both() -> None:
    from facekd.models import build_model

    assert precision.bf16_gain(build_model("plainres_small"), 112, 4, rounds=1) > 0
