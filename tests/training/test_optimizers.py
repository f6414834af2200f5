"""Muon against singular values and torch's AdamW; the shape of the learning rate."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from facekd.training.muon import Muon, orthogonal
from facekd.training.schedule import make_optimizers, rate_at


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (12, 12)])
def test_orthogonal_keeps_directions_and_evens_out_lengths(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.T @ orthogonal([matrix])[0] @ right.T
    lengths = found.diagonal()
    assert lengths.min() > 0.6
    assert lengths.max() < 1.3
    assert torch.allclose(found, torch.diag(lengths), atol=1e-4)


def test_a_muon_step_is_momentum_made_orthogonal() -> None:
    torch.manual_seed(0)
    kernel = torch.nn.Parameter(torch.randn(4, 3, 3, 3))
    start = kernel.detach().clone()
    optimizer = Muon([kernel], lr=0.1, momentum=0.9, weight_decay=0.5)
    momentum, expected = torch.zeros(4, 27), start.clone()
    for step in range(3):
        gradient = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(step))
        kernel.grad = gradient.clone()
        optimizer.step()
        flat = gradient.reshape(4, 27)
        momentum = 0.9 * momentum + 0.1 * flat
        update = orthogonal([0.1 * flat + 0.9 * momentum])[0].reshape(4, 3, 3, 3)
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * 0.2 * math.sqrt(27) * update
    assert torch.allclose(kernel, expected, atol=1e-5)


def test_the_order_of_a_kernels_memory_is_all_the_same() -> None:
    torch.manual_seed(0)
    start, gradient = torch.randn(6, 5, 3, 3), torch.randn(6, 5, 3, 3)
    plain, last = (
        torch.nn.Parameter(start.clone(memory_format=form))
        for form in (torch.contiguous_format, torch.channels_last)
    )
    for kernel in (plain, last):
        # backward may leave a gradient in either order
        kernel.grad = gradient.clone(memory_format=torch.contiguous_format)
        Muon([kernel], lr=0.1, weight_decay=0.1).step()
    assert torch.allclose(plain, last, atol=1e-5)
    assert last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["muon", "adamw", "sgd"])
def test_norms_and_biases_are_not_decayed(name: str) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    optimizers = make_optimizers(net, [net], name, rate=0.1, decay=0.5)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for optimizer in optimizers:
        optimizer.step()
    for key, value in net.named_parameters():
        # SGD's decay is a gradient, and Nesterov counts the first one 1 + 0.9 times
        kept = 1 - 0.1 * 0.5 * (1.9 if name == "sgd" else 1)
        factor = kept if value.ndim > 1 else 1.0
        assert torch.allclose(value, before[key] * factor, atol=1e-6), key


def test_muon_leaves_the_classifier_to_adamw() -> None:
    torch.manual_seed(0)
    task = torch.nn.ModuleDict({"student": torch.nn.Linear(5, 4), "classifier": torch.nn.Linear(4, 9)})
    reference = copy.deepcopy(task)
    ours = make_optimizers(task, [task["student"]], "muon", rate=0.01, decay=0.1)
    theirs = torch.optim.AdamW(
        [
            {"params": [reference["classifier"].weight], "weight_decay": 0.1},
            {"params": [reference["classifier"].bias], "weight_decay": 0.0},
        ],
        lr=0.01,
        betas=(0.9, 0.95),
    )
    for step in range(3):
        for net in (task, reference):
            x = torch.randn(6, 4, generator=torch.Generator().manual_seed(step))
            net["classifier"](x).square().sum().backward()
        task["student"].weight.grad = torch.ones(4, 5)
        for optimizer in (*ours, theirs):
            optimizer.step()
            optimizer.zero_grad()
    assert torch.allclose(task["classifier"].weight, reference["classifier"].weight, atol=1e-6)
    assert torch.allclose(task["classifier"].bias, reference["classifier"].bias, atol=1e-6)
    start = reference["student"].weight
    moved = (task["student"].weight - start * (1 - 0.01 * 0.1) ** 3).detach()
    assert torch.linalg.matrix_rank(moved, atol=1e-4) == 1  # the gradient's, made of length one
    assert not torch.equal(task["student"].weight, start)


def test_the_rate_rises_and_falls() -> None:
    assert rate_at(0.0, 0.1, "cosine") == 0
    assert rate_at(0.05, 0.1, "cosine") == pytest.approx(0.5)
    assert rate_at(0.1, 0.1, "cosine") == pytest.approx(1)
    assert rate_at(0.55, 0.1, "cosine") == pytest.approx(0.5)
    assert rate_at(0.55, 0.1, "linear") == pytest.approx(0.5)
    assert rate_at(0.55, 0.1, "quadratic") == pytest.approx(0.25)
    assert rate_at(1.0, 0.1, "cosine") == pytest.approx(0)
    assert rate_at(0.0, 0.0, "linear") == 1


def test_the_rate_of_wsd_stays_until_it_falls_to_zero() -> None:
    at = {progress: rate_at(progress, 0.1, "wsd", 0.25) for progress in (0.05, 0.1, 0.5, 0.75, 0.875, 1.0)}
    assert at == {0.05: pytest.approx(0.5), 0.1: 1, 0.5: 1, 0.75: 1, 0.875: pytest.approx(0.5), 1.0: 0}
