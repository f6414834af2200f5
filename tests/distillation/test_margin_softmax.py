"""Margin softmax with sampled classes, with balanced classes, and with a margin for each crop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import Data, agrees, classes_in, make_data, unit

from facekd.distillation.losses import Classes, Example, Setting, loss_class
from facekd.distillation.losses._margin_softmax import effective_number, some_classes
from facekd.errors import RecipeError
from facekd.models import Outputs
from facekd.training.schedule import make_optimizers


@pytest.fixture
def data() -> Data:
    return make_data()


def sized(data: Data, *sizes: int) -> Setting:
    return replace(data.setting, classes=replace(data.setting.classes, sizes=torch.tensor(sizes)))


def cross_entropies(data: Data, centres: np.ndarray, margins: dict[int, float]) -> dict[int, float]:
    """ArcFace at scale 64 for every crop with a class, by the angle itself."""
    found = {}
    for i, wanted in classes_in(data):
        cosines = unit(centres) @ unit(data.student.embedding[i].detach().double().numpy())
        angle = np.arccos(cosines[wanted])
        assert angle + margins[i] < np.pi
        cosines[wanted] = np.cos(angle + margins[i])
        logits = 64 * cosines
        found[i] = float(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[wanted])
    return found


def test_the_effective_number_is_the_sum_of_a_geometric_row() -> None:
    sizes = torch.tensor([1, 2, 7])
    expected = [sum(0.9**k for k in range(n)) for n in sizes.tolist()]
    assert effective_number(sizes, 0.9).tolist() == pytest.approx(expected)


def test_balanced_classes_weigh_by_their_effective_number(data: Data) -> None:
    sizes = (3, 3, 9, 30)
    loss = loss_class("arcface")(sized(data, *sizes), margin=0.1, balance=0.9)
    each = cross_entropies(data, loss.weight.detach().double().numpy(), dict.fromkeys(range(12), 0.1))
    worth = {i: 1 / sum(0.9**k for k in range(sizes[wanted])) for i, wanted in classes_in(data)}
    expected = sum(worth[i] * each[i] for i in each) / sum(worth[i] for i in each)
    agrees(data, loss, "arcface", expected)


def test_equal_classes_need_no_balance(data: Data) -> None:
    torch.manual_seed(1)
    plain = loss_class("prototypes")(data.setting)
    torch.manual_seed(1)
    balanced = loss_class("prototypes")(sized(data, 5, 5, 5, 5), balance=0.99)
    given = data.student, data.teacher, data.example, 0.0
    assert balanced(*given)["prototypes"].item() == pytest.approx(plain(*given)["prototypes"].item())


def test_margin_distillation_asks_for_more_where_the_teacher_is_sure(data: Data) -> None:
    setting = replace(data.setting, student_dim=9)
    data = data._replace(student=Outputs(torch.randn(12, 9, requires_grad=True)), setting=setting)
    loss = loss_class("margin_distillation")(setting, low=0.1, high=0.6)
    teacher, sums = data.teacher.embedding.double().numpy(), setting.classes.sums.double().numpy()
    total, margins = [], []
    for i, wanted in classes_in(data):
        left_out = unit(sums[wanted] - teacher[i])
        margins.append(0.1 + 0.5 * max(0.0, float(left_out @ teacher[i])))
        centres = sums.copy()
        centres[wanted] = left_out
        total.append(cross_entropies(data, centres, dict.fromkeys(range(12), margins[-1]))[i])
    assert max(margins) > min(margins)
    agrees(data, loss, "margin_distillation", float(np.mean(total)))


def test_sampled_classes_hold_those_of_the_batch() -> None:
    torch.manual_seed(0)
    wanted = torch.tensor([70, 3, 3, 41])
    seen = torch.zeros(100)
    for _ in range(400):
        found = some_classes(wanted, 100, 0.2)
        assert len(found) == 20
        assert set(wanted.tolist()) <= set(found.tolist())
        assert (found[1:] > found[:-1]).all()
        seen[found] += 1
    others = np.delete(seen.numpy(), [3, 41, 70])
    # 17 of the other 97 each time: binomial, five deviations to either side
    mean, spread = 400 * 17 / 97, (400 * 17 / 97 * (1 - 17 / 97)) ** 0.5
    assert abs(others - mean).max() < 5 * spread
    assert some_classes(torch.arange(30), 100, 0.2).tolist() == list(range(30))


def test_a_sampled_classifier_is_a_softmax_over_the_sample(data: Data) -> None:
    loss = loss_class("cosface")(data.setting, margin=0.2, sample=0.75)
    torch.manual_seed(4)
    compared = some_classes(torch.tensor([c for _, c in classes_in(data)]), 4, 0.75).tolist()
    assert len(compared) == 3
    torch.manual_seed(4)
    value = loss(data.student, None, data.example, 0.0)["cosface"]
    centres = unit(loss.rows.weight.detach().double().numpy())
    total = []
    for i, wanted in classes_in(data):
        logits = 64 * centres[compared] @ unit(data.student.embedding[i].detach().double().numpy())
        logits[compared.index(wanted)] -= 64 * 0.2
        total.append(np.log(np.exp(logits - logits.max()).sum()) + logits.max())
        total[-1] -= logits[compared.index(wanted)]
    assert value.item() == pytest.approx(float(np.mean(total)), rel=1e-4)


def test_two_hundred_thousand_classes_touch_the_sampled_rows_alone() -> None:
    torch.manual_seed(0)
    count, dim, batch = 200_000, 32, 16
    classes = Classes(torch.cat([torch.arange(count), torch.tensor([-1])]), torch.empty(0, 0))
    loss = loss_class("arcface")(Setting(dim, dim, classes, torch.empty(0, dim)), margin=0.2, sample=0.01)
    network = torch.nn.Linear(dim, dim)
    main, rows = make_optimizers(
        torch.nn.ModuleDict({"student": network, "loss": loss}), [network], "adamw", 1e-2, 0.0
    )
    before = loss.rows.weight.detach().clone()
    x = torch.randn(batch, dim)
    labels = torch.randint(count, (batch,))
    values = []
    for _ in range(12):
        value = loss(Outputs(network(x)), None, Example(labels, torch.empty(batch, 0)), 0.0)["arcface"]
        value.backward()
        gradient = loss.rows.weight.grad
        assert gradient.is_sparse
        assert gradient._nnz() == 2000
        for optimizer in (main, rows):
            optimizer.step()
            optimizer.zero_grad()
        values.append(value.item())
    assert values[-1] < values[0]
    moved = (loss.rows.weight.detach() != before).any(1)
    assert moved[labels].all()
    assert int(moved.sum()) <= 12 * 2000
    # the others by chance: never more than twelve times a hundredth, nor all the same ones
    assert int(moved.sum()) > 4 * 2000


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("arcface", {"sample": 0.0}, "sample must be above 0 and at most 1"),
        ("cosface", {"sample": 1.5}, "sample must be above 0 and at most 1"),
        ("arcface", {"balance": 1.0}, "balance must be at least 0 and below 1"),
        ("prototypes", {"balance": -0.1}, "balance must be at least 0 and below 1"),
        ("margin_distillation", {"low": 0.5, "high": 0.2}, "high must be at least low"),
    ],
)
def test_settings_that_make_no_sense_are_named(data: Data, name: str, settings: dict, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        loss_class(name)(data.setting, **settings)
