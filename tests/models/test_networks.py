"""The networks of the registry: sizes as published, features where they should be, clear errors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facekd.errors import DeviceError, UsageError
from facekd.models import build_model, model_names, torch_device

#: parameters in millions: insightface's IResNets at 512 dimensions, its MobileFaceNet "y1" at 128
PUBLISHED = {
    ("iresnet18", 512): 24.03,
    ("iresnet34", 512): 34.14,
    ("iresnet50", 512): 43.59,
    ("iresnet100", 512): 65.16,
    ("mobilefacenet", 128): 1.00,
}

#: the width of the last map and the bare body in torchvision, without its classifier
BODIES = {
    "resnet18": (512, 11_176_512),
    "resnet50": (2048, 23_508_032),
    "mobilenet_v2": (1280, 2_223_872),
    "mobilenet_v3_small": (576, 927_008),
    "mobilenet_v3_large": (960, 2_971_952),
}


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(("name", "dim"), PUBLISHED)
def test_sizes_as_published(name: str, dim: int) -> None:
    with torch.device("meta"):
        net = build_model(name, dim=dim)
    assert count(net) / 1e6 == pytest.approx(PUBLISHED[name, dim], abs=0.006)


@pytest.mark.parametrize("name", BODIES)
def test_torchvision_bodies_are_whole_and_get_the_head(name: str) -> None:
    width, body = BODIES[name]
    with torch.device("meta"):
        net = build_model(name, dim=100)
    head = width * 49 + 2 * width + width * 100 + 2 * 100
    assert count(net) == body + head


@pytest.mark.parametrize("name", model_names())
def test_taps_are_maps_at_strides_2_4_8_and_16(name: str) -> None:
    with torch.device("meta"):
        net = build_model(name, dim=40).eval()
        planes = torch.zeros(2, 3, 112, 112)
        out, plain = net.outputs(planes, features=True), net.outputs(planes)
    assert out.embedding.shape == (2, 40)
    assert net.dim == 40
    assert plain.features == {}
    assert list(out.features) == ["stage1", "stage2", "stage3", "stage4"]
    sides = [tuple(maps.shape[2:]) for maps in out.features.values()]
    assert sides == [(side, side) for side in (56, 28, 14, 7)]


@pytest.mark.parametrize("name", ["iresnet18", "mobilefacenet", "mobilenet_v3_small", "resnet18"])
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(0)
    net = build_model(name, dim=8).train()
    net(torch.randn(2, 3, 112, 112)).square().sum().backward()
    idle = {n for n, p in net.named_parameters() if p.requires_grad and p.grad is None}
    assert idle == set()
    fixed = {n for n, p in net.named_parameters() if not p.requires_grad}
    assert fixed == ({"features.weight"} if name == "iresnet18" else set())


def test_iresnet_has_the_names_of_arcface_torch() -> None:
    with torch.device("meta"):
        names = set(build_model("iresnet50").state_dict())
    for name in (
        "conv1.weight", "prelu.weight", "layer1.0.bn1.running_mean", "layer1.0.downsample.0.weight",
        "layer3.13.conv2.weight", "layer4.2.bn3.bias", "bn2.weight", "fc.bias", "features.running_var",
    ):  # fmt: skip
        assert name in names
    assert not any(name.startswith("layer3.14") for name in names)


@pytest.mark.parametrize(
    ("activation", "kind"),
    [("prelu", nn.PReLU), ("relu", nn.ReLU), ("hardswish", nn.Hardswish), ("silu", nn.SiLU)],
)
def test_mobilefacenet_takes_the_activation_it_is_given(activation: str, kind: type[nn.Module]) -> None:
    with torch.device("meta"):
        net = build_model("mobilefacenet", activation=activation)
    # one in the stem's two convolutions and the last, two in each of the 15 blocks
    assert sum(isinstance(module, kind) for module in net.modules()) == 3 + 2 * 15
    assert any(isinstance(module, nn.PReLU) for module in net.modules()) == (activation == "prelu")


def test_unknown_names_and_settings_are_named() -> None:
    with pytest.raises(UsageError, match=r"no model is named 'iresnet51'(?s:.*)iresnet50"):
        build_model("iresnet51")
    with pytest.raises(UsageError, match=r"no setting 'depth'(?s:.*)dropout"):
        build_model("iresnet18", depth=3)
    with pytest.raises(UsageError, match=r"no activation 'tanh'(?s:.*)hardswish"):
        build_model("mobilefacenet", activation="tanh")


def test_devices_are_there_or_an_error() -> None:
    assert torch_device("cpu").type == "cpu"
    for name in ("gpu", "cuda:x", "mps"):
        with pytest.raises(DeviceError, match="not known"):
            torch_device(name)
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="no CUDA device"):
            torch_device("cuda")
