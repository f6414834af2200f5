"""The tool that keeps a run's weights in a small file."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from keep_weights import packed, unpacked

from facekd.models import build_model


def test_weights_come_back_within_half_a_step_of_each_channel() -> None:
    torch.manual_seed(0)
    weights = build_model("plainres_small", dim=24).state_dict()
    kept = packed(weights)
    back = unpacked(kept)
    assert back.keys() == weights.keys()
    rounded = [name for name, value in kept.items() if value.dtype == torch.int8]
    assert len(rounded) > 5
    for name, weight in weights.items():
        if name not in rounded:
            assert torch.equal(back[name], weight)
            continue
        step = weight.flatten(1).abs().amax(1) / 127
        assert ((back[name] - weight).flatten(1).abs().amax(1) <= 0.501 * step).all()
    build_model("plainres_small", dim=24).load_state_dict(back)
    held = sum(v.numel() * v.element_size() for v in kept.values())
    assert held < 0.35 * sum(v.numel() * v.element_size() for v in weights.values())
